// `<re-level .track=${…}>`: how loud it is, drawn by CSS variables so that nothing is rendered twenty times a second.
import { css, html } from "lit";
import { measure } from "../../client/levels.ts";
import type { Level } from "../../client/levels.ts";
import { base, ReElement } from "../base.ts";

export class ReLevel extends ReElement {
  static override properties = { track: { attribute: false }, upright: { type: Boolean, reflect: true } };
  declare track: MediaStreamTrack | null;
  declare upright: boolean;
  /** Told of each level as well. */
  onLevel: ((level: number) => void) | null = null;
  private measuring: AbortController | null = null;
  private measured: MediaStreamTrack | null = null;

  constructor() {
    super();
    this.track = null;
    this.upright = false;
  }

  override connectedCallback(): void {
    super.connectedCallback();
    this.measured = null;
    this.requestUpdate();
  }

  override disconnectedCallback(): void {
    this.measuring?.abort();
    super.disconnectedCallback();
  }

  override updated(): void {
    if (this.measured === this.track) return;
    this.measuring?.abort();
    this.measured = this.track;
    this.draw({ level: 0, isClipped: false });
    if (this.track === null || this.track.readyState === "ended") return;
    this.measuring = new AbortController();
    measure(this.track, (level) => this.draw(level), this.measuring.signal);
  }

  private draw({ level, isClipped }: Level): void {
    this.style.setProperty("--level", level.toFixed(3));
    this.toggleAttribute("clipped", isClipped);
    this.onLevel?.(level);
  }

  override render() {
    return html`<span class="bar" aria-hidden="true"></span>`;
  }

  static override styles = [
    base,
    css`
      :host { display: block; height: 6px; overflow: hidden; border-radius: var(--round); background: var(--line); --level: 0; }
      .bar { display: block; height: 100%; background: var(--ok); transform: scaleX(var(--level)); transform-origin: left; transition: transform 80ms linear; }
      :host([upright]) { width: 6px; height: 28px; }
      :host([upright]) .bar { transform: scaleY(var(--level)); transform-origin: bottom; }
      :host([clipped]) .bar { background: var(--warn); }
    `,
  ];
}

customElements.define("re-level", ReLevel);
