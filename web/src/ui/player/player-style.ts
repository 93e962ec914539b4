// The look of the player.
import { css } from "lit";

export const stylesOfPlayer = css`
  :host { display: block; min-width: 0; }
  .wait { aspect-ratio: 16 / 9; border-radius: var(--r3); }
  .player { display: grid; gap: var(--s2); min-width: 0; container-type: inline-size; }
  .screen {
    display: block; width: 100%; height: var(--screen, min(62dvh, max(56cqi, 280px))); min-height: 200px; overflow: hidden; border-radius: var(--r3);
    --media-background-color: transparent; --media-control-background: transparent; --media-loading-indicator-icon-height: 64px; --media-icon-color: #fff;
  }
  .frame { position: relative; min-width: 0; min-height: 0; }
  .over { position: absolute; inset: auto var(--s4) var(--s7); z-index: 2; display: grid; gap: var(--s3); color-scheme: dark; pointer-events: none; }
  .chat { display: grid; justify-items: start; gap: var(--s1); }
  .captions { display: grid; justify-items: center; gap: 2px; }
  .captions p { max-width: min(42em, 100%); padding: 2px var(--s3); border-radius: var(--r1); background: #0B0D11D9; color: #fff; font: 500 clamp(0.875rem, 2.2cqi, 1.375rem)/1.4 var(--font); text-align: center; white-space: pre-line; overflow-wrap: anywhere; }
  .chat p { max-width: min(36em, 70%); padding: var(--s1) var(--s3); border-radius: var(--r2); background: var(--scrim); color: #fff; font: 400 var(--t2)/1.4 var(--font); overflow-wrap: anywhere; }
  re-media-group { width: 100%; height: 100%; }
  .bar { display: flex; flex-wrap: wrap; align-items: center; gap: var(--s1); min-width: 0; }
  .bar {
    --media-primary-color: var(--text); --media-secondary-color: transparent; --media-text-color: var(--text); --media-icon-color: var(--text);
    --media-control-background: transparent; --media-control-hover-background: var(--sunken); --media-font: 400 var(--t2)/1.4 var(--font);
    --media-button-icon-width: 22px; --media-button-icon-height: 22px; --media-control-padding: 10px; --media-control-height: 24px;
    --media-range-track-background: var(--edge); --media-range-bar-color: var(--text); --media-range-thumb-background: var(--text);
    --media-focus-box-shadow: inset 0 0 0 2px var(--focus); --media-tooltip-background-color: var(--raised);
    --media-tooltip-container-margin: 0; --media-tooltip-arrow-display: none;
  }
  .bar > [mediacontroller] { flex: none; min-width: 44px; height: 44px; border-radius: var(--r2); overflow: visible; }
  .span { width: 100%; min-height: 44px; margin: 0; accent-color: var(--accent); cursor: pointer; }
  .volume { width: 92px; }
  .time { min-width: 0; padding: 0 var(--s2); font-size: var(--t2); white-space: nowrap; }
  .of { color: var(--text-3); }
  .gap { flex: 1; }
  .choice { position: relative; display: inline-flex; align-items: center; }
  .choice select { width: auto; field-sizing: content; min-height: 44px; padding: 0 28px 0 var(--s3); border-color: transparent; background: transparent; appearance: none; font: 600 var(--t2)/1.2 var(--font); cursor: pointer; }
  .choice select:hover { background: var(--sunken); }
  .choice .glyph { position: absolute; right: 8px; pointer-events: none; }
  [aria-pressed="true"] { background: var(--accent-bg); }
  .below { display: grid; gap: var(--s3); padding: var(--s2) var(--s4) var(--s3); border: 1px solid var(--line); border-radius: var(--r3); background: var(--surface); }
  .player:fullscreen { grid-template-rows: 1fr auto auto; padding: 0 var(--s3) var(--s2); color-scheme: dark; background: var(--sunken); color: var(--text); }
  .player:fullscreen .screen { height: 100%; border-radius: 0; }
  .player:fullscreen re-verdict { display: none; }
  .switch { display: flex; align-items: center; gap: var(--s2); min-height: 44px; }
  .keylist { display: grid; gap: 2px; }
  .keylist div { display: grid; grid-template-columns: 9em 1fr; gap: var(--s3); padding: 4px 0; font-size: var(--t2); }
  .keylist dt { font-weight: 600; }
  .keylist dd { margin: 0; color: var(--text-2); }
  @container (max-width: 620px) { .volume, .keys { display: none; } .time .of { display: none; } .bar { gap: 0; } .below { padding: var(--s2) var(--s3); } }
  @media (max-height: 420px) { .screen { height: 76dvh; min-height: 180px; } }
`;
