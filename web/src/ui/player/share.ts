// `<re-share>`: links to a recording: to its start, to this moment, to a part of it, and to a page with only that part.
// Fires `re-copy` with the address, and `re-share` with a `ShareWish`.
import { css, html, nothing } from "lit";
import type { ManifestPerson, Span } from "../../client/replay/model.ts";
import { formatSpan, parseMoment } from "../../client/replay/when.ts";
import { duration } from "../../words/format.ts";
import { base, ReElement } from "../base.ts";
import { icon } from "../elements/icon.ts";
import { menuItems } from "../elements/menu.ts";
import "../elements/menu.ts";

/** A part begins here and lasts so long until somebody says otherwise. */
const PART_MS = 30_000;

/** A page with a span of everybody, or of one person by a stay of theirs. */
export interface ShareWish extends Span {
  who: string | null;
}

export class ReShare extends ReElement {
  static override properties = { url: {}, position: { attribute: false }, length: { attribute: false }, people: { attribute: false }, canShare: { attribute: false }, isBad: { state: true } };
  /** The address of the recording. */
  declare url: string;
  declare position: number;
  declare length: number;
  /** Everybody who is in it, once. */
  declare people: ManifestPerson[];
  /** May make pages for others. */
  declare canShare: boolean;
  declare private isBad: boolean;

  constructor() {
    super();
    this.url = "";
    this.position = 0;
    this.length = 0;
    this.people = [];
    this.canShare = false;
    this.isBad = false;
  }

  private copy(from: number | null, to: number | null = null): void {
    const link = new URL(this.url, location.href);
    if (from !== null) link.searchParams.set("t", formatSpan(Math.floor(from / 1000) * 1000, to));
    this.dispatchEvent(new CustomEvent("re-copy", { detail: link.href }));
  }

  private field(id: string): HTMLInputElement | null {
    return this.renderRoot.querySelector<HTMLInputElement>(`#${id}`);
  }

  // The fields say what would be copied, from the moment that the menu opens.
  private onMenu(event: CustomEvent<boolean>): void {
    if (!event.detail) return;
    this.isBad = false;
    const [from, to] = [this.field("from"), this.field("to")];
    if (from) from.value = duration(this.position);
    if (to) to.value = duration(Math.min(this.length, this.position + PART_MS));
  }

  /** What the fields say, or null after showing what has to be mended: the menu stays then. */
  private span(event: Event): Span | null {
    const [from, to] = [parseMoment(this.field("from")?.value ?? ""), parseMoment(this.field("to")?.value ?? "")];
    this.isBad = from === null || to === null || to <= from;
    if (from !== null && to !== null && to > from) return { from, to };
    event.stopPropagation();
    this.field("from")?.focus();
    return null;
  }

  private copyPart(event: Event): void {
    const span = this.span(event);
    if (span) this.copy(span.from, span.to);
  }

  private sharePart(event: Event): void {
    const span = this.span(event);
    const who = this.renderRoot.querySelector<HTMLSelectElement>("#who")?.value || null;
    if (span) this.dispatchEvent(new CustomEvent<ShareWish>("re-share", { detail: { from: Math.round(span.from), to: Math.round(span.to), who } }));
  }

  override render() {
    const w = this.words.replay;
    const at = Math.floor(this.position / 1000) * 1000;
    return html`<re-menu side="down" align="end" .label=${w.shareMenu} @re-menu=${this.onMenu}>
      <button slot="trigger" class="share" aria-label=${w.shareMenu} title=${w.shareMenu}>${icon("link")}<span class="word">${w.shareMenu}</span></button>
      <button class="item" @click=${() => this.copy(null)}>${icon("copy")}${w.shareWhole}</button>
      <button class="item numbers" @click=${() => this.copy(at)}>${icon("copy")}${w.shareAt(duration(at))}</button>
      <div class="rule"></div>
      <div class="part">
        <label>${w.spanFrom}<input id="from" class="numbers" autocomplete="off" aria-invalid=${this.isBad} /></label>
        <label>${w.spanTo}<input id="to" class="numbers" autocomplete="off" aria-invalid=${this.isBad} /></label>
        ${this.isBad ? html`<p class="bad" role="alert">${w.spanBad}</p>` : nothing}
      </div>
      <button class="item" @click=${this.copyPart}>${icon("copy")}${w.shareSpan}</button>
      ${this.canShare ? html`<div class="rule"></div>
        <div class="part one"><label>${w.shareWho}<select id="who"><option value="">${w.shareAll}</option>
          ${this.people.map((one) => html`<option value=${one.id}>${one.name}</option>`)}</select></label></div>
        <button class="item" @click=${this.sharePart}>${icon("link")}${w.shareClip}</button>
        <p class="hint why">${w.shareClipHint}</p>` : nothing}
    </re-menu>`;
  }

  static override styles = [
    base,
    menuItems,
    css`
      :host { display: inline-flex; }
      .part { display: grid; grid-template-columns: 1fr 1fr; gap: var(--s2); padding: var(--s2) var(--s3); }
      .part.one { grid-template-columns: 1fr; }
      .why { max-width: 30em; padding: 0 var(--s3) var(--s2); }
      .part select { width: 100%; margin-top: 2px; }
      .part input { min-width: 0; margin-top: 2px; }
      .bad { grid-column: 1 / -1; color: var(--bad); font-size: var(--t2); }
      @media (max-width: 480px) { .share .word { display: none; } .share { width: 44px; padding: 0; } }
    `,
  ];
}

customElements.define("re-share", ReShare);
