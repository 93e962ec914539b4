// The look of the stage of the player.
import { css } from "lit";

export const stylesOfGroup = css`
  :host { display: block; position: relative; width: 100%; height: 100%; overflow: hidden; color-scheme: dark; background: var(--sunken); color: var(--text); }
  .stage { position: absolute; inset: var(--s2); }
  .tile { position: absolute; top: 0; left: 0; margin: 0; overflow: hidden; border-radius: var(--r3); background: var(--tile); transition: transform var(--move) var(--ease), width var(--move) var(--ease), height var(--move) var(--ease); }
  .tile[data-hidden] { opacity: 0; pointer-events: none; visibility: hidden; }
  .tile[data-speaks]::after { content: ""; position: absolute; inset: 0; border: 3px solid var(--accent); border-radius: inherit; pointer-events: none; }
  video { position: absolute; inset: 0; width: 100%; height: 100%; opacity: 0; }
  video.shown { opacity: 1; }
  video.cover { object-fit: cover; }
  video.contain { object-fit: contain; }
  .face { position: absolute; inset: 0; display: grid; place-content: center; justify-items: center; gap: var(--s2); container-type: size; }
  .round { display: grid; place-items: center; width: clamp(32px, 30cqmin, 112px); height: clamp(32px, 30cqmin, 112px); border-radius: 50%; background: var(--ctl); font: 600 clamp(14px, 11cqmin, 40px)/1 var(--font); }
  .why { color: var(--text-2); font-size: var(--t2); }
  @container (max-height: 110px) { .why { display: none; } .round { margin-bottom: 20px; } }
  .name { position: absolute; left: var(--s2); bottom: var(--s2); display: inline-flex; align-items: center; gap: var(--s1); max-width: calc(100% - 16px); padding: 3px var(--s2); border-radius: var(--r1); background: var(--scrim); color: #fff; font: 500 var(--t1)/1.4 var(--font); }
  .name bdi { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
  .name .glyph { flex: none; }
`;
