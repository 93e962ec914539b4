// `/storage`: free space, what is deleted by itself and when, what went, who did what, and what other programs were told.
import { css, html, nothing } from "lit";
import type { TemplateResult } from "lit";
import { ApiError } from "../../client/api.ts";
import { storage } from "../../client/storage.ts";
import type { AuditEntry, Going, Hooks, Retention } from "../../client/storage.ts";
import { bytes, dateTime, day } from "../../words/format.ts";
import { base, ReElement } from "../base.ts";
import "../elements/empty.ts";
import { toast } from "../elements/toast.ts";
import { paths } from "../route.ts";

const SHOWN = 50;
const DAY_S = 86_400;

class RePageStorage extends ReElement {
  static override properties = { facts: { state: true }, gone: { state: true }, log: { state: true }, hooks: { state: true }, failure: { state: true }, recording: { state: true } };
  declare private facts: Retention | null;
  declare private gone: AuditEntry[];
  declare private log: AuditEntry[];
  declare private hooks: Hooks | null;
  declare private failure: "locked" | "failed" | null;
  /** The log is about this recording only; empty for all. */
  declare private recording: string;

  constructor() {
    super();
    this.facts = null;
    this.gone = [];
    this.log = [];
    this.hooks = null;
    this.failure = null;
    this.recording = new URLSearchParams(location.search).get("recording") ?? "";
  }

  override connectedCallback(): void {
    super.connectedCallback();
    void this.load();
  }

  private async load(): Promise<void> {
    const signal = this.connected;
    this.failure = null;
    try {
      const [facts, gone, hooks, log] = await Promise.all([
        storage.retention(signal), storage.audit({ action: "deleted", who: "retention", limit: String(SHOWN) }, signal), storage.hooks(signal), this.readLog(signal),
      ]);
      [this.facts, this.gone, this.hooks, this.log] = [facts, gone, hooks, log];
    } catch (error) {
      if (!signal.aborted) this.failure = error instanceof ApiError && ["unauthorized", "forbidden", "token-expired"].includes(error.code) ? "locked" : "failed";
    }
  }

  private readLog(signal: AbortSignal): Promise<AuditEntry[]> {
    return storage.audit({ limit: String(SHOWN), ...(this.recording ? { recording: this.recording } : {}) }, signal);
  }

