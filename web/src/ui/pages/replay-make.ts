// Makes a movie, or files for editors, on the server: what, how far, and the way to the result. Fires `close`.
import { css, html, nothing } from "lit";
import type { TemplateResult } from "lit";
import { ApiError } from "../../client/api.ts";
import { recordings } from "../../client/library.ts";
import type { Job, Order } from "../../client/library.ts";
import { duration } from "../../words/format.ts";
import { base, ReElement } from "../base.ts";
import "../elements/dialog.ts";

const LOOK_MS = 700;

class ReReplayMake extends ReElement {
  static override properties = { recording: {}, order: { state: true }, job: { state: true }, problem: { state: true } };
  declare recording: string;
  declare private order: Order;
  declare private job: Job | null;
  declare private problem: "ffmpeg" | "failed" | null;
  private timer: ReturnType<typeof setTimeout> | undefined;

  constructor() {
    super();
    this.recording = "";
    this.order = { kind: "movie", layout: "grid" };
    this.job = null;
    this.problem = null;
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    clearTimeout(this.timer);
  }

  private async begin(): Promise<void> {
    this.problem = null;
    try {
      this.follow(await recordings.make(this.recording, this.order));
    } catch (error) {
      this.problem = error instanceof ApiError && error.code === "no-ffmpeg" ? "ffmpeg" : "failed";
    }
  }

  private follow(job: Job): void {
    this.job = job;
    if (job.state === "failed") this.problem = "failed";
    if (job.state !== "waiting" && job.state !== "running") return;
    this.timer = setTimeout(() => void this.look(job), LOOK_MS);
  }

  // A server that is not there for a moment is asked again.
  private async look(job: Job): Promise<void> {
    const next = await recordings.job(job.id).catch(() => job);
    if (this.isConnected) this.follow(next);
  }

  // Whoever closes the dialog does not want it any more, unless it is done.
  private close(): void {
    clearTimeout(this.timer);
    if (this.job && this.job.state !== "done") void recordings.cancelJob(this.job.id).catch(() => undefined);
    this.dispatchEvent(new Event("close"));
  }

  override render() {
    const w = this.words.replay;
    const { job } = this;
    const runs = job?.state === "waiting" || job?.state === "running";
    return html`<re-dialog open .heading=${w.make} @close=${this.close}>
      <div class="form">${runs || job?.state === "done" ? this.progress(job) : this.choice()}
        ${this.problem === null ? nothing : html`<p class="bad" role="alert">${this.problem === "ffmpeg" ? w.makeNoFfmpeg : w.makeFailed}</p>`}
      </div>
      <button slot="actions" @click=${this.close}>${runs ? w.makeStop : this.words.common.close}</button>
      ${job?.state === "done" && job.url ? html`<a slot="actions" class="button main" href=${job.url} download>${w.download}</a>`
        : runs ? nothing : html`<button slot="actions" class="main" data-first @click=${() => void this.begin()}>${w.makeNow}</button>`}
    </re-dialog>`;
  }

  private choice(): TemplateResult {
    const w = this.words.replay;
    const value = this.order.kind === "editor" ? "editor" : (this.order.layout ?? "grid");
    const choose = (event: Event): void => {
      const chosen = (event.target as HTMLSelectElement).value;
      this.order = chosen === "editor" ? { kind: "editor" } : { kind: "movie", layout: chosen === "speaker" ? "speaker" : "grid" };
    };
    return html`<label>${w.makeWhat}<select @change=${choose}>
        <option value="grid" ?selected=${value === "grid"}>${w.makeGrid}</option><option value="speaker" ?selected=${value === "speaker"}>${w.makeSpeaker}</option>
        <option value="editor" ?selected=${value === "editor"}>${w.makeEditor}</option></select></label>
      <p class="hint">${w.makeHint}</p>`;
  }

  private progress(job: Job): TemplateResult {
    const w = this.words.replay;
    const text = job.state === "done" ? w.makeDone : job.state === "waiting" ? w.makeWaits : job.left_ms === null ? w.makeRuns : w.makeLeft(duration(job.left_ms));
    return html`<progress max="1" .value=${job.progress} aria-label=${w.make}></progress><p class="second numbers" role="status">${text}</p>`;
  }

  static override styles = [
    base,
    css`
      :host { display: contents; }
      .form { display: grid; gap: var(--s3); }
      label { display: grid; gap: var(--s1); font-weight: 500; }
      select, progress { width: 100%; }
      progress { height: 8px; accent-color: var(--accent); }
      .bad { color: var(--bad); }
    `,
  ];
}

customElements.define("re-replay-make", ReReplayMake);
