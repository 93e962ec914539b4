// The look of the timeline.
import { css } from "lit";

export const stylesOfTimeline = css`
  :host { display: block; --gutter: 132px; }
  section { display: grid; gap: var(--s1); }
  .scroll { overflow-x: auto; overflow-y: hidden; padding: 0 10px; margin: 0 -10px; scrollbar-width: thin; }
  .wide { display: grid; min-width: 100%; }
  .row { display: grid; grid-template-columns: var(--gutter) 1fr; align-items: center; min-height: 24px; }
  .label { position: sticky; left: -10px; z-index: 2; overflow: hidden; padding: 0 var(--s3) 0 10px; margin-left: -10px; background: var(--surface); color: var(--text-2); font-size: var(--t1); line-height: 24px; text-overflow: ellipsis; white-space: nowrap; }
  .track { position: relative; min-width: 0; height: 24px; }
  i { position: absolute; display: block; }
  .scrub { height: 44px; cursor: pointer; touch-action: none; border-radius: var(--r1); }
  .rail { position: absolute; inset: 18px 0; overflow: hidden; border-radius: 4px; background: var(--line); }
  .rail i { top: 0; bottom: 0; left: 0; }
  .loaded { background: var(--edge); opacity: .5; }
  .played { background: var(--accent); }
  .rail .skipped { background: repeating-linear-gradient(135deg, var(--surface) 0 3px, transparent 3px 6px); }
  .thumb { top: 14px; width: 16px; height: 16px; margin-left: -8px; border-radius: 50%; background: var(--accent); box-shadow: 0 0 0 2px var(--surface); }
  .preview { position: absolute; bottom: 40px; z-index: 5; display: grid; justify-items: center; gap: 2px; transform: translateX(-50%); padding: 4px; border: 1px solid var(--line); border-radius: var(--r2); background: var(--raised); box-shadow: var(--float); font-size: var(--t1); pointer-events: none; }
  .preview img { width: 160px; height: 90px; border-radius: var(--r1); object-fit: cover; background: var(--tile); }
  .people { cursor: pointer; }
  .people i { top: 8px; height: 8px; }
  .there { border-radius: 4px; background: var(--edge); opacity: .45; }
  .there.thin { top: 11px !important; height: 2px !important; opacity: .8; }
  .voice { min-width: 2px; border-radius: 2px; background: var(--accent); }
  .spot { min-width: 3px; border-radius: 1px; }
  .spot.gap { top: 5px !important; height: 14px !important; border: 1px solid var(--warn); background: repeating-linear-gradient(135deg, var(--warn) 0 3px, var(--surface) 3px 6px); }
  .spot.freeze { top: 5px !important; height: 14px !important; border: 1px dotted var(--warn); background: radial-gradient(circle, var(--warn) 1px, transparent 1.5px) 0 0 / 5px 5px var(--surface); }
  .spot.off.video, .spot.consent { background: var(--surface); opacity: .7; }
  .spot.off.audio { display: none; }
  .spot.repaired { top: 3px !important; width: 2px !important; height: 18px !important; background: var(--text-2); }
  .now { width: 1px; top: 0 !important; height: 24px !important; background: var(--text); }
  .marks { height: 32px; }
  .dot { position: absolute; top: 0; width: 32px; height: 32px; min-height: 32px; margin-left: -16px; padding: 0; color: var(--text-2); }
  .dot:hover, .dot:focus-visible { z-index: 2; color: var(--text); background: var(--raised); }
  .zoom { display: flex; justify-content: flex-end; }
  .zoom button { width: 32px; height: 28px; min-height: 28px; }
  @media (max-width: 720px) { :host { --gutter: 84px; } }
  @media (forced-colors: active) { .played, .voice, .thumb { background: Highlight; } .there, .rail { background: GrayText; } }
`;