  // The id, or the address of the recording's page.
  private onFilter(event: Event): void {
    event.preventDefault();
    const text = String(new FormData(event.currentTarget as HTMLFormElement).get("recording"));
    this.recording = text.trim().split(/[?#]/)[0]?.split("/").findLast((part) => part !== "") ?? "";
    history.replaceState(null, "", this.recording ? `${paths.storage}?recording=${encodeURIComponent(this.recording)}` : paths.storage);
    const asked = this.recording;
    this.readLog(this.connected).then((log) => { if (asked === this.recording) this.log = log; }, () => toast({ text: this.words.storage.failed }));
  }

  private async tellAgain(after: number): Promise<void> {
    const w = this.words.storage;
    await storage.tellAgain(after).then(() => toast({ text: w.toldAgain }), () => toast({ text: w.failed }));
    await this.load();
  }

  override render() {
    const w = this.words.storage;
    return html`<re-header here=${paths.library}></re-header><main>
      ${this.failure ? html`<re-empty main .heading=${this.failure === "locked" ? w.locked : w.failed}>
          ${this.failure === "failed" ? html`<button slot="action" @click=${() => void this.load()}>${this.words.common.tryAgain}</button>` : nothing}
          <a slot="action" class="button" href=${paths.library}>${w.back}</a></re-empty>`
        : html`<h1>${w.title}</h1>${this.facts ? html`${this.space(this.facts)}${this.rules(this.facts)}` : html`<re-skeleton></re-skeleton>`}
          ${this.auditLog()}${this.told()}`}
    </main>`;
  }

  private space(facts: Retention): TemplateResult {
    const w = this.words.storage;
    const { free_bytes: free, total_bytes: used } = facts;
    return html`<section><h2>${w.space}</h2>
      ${free === null ? nothing : html`<meter min="0" max=${used + free} value=${used} aria-label=${w.used(bytes(used))}></meter>`}
      <p class="numbers">${w.used(bytes(used))}${free === null ? "" : ` · ${w.free(bytes(free))}`} · ${w.daily(bytes(facts.bytes_per_day))}</p>
      <p>${facts.full_on ? w.fullOn(day(Date.parse(`${facts.full_on}T12:00:00`))) : w.notFull}</p></section>`;
  }

  private rules(facts: Retention): TemplateResult {
    const w = this.words.storage;
    const rules = [
      ...(facts.max_age_s === null ? [] : [w.byAge(Math.round((facts.max_age_s / DAY_S) * 10) / 10)]),
      ...(facts.max_total_bytes === null ? [] : [w.byTotal(bytes(facts.max_total_bytes))]),
      ...(facts.min_free_bytes === null ? [] : [w.byFree(bytes(facts.min_free_bytes))]),
    ];
    return html`<section><h2>${w.rules}</h2>
      ${rules.length === 0 ? html`<p>${w.noRules}</p>` : html`<ul class="list">${rules.map((rule) => html`<li>${rule}</li>`)}</ul>`}
      ${facts.kept > 0 ? html`<p class="second">${w.kept(facts.kept)}</p>` : nothing}
      <h3>${w.goes}</h3>
      ${facts.would_go.length === 0 ? html`<p class="second">${w.nothingGoes}</p>` : this.table(
        [w.room, w.began, w.size, w.why],
        facts.would_go.map((one: Going) => [this.link(one.id, one.room), dateTime(one.started_at), bytes(one.size_bytes), w.reasons[one.reason]]),
      )}
      <h3>${w.gone}</h3>
      ${this.gone.length === 0 ? html`<p class="second">${w.nothingGone}</p>` : this.table(
        [w.room, w.when, w.why],
        this.gone.map((one) => [html`<bdi>${one.room ?? ""}</bdi>`, dateTime(one.at), w.reasons[one.what as Going["reason"]] ?? one.what ?? ""]),
      )}</section>`;
  }

  private auditLog(): TemplateResult {
    const w = this.words.storage;
    return html`<section><h2>${w.log}</h2>
      <form @submit=${this.onFilter} @change=${this.onFilter}><label>${w.logOf}<input name="recording" type="search" autocomplete="off" .value=${this.recording} placeholder=${w.logAll} /></label></form>
      ${this.log.length === 0 ? html`<p class="second" role="status">${w.logEmpty}</p>` : this.table(
        [w.when, w.who, w.did, w.room, w.what],
        this.log.map((one) => [dateTime(one.at), html`<bdi>${one.name ?? one.who ?? one.from ?? ""}</bdi>`, w.actions[one.action] ?? one.action, one.recording ? this.link(one.recording, one.room ?? "") : html`<bdi>${one.room ?? ""}</bdi>`, html`<bdi>${one.what ?? ""}</bdi>`]),
        "log",
      )}</section>`;
  }

  private told(): TemplateResult | typeof nothing {
    const w = this.words.storage;
    const { hooks } = this;
    if (!hooks) return nothing;
    const last = hooks.events.at(-1)?.n ?? 0;
    return html`<section><h2>${w.hooks}</h2>
      ${hooks.targets.length === 0 ? html`<p class="second">${w.noHooks}</p>` : html`${this.table(
        [w.target, w.state, ""],
        hooks.targets.map(({ url, done }) => [html`<bdi>${url}</bdi>`, done >= last ? w.heardAll : w.heardNot(last - done),
          html`<button class="small" ?disabled=${hooks.events.length === 0} @click=${() => void this.tellAgain(Math.max(0, (hooks.events[0]?.n ?? 1) - 1))}>${w.tellAgain}</button>`]),
      )}
      <h3>${w.lastTold}</h3>
      ${hooks.events.length === 0 ? html`<p class="second">${w.nothingTold}</p>` : this.table([w.number, w.event], hooks.events.slice(-10).toReversed().map(({ n, event }) => [n, event]))}`}</section>`;
  }

  private link(id: string, room: string): TemplateResult {
    return html`<a href=${paths.replay(id)}><bdi>${room}</bdi></a>`;
  }

  // Wide on a phone: it scrolls in its own box, which keys reach too.
  private table(heads: unknown[], rows: unknown[][], kind = ""): TemplateResult {
    return html`<div class="scroll" tabindex="0" role="group" aria-label=${this.words.storage.table}><table class=${kind}><thead><tr>${heads.map((head) => (head === "" ? html`<td></td>` : html`<th scope="col">${head}</th>`))}</tr></thead>
      <tbody>${rows.map((row) => html`<tr>${row.map((cell) => html`<td class="numbers">${cell}</td>`)}</tr>`)}</tbody></table></div>`;
  }

  static override styles = [
    base,
    css`
      :host { display: block; }
      main { display: grid; gap: var(--s5); max-width: 1080px; margin: 0 auto; padding: var(--s5) var(--s4) var(--s7); }
      section { display: grid; gap: var(--s3); min-width: 0; padding: var(--s4); border: 1px solid var(--line); border-radius: var(--r3); background: var(--surface); }
      h3 { font: 600 var(--t3)/1.4 var(--font); }
      meter { width: 100%; height: 16px; }
      label { display: grid; gap: var(--s1); max-width: 32em; font-weight: 500; }
      .list { margin: 0; padding-left: var(--s5); list-style: disc; }
      .scroll { min-width: 0; overflow-x: auto; border-radius: var(--r1); }
      .scroll:focus-visible { outline: 2px solid var(--focus); outline-offset: 2px; }
      table { width: 100%; border-collapse: collapse; font-size: var(--t2); text-align: left; }
      th { color: var(--text-2); font-weight: 600; white-space: nowrap; }
      th, td { padding: 6px var(--s4) 6px 0; border-bottom: 1px solid var(--line); vertical-align: baseline; overflow-wrap: anywhere; }
      tbody tr:last-child td { border-bottom: 0; }
      td a { display: inline-block; min-height: 24px; }
      @media (max-width: 480px) { main { padding: var(--s4) var(--s3) var(--s6); gap: var(--s4); } section { padding: var(--s3); } td { white-space: nowrap; } th, td { padding-right: var(--s3); } .log td:first-child { min-width: 6em; white-space: normal; } }
    `,
  ];
}

customElements.define("re-page-storage", RePageStorage);
