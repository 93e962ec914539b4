// The look of the panel beside the player.
import { css } from "lit";

export const stylesOfPanel = css`
  :host { display: grid; grid-template-rows: auto 1fr; min-width: 0; min-height: 0; border: 1px solid var(--line); border-radius: var(--r3); background: var(--surface); overflow: hidden; }
  .tabs { display: flex; border-bottom: 1px solid var(--line); }
  .tabs button { flex: 1; min-width: 0; padding: 0 var(--s1); border-radius: 0; color: var(--text-2); font-size: var(--t2); }
  .tabs [aria-selected="true"] { color: var(--text); box-shadow: inset 0 -3px 0 var(--accent); }
  .tabs :focus-visible { outline-offset: -4px; }
  #body { min-height: 0; padding: var(--s2) var(--s3) var(--s4); overflow: auto; }
  #body:focus-visible { outline-offset: -3px; }
  .human { display: grid; grid-template-columns: 40px 1fr repeat(4, auto); align-items: center; gap: 0 var(--s1); padding: var(--s2) 0; }
  .human + .human { border-top: 1px solid var(--line); }
  .round { display: grid; place-items: center; width: 40px; height: 40px; border-radius: 50%; background: var(--sunken); color: var(--text); font: 600 var(--t2)/1 var(--font); }
  .what { display: grid; min-width: 0; }
  .what { margin-left: var(--s1); }
  .what b { overflow-wrap: anywhere; }
  .human .icon { width: 40px; min-height: 40px; }
  .loud { grid-column: 1 / -1; display: flex; align-items: center; gap: var(--s2); }
  .loud input { flex: 1; min-width: 0; height: 28px; accent-color: var(--accent); }
  .chat li { display: grid; grid-template-columns: auto 1fr; gap: var(--s3); padding: var(--s2) 0; overflow-wrap: anywhere; }
  .chat li[data-later] { color: var(--text-2); }
  .chat button { min-height: 28px; font-size: var(--t2); font-weight: 400; }
  .none { padding: var(--s4) 0; }
  .facts { display: grid; gap: 2px; padding: var(--s2) 0; font-size: var(--t2); }
  .facts div { display: grid; grid-template-columns: 8em 1fr; gap: var(--s2); padding: 3px 0; }
  .facts dt { color: var(--text-2); }
  .facts dd { margin: 0; min-width: 0; overflow-wrap: anywhere; }
  .flow { margin: 0; padding: var(--s1) 0; }
  .flow svg { display: block; width: 100%; height: 44px; }
  .bars { fill: var(--text-2); }
  .put { fill: var(--warn); }
  .key { display: inline-block; width: 10px; height: 4px; margin-left: var(--s2); background: var(--warn); vertical-align: middle; }
  details { border-top: 1px solid var(--line); }
  summary { min-height: 44px; padding: 10px 0; cursor: pointer; font-weight: 600; }
  code { font: 400 var(--t1)/1.5 var(--mono); }
  p { padding: var(--s2) 0; font-size: var(--t2); }
  .chat p { padding: 0; font-size: var(--t3); }
`;
