// One set of icons: 20 px, one stroke, the colour of the text around them. They never stand without a label.
import { html, svg } from "lit";
import type { SVGTemplateResult, TemplateResult } from "lit";

const SHAPES = {
  mic: svg`<rect x="7" y="2.5" width="6" height="9" rx="3"/><path d="M4.5 9.5a5.5 5.5 0 0 0 11 0M10 15v2.5"/>`,
  "mic-off": svg`<path d="M13 8.5v-3a3 3 0 0 0-5.7-1.3M7 8v.5a3 3 0 0 0 4.6 2.5M4.5 9.5a5.5 5.5 0 0 0 8.8 4.4M15.2 11.2c.2-.5.3-1.1.3-1.7M10 15v2.5M3 3l14 14"/>`,
  camera: svg`<rect x="2.5" y="5" width="10.5" height="10" rx="2"/><path d="m13 9 4.5-2.5v7L13 11"/>`,
  "camera-off": svg`<path d="M7.5 5H11a2 2 0 0 1 2 2v3.5M13 13a2 2 0 0 1-2 2H4.5a2 2 0 0 1-2-2V7a2 2 0 0 1 1.5-1.9M13 9l4.5-2.5v7L15 12M3 3l14 14"/>`,
  screen: svg`<rect x="2.5" y="3.5" width="15" height="10.5" rx="2"/><path d="M7 17h6M10 11.5V6.5M7.8 8.7 10 6.5l2.2 2.2"/>`,
  record: svg`<circle cx="10" cy="10" r="7"/><circle cx="10" cy="10" r="3" fill="currentColor"/>`,
  stop: svg`<circle cx="10" cy="10" r="7"/><rect x="7.5" y="7.5" width="5" height="5" rx="1" fill="currentColor"/>`,
  more: svg`<path d="M4.5 10h.01M10 10h.01M15.5 10h.01" stroke-width="2.5"/>`,
  leave: svg`<path d="M3 12.5c0-4.5 14-4.5 14 0v1c0 .6-.5 1-1 1h-2.5c-.6 0-1-.5-1-1v-1.7a9 9 0 0 0-5 0v1.7c0 .5-.4 1-1 1H4c-.5 0-1-.4-1-1z"/>`,
  chat: svg`<path d="M3 5.5a2 2 0 0 1 2-2h10a2 2 0 0 1 2 2v6a2 2 0 0 1-2 2H8.5L5 16.5v-3a2 2 0 0 1-2-2z"/>`,
  people: svg`<circle cx="7.5" cy="7" r="3"/><path d="M2.5 16a5 5 0 0 1 10 0M13 4.3a3 3 0 0 1 0 5.4M14.5 11.7a5 5 0 0 1 3 4.3"/>`,
  eye: svg`<path d="M2 10s3-5 8-5 8 5 8 5-3 5-8 5-8-5-8-5z"/><circle cx="10" cy="10" r="2.3"/>`,
  link: svg`<path d="m8.5 11.5 3-3M9.5 6l1.7-1.7a3.2 3.2 0 0 1 4.5 4.5L14 10.5M10.5 14l-1.7 1.7a3.2 3.2 0 0 1-4.5-4.5L6 9.5"/>`,
  copy: svg`<rect x="7" y="7" width="10" height="10" rx="2"/><path d="M13 7V5a2 2 0 0 0-2-2H5a2 2 0 0 0-2 2v6a2 2 0 0 0 2 2h2"/>`,
  close: svg`<path d="m5 5 10 10M15 5 5 15"/>`,
  check: svg`<path d="m4 10.5 4 4 8-9"/>`,
  down: svg`<path d="m5.5 8 4.5 4.5L14.5 8"/>`,
  up: svg`<path d="m5.5 12 4.5-4.5 4.5 4.5"/>`,
  left: svg`<path d="M12 5.5 7.5 10l4.5 4.5"/>`,
  right: svg`<path d="m8 5.5 4.5 4.5L8 14.5"/>`,
  play: svg`<path d="M6 4v12l10-6z"/>`,
  pause: svg`<path d="M7 4.5v11M13 4.5v11" stroke-width="2.5"/>`,
  skip: svg`<path d="M3.5 5v10l6-5zM10.5 5v10l6-5z"/>`,
  again: svg`<path d="M4 8.5a6.5 6.5 0 1 1-.5 4M3.5 4v4.5H8"/>`,
  search: svg`<circle cx="9" cy="9" r="5.5"/><path d="m13 13 4 4"/>`,
  download: svg`<path d="M10 3v9.5M6 9l4 4 4-4M4 16.5h12"/>`,
  trash: svg`<path d="M3.5 5.5h13M8 5.5v-2h4v2M5.5 5.5l.8 11h7.4l.8-11M8.5 8.5v5M11.5 8.5v5"/>`,
  settings: svg`<path d="M3 6h8M15 6h2M3 14h2M9 14h8"/><circle cx="13" cy="6" r="2"/><circle cx="7" cy="14" r="2"/>`,
  pin: svg`<path d="M7 3h6l-.7 5 2.7 2.5v1.5H5v-1.5L7.7 8zM10 12v5"/>`,
  grid: svg`<rect x="3" y="3" width="6" height="6" rx="1.5"/><rect x="11" y="3" width="6" height="6" rx="1.5"/><rect x="3" y="11" width="6" height="6" rx="1.5"/><rect x="11" y="11" width="6" height="6" rx="1.5"/>`,
  keyboard: svg`<rect x="2" y="5" width="16" height="10" rx="2"/><path d="M5.5 8.5h.01M8.5 8.5h.01M11.5 8.5h.01M14.5 8.5h.01M6.5 12h7"/>`,
  sound: svg`<path d="M3 8v4h3l4 3.5v-11L6 8zM13 7.5a3.5 3.5 0 0 1 0 5M15.2 5a7 7 0 0 1 0 10"/>`,
  "sound-off": svg`<path d="M3 8v4h3l4 3.5v-11L6 8zM13 8l4 4M17 8l-4 4"/>`,
  info: svg`<circle cx="10" cy="10" r="7.5"/><path d="M10 9.5v4M10 6.5h.01"/>`,
  warn: svg`<path d="M10 3 2.5 16.5h15zM10 8v4M10 14.2h.01"/>`,
  bad: svg`<circle cx="10" cy="10" r="7.5"/><path d="M10 6v5M10 13.7h.01"/>`,
  "full-screen": svg`<path d="M3 7V3h4M13 3h4v4M17 13v4h-4M7 17H3v-4"/>`,
  language: svg`<circle cx="10" cy="10" r="7.5"/><path d="M2.5 10h15M10 2.5c2.5 2.3 2.5 12.7 0 15M10 2.5c-2.5 2.3-2.5 12.7 0 15"/>`,
  theme: svg`<circle cx="10" cy="10" r="7"/><path d="M10 3a7 7 0 0 1 0 14z" fill="currentColor"/>`,
  hand: svg`<path d="M6 10V5.5a1.2 1.2 0 0 1 2.4 0V9M8.4 9V4a1.2 1.2 0 0 1 2.4 0v5M10.8 9V4.8a1.2 1.2 0 0 1 2.4 0V10M13.2 9V7a1.2 1.2 0 0 1 2.4 0v5.5a5 5 0 0 1-9 3L3.7 11.8a1.3 1.3 0 0 1 2-1.6L7 11.5"/>`,
} satisfies Record<string, SVGTemplateResult>;

export type IconName = keyof typeof SHAPES;

export function icon(name: IconName, size = 20): TemplateResult {
  return html`<svg class="glyph" width=${size} height=${size} viewBox="0 0 20 20" fill="none" stroke="currentColor"
    stroke-width="1.6" stroke-linecap="round" stroke-linejoin="round" aria-hidden="true" focusable="false">${SHAPES[name]}</svg>`;
}
