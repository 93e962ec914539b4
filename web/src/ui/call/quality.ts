// `<re-quality .quality=${…}>`: hidden while good; two bars, one bar, crossed out. Pressed, it says what is measured.
import { css, html, nothing, svg } from "lit";
import type { Figures, Quality } from "../../client/stats.ts";
import { number } from "../../words/format.ts";
import { base, ReElement } from "../base.ts";
import "../elements/menu.ts";

const LOOK_MS = 1_000;

export class ReQuality extends ReElement {
  static override properties = { quality: {}, name: {}, figures: { attribute: false }, isOpen: { state: true } };
  declare quality: Quality;
  /** Whose connection it is. */
  declare name: string;
  declare figures: () => Figures | null;
  declare private isOpen: boolean;
  private looking: ReturnType<typeof setInterval> | undefined;

  constructor() {
    super();
    this.quality = "good";
    this.name = "";
    this.figures = () => null;
    this.isOpen = false;
  }

  override disconnectedCallback(): void {
    this.onMenu(false);
    super.disconnectedCallback();
  }

  private onMenu(isOpen: boolean): void {
    clearInterval(this.looking);
    this.isOpen = isOpen;
    if (isOpen) this.looking = setInterval(() => this.requestUpdate(), LOOK_MS);
  }

  override render() {
    // Who reads the figures goes on reading when it gets better.
    if (this.quality === "good" && !this.isOpen) return nothing;
    const w = this.words.quality;
    const text = w[this.quality];
    const bars = { good: 3, weak: 2, poor: 1, lost: 0 }[this.quality];
    return html`<re-menu side="down" align="end" .label=${w.of(this.name)} @re-menu=${(event: CustomEvent<boolean>) => this.onMenu(event.detail)}>
      <button slot="trigger" class="box" aria-label=${`${text}. ${w.of(this.name)}`} title=${text}>
        <svg width="18" height="16" viewBox="0 0 18 16" aria-hidden="true">
          ${[0, 1, 2].map((i) => svg`<rect x=${1 + i * 6} y=${10 - i * 4} width="4" height=${5 + i * 4} rx="1" class=${i < bars ? "on" : "off"}/>`)}
          ${bars === 0 ? svg`<path d="M2 2l13 12" stroke="#fff" stroke-width="2"/>` : nothing}
        </svg></button>
      ${this.details(text)}</re-menu>`;
  }

  private details(text: string) {
    const w = this.words.quality;
    const now = this.figures();
    const rows: [string, string][] = now
      ? [[w.loss, `${number(Math.round(now.loss * 1000) / 10)} %`], [w.frozen, `${number(Math.round(now.frozen_ms / 100) / 10)} s`], [w.delay, `${Math.round(now.rtt_ms)} ms`]]
      : [];
    return html`<div class="figures"><p><b>${text}</b></p>
      <dl>${rows.map(([what, value]) => html`<div><dt>${what}</dt><dd class="numbers">${value}</dd></div>`)}</dl>
      <p class="hint">${w.window}</p></div>`;
  }

  static override styles = [
    base,
    css`
      :host { display: inline-flex; }
      .box { width: 32px; min-height: 32px; padding: 0; border: 0; border-radius: var(--r1); background: var(--scrim); }
      .box:hover { background: #0B0D11; }
      .on { fill: #F0B455; }
      .off { fill: #FFFFFF55; }
      .figures { display: grid; gap: var(--s2); padding: var(--s2) var(--s3); font-size: var(--t2); }
      dl div { display: flex; justify-content: space-between; gap: var(--s5); min-height: 28px; }
      dt { color: var(--text-2); }
    `,
  ];
}

customElements.define("re-quality", ReQuality);
