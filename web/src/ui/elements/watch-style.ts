// The look of the watch page.
import { css } from "lit";

export const stylesOfWatch = css`
  :host { display: block; }
  .stage { position: fixed; inset: 0; display: grid; grid-template: 1fr / 1fr; padding: var(--s3); color-scheme: dark; background: var(--sunken); color: var(--text); }
  re-stage { min-width: 0; min-height: 0; }
  re-sounds { display: none; }
  .quiet { place-self: center; color: var(--text-2); }
  .past { align-self: center; max-height: calc(100dvh - 160px); margin: 52px auto 68px; }
  .over { color-scheme: dark; color: var(--text); transition: opacity var(--move); }
  :host([idle]) .over { opacity: 0; }
  .stage[data-back] ~ .over { opacity: 1 !important; }
  .top, .bottom { position: fixed; left: 0; right: 0; z-index: 6; display: flex; align-items: center; gap: var(--s2); padding: var(--s2) calc(var(--s4) + env(safe-area-inset-right)) var(--s2) calc(var(--s4) + env(safe-area-inset-left)); background: var(--scrim); }
  .top { top: 0; padding-top: calc(var(--s2) + env(safe-area-inset-top)); }
  .bottom { bottom: 0; padding-bottom: calc(var(--s2) + env(safe-area-inset-bottom)); }
  .top h1 { flex: 1; min-width: 0; overflow: hidden; font-size: var(--t3); text-overflow: ellipsis; white-space: nowrap; }
  .counts { display: inline-flex; align-items: center; gap: 6px; font-size: var(--t2); }
  .counts .glyph:not(:first-child) { margin-left: var(--s2); }
  .live { display: inline-flex; align-items: center; gap: var(--s2); min-height: 44px; padding: 0 var(--s3); border-radius: var(--r2); font: 600 var(--t2)/1 var(--font); }
  .live.on { background: var(--accent); color: var(--on-accent); }
  .dot { width: 8px; height: 8px; border-radius: 50%; background: currentColor; }
  .gap { flex: 1; }
  .plain { border-color: transparent; background: var(--ctl); color: var(--text); }
  .plain:hover { background: var(--raised); }
  .chip { position: absolute; top: 64px; left: 50%; z-index: 7; translate: -50%; padding: 6px var(--s3); border-radius: var(--round); background: var(--scrim); font-size: var(--t2); }
  .stage > re-notice { position: absolute; top: 64px; left: var(--s4); right: var(--s4); z-index: 7; max-width: 640px; margin: 0 auto; }
  .big { position: absolute; bottom: 96px; left: 50%; z-index: 7; translate: -50%; }
  .card { display: grid; min-height: 60dvh; align-content: center; }
  @media (max-width: 560px) { .bottom .word { display: none; } .bottom .button { padding: 0 var(--s3); } }
`;
