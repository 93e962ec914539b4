// The link for others, and the truth about who can open it.
import { css, html, nothing } from "lit";
import type { Config } from "../../client/api.ts";
import { base, ReElement } from "../base.ts";
import { icon } from "../elements/icon.ts";
import { invitation } from "./reach.ts";

export class ReInvite extends ReElement {
  static override properties = { room: {}, config: { attribute: false }, isLarge: { type: Boolean, attribute: "large", reflect: true }, isCopied: { state: true } };
  declare room: string;
  declare config: Config | null;
  declare isLarge: boolean;
  declare private isCopied: boolean;

  constructor() {
    super();
    this.room = "";
    this.config = null;
    this.isLarge = false;
    this.isCopied = false;
  }

  private async copy(url: string): Promise<void> {
    try {
      await navigator.clipboard.writeText(url);
      this.isCopied = true;
      setTimeout(() => (this.isCopied = false), 2_000);
    } catch {
      // Not allowed here: the link is selected instead, so that a key copies it.
      const field = this.renderRoot.querySelector<HTMLInputElement>("input");
      field?.focus();
      field?.select();
    }
  }

  override render() {
    const w = this.words.invite;
    const { url, reach } = invitation(this.room, this.config, location);
    const truth = { "this-computer": w.thisComputer, network: w.network, key: w.key }[reach];
    return html`${this.isLarge ? html`<h2>${w.alone}</h2>` : nothing}
      <div class="row"><input readonly .value=${url} aria-label=${w.link} @focus=${(event: Event) => (event.target as HTMLInputElement).select()} />
        <button class=${this.isLarge ? "main" : ""} @click=${() => void this.copy(url)}>${icon(this.isCopied ? "check" : "copy")}${this.isCopied ? w.copied : w.copy}</button></div>
      <p class="second">${truth}</p>`;
  }

  static override styles = [
    base,
    css`
      :host { display: grid; gap: var(--s3); width: 100%; }
      :host([large]) { justify-items: center; text-align: center; }
      .row { display: flex; gap: var(--s2); width: 100%; }
      .row input { flex: 1; min-width: 0; text-overflow: ellipsis; }
      .row button { flex: none; }
      @container (max-width: 480px) { :host([large]) .row { flex-direction: column; } }
    `,
  ];
}

customElements.define("re-invite", ReInvite);
