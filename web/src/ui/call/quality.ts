// `<re-quality .quality=${…}>`: hidden while good; two bars, one bar, crossed out.
import { css, html, nothing, svg } from "lit";
import type { Quality } from "../../client/stats.ts";
import { base, ReElement } from "../base.ts";

export class ReQuality extends ReElement {
  static override properties = { quality: {} };
  declare quality: Quality;

  constructor() {
    super();
    this.quality = "good";
  }

  override render() {
    if (this.quality === "good") return nothing;
    const text = this.words.quality[this.quality];
    const bars = this.quality === "weak" ? 2 : this.quality === "poor" ? 1 : 0;
    return html`<span class="box" role="img" aria-label=${text} title=${text}>
      <svg width="18" height="16" viewBox="0 0 18 16" aria-hidden="true">
        ${[0, 1, 2].map((i) => svg`<rect x=${1 + i * 6} y=${10 - i * 4} width="4" height=${5 + i * 4} rx="1" class=${i < bars ? "on" : "off"}/>`)}
        ${bars === 0 ? svg`<path d="M2 2l13 12" stroke="#fff" stroke-width="2"/>` : nothing}
      </svg></span>`;
  }

  static override styles = [
    base,
    css`
      :host { display: inline-flex; }
      .box { display: grid; place-content: center; width: 28px; height: 26px; border-radius: var(--r1); background: var(--scrim); }
      .on { fill: #F0B455; }
      .off { fill: #FFFFFF55; }
    `,
  ];
}

customElements.define("re-quality", ReQuality);
