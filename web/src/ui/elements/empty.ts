// `<re-empty heading="…">` where there is nothing: says why and what to do. `<re-skeleton>`: the place of what loads, after 0.5 s.
import { css, html } from "lit";
import { base, ReElement } from "../base.ts";

export class ReEmpty extends ReElement {
  static override properties = { heading: {}, main: { type: Boolean } };
  declare heading: string;
  /** It is all there is on the page, so its heading is the page's. */
  declare main: boolean;

  constructor() {
    super();
    this.heading = "";
    this.main = false;
  }

  override render() {
    return html`${this.main ? html`<h1 class="heading">${this.heading}</h1>` : html`<p class="heading">${this.heading}</p>`}<slot></slot><div class="actions"><slot name="action"></slot></div>`;
  }

  static override styles = [
    base,
    css`
      :host { display: grid; justify-items: center; gap: var(--s3); padding: var(--s6) var(--s4); color: var(--text-2); text-align: center; }
      .heading { color: var(--text); font: 600 var(--t3)/1.5 var(--font); overflow-wrap: anywhere; }
      .actions { display: flex; flex-wrap: wrap; justify-content: center; gap: var(--s2); }
    `,
  ];
}

export class ReSkeleton extends ReElement {
  override connectedCallback(): void {
    super.connectedCallback();
    this.setAttribute("aria-hidden", "true");
  }

  override render() {
    return html``;
  }

  static override styles = css`
    :host { display: block; min-height: 1em; border-radius: var(--r1); background: var(--line); opacity: 0; animation: appear 0s .5s forwards; }
    @keyframes appear { to { opacity: 1; } }
  `;
}

customElements.define("re-empty", ReEmpty);
customElements.define("re-skeleton", ReSkeleton);
