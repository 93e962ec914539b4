// The look of the library.
import { css } from "lit";

export const styles = css`
  :host { display: block; }
  main { display: grid; gap: var(--s5); max-width: 1080px; margin: 0 auto; padding: var(--s5) var(--s4) var(--s7); }
  .heading { display: flex; flex-wrap: wrap; align-items: baseline; justify-content: space-between; gap: var(--s2) var(--s4); }
  .tools { position: sticky; top: 0; z-index: 3; display: flex; flex-wrap: wrap; align-items: center; gap: var(--s3); min-height: 60px; margin: 0 calc(-1 * var(--s2)); padding: var(--s2); background: var(--bg); }
  .acting { border-radius: var(--r2); background: var(--accent-bg); font-weight: 600; }
  .gap { flex: 1; }
  .field { position: relative; flex: 1 1 280px; }
  .field .glyph { position: absolute; left: 12px; top: 12px; color: var(--text-3); pointer-events: none; }
  .field input { padding-left: 40px; }
  .chips { display: flex; flex-wrap: wrap; align-items: center; gap: var(--s2); }
  .chip { position: relative; display: inline-flex; align-items: center; gap: var(--s1); min-height: 44px; border-radius: var(--round); font: 600 var(--t2)/1.2 var(--font); overflow-wrap: anywhere; }
  button.chip { padding: 0 var(--s3); }
  .chip select { min-height: 44px; padding: 0 var(--s6) 0 var(--s4); border-radius: var(--round); appearance: none; font: 600 var(--t2)/1.2 var(--font); cursor: pointer; }
  .chip select + .glyph { position: absolute; right: 12px; pointer-events: none; }
  .chip[data-on] select, button.chip[data-on] { border-color: var(--accent); background: var(--accent-bg); }
  .grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(240px, 100%), 1fr)); gap: var(--s4); }
  .grid > li { min-width: 0; }
  .grid re-card { height: 100%; }
  .grid .card { aspect-ratio: 1 / 1; border-radius: var(--r3); }
  .middle { display: flex; justify-content: center; }
  .live { display: grid; gap: var(--s3); }
  .live ul { border: 1px solid var(--line); border-radius: var(--r3); background: var(--surface); }
  .live li { display: flex; flex-wrap: wrap; align-items: center; gap: var(--s2) var(--s4); padding: var(--s3) var(--s4); }
  .live li + li { border-top: 1px solid var(--line); }
  .what { display: grid; flex: 1 1 160px; min-width: 0; overflow-wrap: anywhere; }
  .rec { display: inline-flex; align-items: center; gap: var(--s2); font-size: var(--t2); }
  .dot { width: 10px; height: 10px; border-radius: 50%; background: var(--rec); }
  .ways { display: flex; gap: var(--s2); }
  .ways .button { min-height: 44px; }
  @media (max-width: 720px) {
    main { gap: var(--s4); padding-top: var(--s4); }
    .tools { position: static; }
    .chips { flex-wrap: nowrap; max-width: 100%; overflow-x: auto; padding: 4px; margin: -4px; }
    .chips > * { flex: none; }
  }
`;
