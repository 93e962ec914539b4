// What can be done with a recording besides watching it: name and tag it, keep it, save all or a part of it, delete it.
// Fires `re-noted` with the new notes, `re-erased` and `re-delete`.
import { css, html, nothing } from "lit";
import type { TemplateResult } from "lit";
import { recordings, titleOf } from "../../client/library.ts";
import type { Notes } from "../../client/library.ts";
import { lanes, peopleOf } from "../../client/replay/model.ts";
import type { Manifest } from "../../client/replay/model.ts";
import { parseMoment } from "../../client/replay/when.ts";
import { duration } from "../../words/format.ts";
import { base, ReElement } from "../base.ts";
import "../elements/dialog.ts";
import { icon } from "../elements/icon.ts";
import "../elements/menu.ts";
import { menuItems } from "../elements/menu.ts";
import { toast } from "../elements/toast.ts";
import "./replay-make.ts";

/** A part begins and ends this far from the playhead, until somebody says otherwise. */
const AROUND_MS = 15_000;

class ReReplayMore extends ReElement {
  static override properties = { manifest: {}, position: {}, dialog: { state: true }, from: { state: true }, to: { state: true }, what: { state: true } };
  declare manifest: Manifest;
  /** The playhead, in ms: a part is cut around it. */
  declare position: number;
  declare private dialog: "notes" | "part" | "make" | "erase" | null;
  declare private from: string;
  declare private to: string;
  /** Name of the file to cut, or `""` for everybody as ZIP. */
  declare private what: string;

  constructor() {
    super();
    this.position = 0;
    this.dialog = null;
    this.from = "";
    this.to = "";
    this.what = "";
  }

  private async note(change: Partial<Notes>): Promise<void> {
    try {
      const notes = await recordings.annotate(this.manifest.id, change);
      this.dispatchEvent(new CustomEvent<Notes>("re-noted", { detail: notes }));
      this.dialog = null;
    } catch {
      toast({ text: this.words.replay.noteFailed });
    }
  }

  private onNotes(event: SubmitEvent): void {
    event.preventDefault();
    const fields = new FormData(event.target as HTMLFormElement);
    const tags = String(fields.get("tags")).split(/[,，、]/).map((tag) => tag.trim()).filter((tag) => tag !== "");
    void this.note({ title: String(fields.get("title")).trim(), tags });
  }

  private async erase(): Promise<void> {
    const human = peopleOf(this.manifest).find((one) => one.id === this.what) ?? peopleOf(this.manifest)[0];
    this.dialog = null;
    if (!human) return;
    try {
      await recordings.erase(this.manifest.id, human.id);
      toast({ text: this.words.replay.erased(human.name) });
      this.dispatchEvent(new Event("re-erased"));
    } catch {
      toast({ text: this.words.replay.eraseFailed });
    }
  }

  private openPart(): void {
    this.from = duration(Math.max(0, this.position - AROUND_MS));
    this.to = duration(Math.min(this.manifest.duration_ms, this.position + AROUND_MS));
    this.what = "";
    this.dialog = "part";
  }

  /** Where the part is to be had, or null while the times are none. */
  private get partUrl(): string | null {
    const [from, to] = [parseMoment(this.from), parseMoment(this.to)];
    const { media, export_url: whole } = this.manifest;
    const url = this.what === "" ? whole : media?.[this.what]?.clip_url;
    if (from === null || to === null || to <= from || !url) return null;
    return `${url}${url.includes("?") ? "&" : "?"}from=${Math.round(from)}&to=${Math.round(to)}`;
  }

  override render() {
    const w = this.words.replay;
    const { export_url: whole, keep = false } = this.manifest;
    return html`<re-menu side="down" align="end" .label=${w.more}>
        <button slot="trigger" class="icon quiet" aria-label=${w.more} title=${w.more}>${icon("more")}</button>
        <button class="item" @click=${() => (this.dialog = "notes")}>${icon("settings")}${w.rename}</button>
        <button class="item" aria-pressed=${keep} @click=${() => void this.note({ keep: !keep })}>${icon(keep ? "check" : "pin")}${w.keep}</button>
        ${whole ? html`<a class="item" href=${whole} download>${icon("download")}${w.saveAll}</a>
          <button class="item" @click=${this.openPart}>${icon("copy")}${w.savePart}</button>
          <button class="item" @click=${() => (this.dialog = "make")}>${icon("play")}${w.make}</button>` : nothing}
        ${peopleOf(this.manifest).length > 1 ? html`<button class="item danger" ?disabled=${keep} title=${keep ? w.keptHint : ""} @click=${() => { this.what = ""; this.dialog = "erase"; }}>${icon("close")}${w.erase}</button>` : nothing}
        <button class="item danger" ?disabled=${keep} title=${keep ? w.keptHint : ""} @click=${() => this.dispatchEvent(new Event("re-delete"))}>${icon("trash")}${w.delete}</button>
      </re-menu>
      ${this.dialog === "notes" ? this.notesDialog() : nothing}${this.dialog === "part" ? this.partDialog() : nothing}${this.dialog === "erase" ? this.eraseDialog() : nothing}
      ${this.dialog === "make" ? html`<re-replay-make .recording=${this.manifest.id} @close=${() => (this.dialog = null)}></re-replay-make>` : nothing}`;
  }

