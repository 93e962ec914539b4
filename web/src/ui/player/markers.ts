// `<re-markers>`: the moments that people marked, to jump to; and a line to add one at the moment that plays.
// Fires `re-seek` with milliseconds and `re-marked` when something changed.
import { css, html, nothing } from "lit";
import type { TemplateResult } from "lit";
import { recordings } from "../../client/library.ts";
import type { RecordedEvent } from "../../client/replay/model.ts";
import { duration } from "../../words/format.ts";
import { base, ReElement } from "../base.ts";
import { icon } from "../elements/icon.ts";

export class ReMarkers extends ReElement {
  static override properties = { url: {}, events: { attribute: false }, position: { attribute: false }, problem: { state: true }, isBusy: { state: true } };
  /** Where markers are added; `null` for who may not. */
  declare url: string | null;
  declare events: RecordedEvent[];
  declare position: number;
  declare private problem: "bad" | "failed" | null;
  declare private isBusy: boolean;

  constructor() {
    super();
    this.url = null;
    this.events = [];
    this.position = 0;
    this.problem = null;
    this.isBusy = false;
  }

  private async add(event: Event): Promise<void> {
    event.preventDefault();
    const field = this.renderRoot.querySelector<HTMLInputElement>("#text");
    const text = field?.value.trim() ?? "";
    if (!field || !this.url || this.isBusy) return;
    if (text === "" || [...text].length > 200) {
      this.problem = "bad";
      field.focus();
      return;
    }
    if (await this.change(recordings.mark(this.url, Math.floor(this.position), text))) field.value = "";
  }

  private async change(asked: Promise<unknown>): Promise<boolean> {
    this.isBusy = true;
    this.problem = null;
    try {
      await asked;
      this.dispatchEvent(new CustomEvent("re-marked", { bubbles: true, composed: true }));
      return true;
    } catch {
      this.problem = "failed";
      return false;
    } finally {
      this.isBusy = false;
    }
  }

  override render() {
    const w = this.words.replay;
    const marks = this.events.filter((event) => event.type === "mark");
    const problem = this.problem === "bad" ? w.markBad : this.problem === "failed" ? w.markFailed : null;
    return html`${this.url === null ? nothing : html`<form @submit=${this.add} novalidate>
        <label for="text" class="numbers">${w.markAt(duration(this.position))}</label>
        <div class="row"><input id="text" maxlength="200" autocomplete="off" placeholder=${w.markText} aria-invalid=${this.problem === "bad"} aria-describedby=${problem ? "problem" : nothing} @input=${() => (this.problem = null)} />
          <button aria-label=${w.markAdd}>${w.markAddShort}</button></div>
        ${problem ? html`<p class="bad" id="problem" role="alert">${problem}</p>` : nothing}</form>`}
      ${marks.length === 0 ? html`<p class="second">${this.url === null ? w.noMarksHere : w.noMarks}</p>` : html`<ol>${marks.map((mark) => this.mark(mark))}</ol>`}`;
  }

  private mark(mark: RecordedEvent): TemplateResult {
    const w = this.words.replay;
    const { url } = this;
    return html`<li><button class="linklike numbers" aria-label=${w.jumpTo(duration(mark.t_ms))} @click=${() => this.dispatchEvent(new CustomEvent("re-seek", { detail: mark.t_ms }))}>${duration(mark.t_ms)}</button>
      <div class="what"><bdi>${mark.text ?? ""}</bdi>${mark.name ? html`<span class="hint"><bdi>${mark.name}</bdi></span>` : nothing}</div>
      ${url && mark.mark ? html`<button class="icon quiet" aria-label=${w.markGone(mark.text ?? "")} title=${w.markGone(mark.text ?? "")} @click=${() => void this.change(recordings.unmark(url, mark.mark ?? ""))}>${icon("trash")}</button>` : nothing}</li>`;
  }

  static override styles = [
    base,
    css`
      :host { display: grid; gap: var(--s3); padding: var(--s2) 0; }
      form { display: grid; gap: var(--s2); }
      .row { display: flex; gap: var(--s2); }
      .row input { flex: 1; min-width: 0; }
      .row button { flex: none; padding: 0 var(--s3); font-size: var(--t2); }
      .bad { color: var(--bad); font-size: var(--t2); }
      li { display: grid; grid-template-columns: auto minmax(0, 1fr) auto; align-items: center; gap: var(--s3); min-height: 44px; overflow-wrap: anywhere; }
      li + li { border-top: 1px solid var(--line); }
      .linklike { min-height: 28px; font-size: var(--t2); font-weight: 400; }
      .what { display: grid; padding: var(--s1) 0; }
    `,
  ];
}

customElements.define("re-markers", ReMarkers);