  private notesDialog(): TemplateResult {
    const w = this.words.replay;
    return html`<re-dialog open .heading=${w.rename} @close=${() => (this.dialog = null)}>
      <form id="notes" @submit=${this.onNotes}>
        <label>${w.titleLabel}<input name="title" maxlength="200" data-first .value=${this.manifest.title ?? ""} placeholder=${titleOf({ ...this.manifest, title: "" })} /></label>
        <label>${w.tagsLabel}<input name="tags" maxlength="1000" .value=${(this.manifest.tags ?? []).join(", ")} /><span class="hint">${w.tagsHint}</span></label>
      </form>
      <button slot="actions" @click=${() => (this.dialog = null)}>${this.words.common.cancel}</button>
      <button slot="actions" class="main" @click=${() => this.renderRoot.querySelector<HTMLFormElement>("#notes")?.requestSubmit()}>${w.saveNotes}</button>
    </re-dialog>`;
  }

  private eraseDialog(): TemplateResult {
    const w = this.words.replay;
    return html`<re-dialog open .heading=${w.erase} @close=${() => (this.dialog = null)}>
      <div class="form">
        <label>${w.eraseWho}<select @change=${(event: Event) => (this.what = (event.target as HTMLSelectElement).value)}>
          ${peopleOf(this.manifest).map((one) => html`<option value=${one.id}>${one.name}</option>`)}</select></label>
        <p>${w.eraseHint}</p>
      </div>
      <button slot="actions" data-first @click=${() => (this.dialog = null)}>${this.words.common.cancel}</button>
      <button slot="actions" class="danger" @click=${() => void this.erase()}>${w.eraseNow}</button>
    </re-dialog>`;
  }

  private partDialog(): TemplateResult {
    const w = this.words.replay;
    const url = this.partUrl;
    const files = lanes(this.manifest.files).flatMap((lane) => lane.files.map((file) => ({ file: file.file, name: lane.source === "camera" ? lane.name : w.screenOf(lane.name) })));
    return html`<re-dialog open .heading=${w.savePart} @close=${() => (this.dialog = null)}>
      <div class="form">
        <div class="times">
          <label>${w.partFrom}<input class="numbers" data-first .value=${this.from} @input=${(event: Event) => (this.from = (event.target as HTMLInputElement).value)} /></label>
          <label>${w.partTo}<input class="numbers" .value=${this.to} @input=${(event: Event) => (this.to = (event.target as HTMLInputElement).value)} /></label>
        </div>
        <label>${w.partWhat}<select @change=${(event: Event) => (this.what = (event.target as HTMLSelectElement).value)}>
          <option value="">${w.partAll}</option>${files.map(({ file, name }) => html`<option value=${file}>${name}</option>`)}</select></label>
        <p class="hint" role="status">${url === null ? w.partWrong : w.partHint}</p>
      </div>
      <button slot="actions" @click=${() => (this.dialog = null)}>${this.words.common.cancel}</button>
      ${url === null ? html`<button slot="actions" class="main" disabled>${w.download}</button>`
        : html`<a slot="actions" class="button main" href=${url} download @click=${() => (this.dialog = null)}>${w.download}</a>`}
    </re-dialog>`;
  }

  static override styles = [
    base,
    menuItems,
    css`
      :host { display: contents; }
      form, .form { display: grid; gap: var(--s4); }
      label { display: grid; gap: var(--s1); font-weight: 500; }
      .hint { font-weight: 400; }
      .times { display: grid; grid-template-columns: 1fr 1fr; gap: var(--s3); }
      a.item { text-decoration: none; }
      input, select { width: 100%; }
    `,
  ];
}

customElements.define("re-replay-more", ReReplayMore);
