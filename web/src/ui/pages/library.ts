// The library: what runs on top, then every recording as a card. Search, filters and order live in the address.
import { html, nothing } from "lit";
import type { PropertyValues, TemplateResult } from "lit";
import { repeat } from "lit/directives/repeat.js";
import { api, ApiError } from "../../client/api.ts";
import type { LiveRoom } from "../../client/api.ts";
import { EVERYTHING, isFiltered, merge, namesOf, order, page, pages, readQuery, recordings, titleOf, writeQuery } from "../../client/library.ts";
import type { Query, Storage } from "../../client/library.ts";
import { isGrowing } from "../../client/replay/model.ts";
import type { Summary } from "../../client/replay/model.ts";
import { bytes, day } from "../../words/format.ts";
import { announce } from "../announce.ts";
import { base, ReElement } from "../base.ts";
import "../elements/card.ts";
import type { ReCard } from "../elements/card.ts";
import { icon } from "../elements/icon.ts";
import { liveRooms } from "../elements/live-rooms.ts";
import { toast } from "../elements/toast.ts";
import { paths } from "../route.ts";
import { styles } from "../elements/library-style.ts";

type Loading = "loading" | "there" | "failed" | "offline" | "locked";

const REFRESH_MS = 4_000;
const TYPING_MS = 250;
/** Nobody plans for a disk that is full in years. */
const FAR_DAYS = 400;
const UNDO_MS = 10_000;

// The scroll place returns on a way back only; a fresh visit begins at the top.
let cameBack = performance.getEntriesByType("navigation").some((entry) => (entry as PerformanceNavigationTiming).type === "back_forward");
addEventListener("popstate", (event) => (cameBack = event.isTrusted && location.pathname === paths.library), { capture: true });

const SELECTS = ["when", "state", "sort"] as const;

class RePageLibrary extends ReElement {
  static override properties = {
    query: { state: true }, loading: { state: true }, entries: { state: true }, next: { state: true }, rooms: { state: true },
    fresh: { state: true }, selected: { state: true }, storage: { state: true }, removed: { state: true }, isMore: { state: true },
  };
  declare private query: Query;
  declare private loading: Loading;
  declare private entries: Summary[];
  declare private next: string | null;
  declare private rooms: LiveRoom[];
  declare private fresh: Summary[];
  declare private selected: ReadonlySet<string>;
  /** Deleted ones whose place still offers the undoing. */
  declare private removed: ReadonlySet<string>;
  declare private isMore: boolean;
  declare private storage: Storage | null;
  private typing = 0;
  private request = new AbortController();
  private returnTo: number | null = null;

  constructor() {
    super();
    this.query = readQuery(location.search);
    this.loading = "loading";
    this.entries = [];
    this.next = null;
    this.rooms = [];
    this.fresh = [];
    this.selected = new Set();
    this.removed = new Set();
    this.isMore = false;
    this.storage = null;
  }

  override connectedCallback(): void {
    super.connectedCallback();
    const signal = this.connected;
    addEventListener("keydown", (event) => this.onKey(event), { signal });
    addEventListener("popstate", () => this.onAddress(), { signal });
    addEventListener("scroll", () => this.rememberPlace(), { signal, passive: true });
    const timer = setInterval(() => {
      if (document.visibilityState === "visible") this.refresh();
    }, REFRESH_MS);
    signal.addEventListener("abort", () => {
      clearInterval(timer);
      clearTimeout(this.typing);
      this.request.abort();
    });
    const place = this.recallPlace();
    this.returnTo = place?.top ?? null;
    this.load(place?.entries ?? 0);
  }

  // --- What the list holds -------------------------------------------------------------------------------------

  private async load(least = 0): Promise<void> {
    this.request.abort();
    this.request = new AbortController();
    const { signal } = this.request;
    if (this.entries.length === 0) this.loading = "loading";
    api.rooms(signal).then((rooms) => (this.rooms = rooms), () => {});
    try {
      const found = await pages(this.query, least, signal);
      this.entries = order(found.recordings, this.query.sort);
      this.next = found.next;
      this.storage = found.storage ?? null;
      this.fresh = [];
      this.selected = new Set();
      this.removed = new Set();
      this.loading = "there";
      if (isFiltered(this.query)) announce(this.words.library.count(this.entries.length, this.next !== null));
    } catch (error) {
      if (signal.aborted) return;
      this.loading = stateOf(error);
    }
  }

  /** Brings up to date what is shown, and offers what is new without moving anything. */
  private async refresh(): Promise<void> {
    if (this.loading === "failed" || this.loading === "locked" || this.isMore) return;
    if (this.loading === "offline") return this.load();
    const { signal } = this.request;
    try {
      const [rooms, found] = await Promise.all([api.rooms(signal), page(this.query, null, signal)]);
      this.rooms = rooms;
      this.storage = found.storage ?? null;
      const { updated, fresh } = merge(this.entries, found.recordings);
      const isAtTop = scrollY < 80 && this.query.sort === "newest" && this.renderRoot.querySelector("re-card:focus-within, re-card:hover") === null;
      if (isAtTop && this.selected.size === 0) {
        this.entries = order([...fresh, ...updated], this.query.sort);
        this.fresh = [];
      } else {
        this.entries = updated;
        this.fresh = fresh;
      }
      if (this.loading !== "there") this.loading = "there";
    } catch {
      // What is shown stays; the next look may succeed.
    }
  }

  private async more(): Promise<void> {
    if (this.next === null || this.isMore) return;
    this.isMore = true;
    try {
      const found = await page(this.query, this.next, this.request.signal);
      const known = new Set(this.entries.map((one) => one.id));
      this.entries = [...this.entries, ...found.recordings.filter((one) => !known.has(one.id))];
      this.next = found.next;
    } catch (error) {
      if (!this.request.signal.aborted) toast({ text: error instanceof ApiError && error.code === "offline" ? this.words.common.offline : this.words.library.failed });
    } finally {
      this.isMore = false;
    }
  }

  private showFresh(): void {
    this.entries = order([...this.fresh, ...this.entries], this.query.sort);
    this.fresh = [];
    scrollTo({ top: 0 });
  }

  // --- The address ---------------------------------------------------------------------------------------------

  private ask(change: Partial<Query>): void {
    this.query = { ...this.query, ...change };
    history.replaceState(null, "", `${location.pathname}${writeQuery(this.query)}`);
    this.entries = [];
    this.load();
  }

  private type(text: string): void {
    this.query = { ...this.query, text };
    clearTimeout(this.typing);
    this.typing = window.setTimeout(() => this.ask({ text }), TYPING_MS);
  }

  private onAddress(): void {
    if (location.pathname !== paths.library) return;
    this.query = readQuery(location.search);
    this.load();
  }

  private rememberPlace(): void {
    try {
      sessionStorage.setItem(`reelay.place${location.search}`, JSON.stringify({ top: scrollY, entries: this.entries.length }));
    } catch {
      // Without storage the way back leads to the top.
    }
  }

  private recallPlace(): { top: number; entries: number } | null {
    if (!cameBack) return null;
    cameBack = false;
    try {
      return JSON.parse(sessionStorage.getItem(`reelay.place${location.search}`) ?? "null") as { top: number; entries: number } | null;
    } catch {
      return null;
    }
  }

  override updated(changed: PropertyValues): void {
    if (this.returnTo !== null && changed.has("entries") && this.entries.length > 0) {
      const top = this.returnTo;
      this.returnTo = null;
      requestAnimationFrame(() => scrollTo({ top }));
    }
  }

  // --- Deleting and its undoing --------------------------------------------------------------------------------

  private select(one: Summary): void {
    const selected = new Set(this.selected);
    if (!selected.delete(one.id)) selected.add(one.id);
    this.selected = selected;
  }

  private async discard(wanted: Summary[]): Promise<void> {
    const w = this.words.library;
    const can = wanted.filter((one) => !isGrowing(one.state) && !this.removed.has(one.id));
    if (can.length < wanted.length) toast({ text: w.stillRuns });
    if (can.length === 0) return;
    this.removed = new Set([...this.removed, ...can.map((one) => one.id)]);
    this.selected = new Set();
    const answers = await Promise.allSettled(can.map((one) => recordings.remove(one.id)));
    const gone = can.filter((_, i) => answers[i]?.status === "fulfilled");
    const refused = can.filter((_, i) => answers[i]?.status === "rejected");
    if (refused.length > 0) {
      this.removed = without(this.removed, refused);
      const [first] = answers.filter((answer) => answer.status === "rejected");
      const code = first?.reason instanceof ApiError ? first.reason.code : "internal";
      if (code === "recording-not-found") this.entries = this.entries.filter((one) => !refused.includes(one));
      else toast({ text: code === "recording-active" ? w.stillRuns : w.deleteFailed });
    }
    const [only] = gone;
    if (!only) return;
    toast({ text: gone.length === 1 ? w.deleted(titleOf(only)) : w.deletedMany(gone.length), action: { label: this.words.common.undo, run: () => this.restore(gone) } });
    const late = window.setTimeout(() => this.drop(gone), UNDO_MS);
    this.connected.addEventListener("abort", () => clearTimeout(late));
  }

  private async restore(gone: Summary[]): Promise<void> {
    const answers = await Promise.allSettled(gone.map((one) => recordings.restore(one.id)));
    const back = gone.filter((_, i) => answers[i]?.status === "fulfilled");
    this.removed = without(this.removed, back);
    // The place may be gone already when the toast was held open.
    const missing = back.filter((one) => !this.entries.some((shown) => shown.id === one.id));
    if (missing.length > 0) this.entries = order([...this.entries, ...missing], this.query.sort);
    toast({ text: back.length === gone.length ? this.words.library.undone : this.words.library.undoFailed });
  }

  private drop(gone: Summary[]): void {
    const still = gone.filter((one) => this.removed.has(one.id));
    this.entries = this.entries.filter((one) => !still.includes(one));
    this.removed = without(this.removed, still);
  }

  // --- Keys ----------------------------------------------------------------------------------------------------

  private onKey(event: KeyboardEvent): void {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    const target = event.composedPath()[0];
    const inText = target instanceof HTMLElement && target.matches("input:not([type=checkbox]), textarea, select, dialog *");
    if (event.key === "/" && !inText) {
      event.preventDefault();
      this.renderRoot.querySelector<HTMLInputElement>("#search")?.select();
    } else if (event.code.startsWith("Arrow") && !inText && this.step(event.code)) {
      event.preventDefault();
    }
  }

  /** Moves the focus among the cards by where they are. */
  private step(code: string): boolean {
    const cards = [...this.renderRoot.querySelectorAll<ReCard>("re-card")];
    const at = cards.findIndex((card) => card.matches(":focus-within"));
    if (at < 0) return false;
    const columns = Math.max(1, cards.findIndex((card) => card.offsetTop > (cards[0]?.offsetTop ?? 0)));
    const by: Record<string, number> = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns };
    const next = cards[at + (by[code] ?? 0)];
    if (!next) return false;
    next.focus();
    next.scrollIntoView({ block: "nearest" });
    return true;
  }

  // --- Drawing -------------------------------------------------------------------------------------------------

  override render() {
    const w = this.words.library;
    return html`<re-header here=${paths.library}></re-header>
      <main>
        <div class="heading"><h1>${w.title}</h1>
          ${this.loading === "there" ? html`<p class="hint numbers">${this.entries.length > 0 ? w.count(this.entries.length - this.removed.size, this.next !== null) : nothing}
            ${this.storage ? html`${this.entries.length > 0 ? " · " : nothing}<a href=${paths.storage}>${this.space(this.storage)}</a>` : nothing}</p>` : nothing}</div>
        ${this.selected.size > 0 ? this.actions() : this.head()}
        ${liveRooms(this.rooms.filter((room) => this.isWanted(room)), this.words)}
        ${this.fresh.length > 0 ? html`<p class="middle"><button class="small" @click=${this.showFresh}>${icon("up", 16)}${w.fresh(this.fresh.length)}</button></p>` : nothing}
        ${this.content()}
      </main>`;
  }

  /** Who looks for words sees only the rooms that have them in their name or in that of somebody in it. */
  private isWanted(room: LiveRoom): boolean {
    const text = [room.room, ...room.participants.map((one) => one.name)].join(" ").toLocaleLowerCase();
    return this.query.text.trim().toLocaleLowerCase().split(/\s+/u).every((word) => text.includes(word));
  }

  /** How much fits in, and until when if that day is near enough to care. */
  private space(storage: Storage): string {
    const w = this.words.library;
    const free = w.free(bytes(storage.free_bytes), storage.free_hours);
    const days = storage.full_in_days ?? Infinity;
    return days > FAR_DAYS ? free : w.fullOn(free, day(Date.now() + days * 86_400_000));
  }

  private head(): TemplateResult {
    const w = this.words.library;
    const texts = { when: [w.when, w.whens], state: [w.state, w.states], sort: [w.sort, w.sorts] } as const;
    return html`<div class="tools" role="search">
      <div class="field">${icon("search")}<input id="search" type="search" aria-label=${w.searchLabel} placeholder=${w.search} autocomplete="off"
        .value=${this.query.text} @input=${(event: Event) => this.type((event.target as HTMLInputElement).value)} aria-keyshortcuts="/" /></div>
      <div class="chips">
        ${SELECTS.map((name) => {
          const [label, choices] = texts[name];
          return html`<span class="chip" ?data-on=${name !== "sort" && this.query[name] !== "any"}><select aria-label=${label}
            @change=${(event: Event) => this.ask({ [name]: (event.target as HTMLSelectElement).value })}>
            ${Object.entries(choices).map(([value, text]) => html`<option value=${value} ?selected=${this.query[name] === value}>${text}</option>`)}</select>${icon("down", 16)}</span>`;
        })}
        ${this.query.room ? this.chip(w.room(this.query.room), { room: "" }) : nothing}
        ${this.query.person ? this.chip(w.person(this.query.person), { person: "" }) : nothing}
        ${isFiltered(this.query) ? html`<button class="small quiet" @click=${() => this.ask({ ...EVERYTHING, sort: this.query.sort })}>${w.clear}</button>` : nothing}
      </div>
    </div>`;
  }

  private chip(text: string, change: Partial<Query>): TemplateResult {
    return html`<button class="chip" data-on aria-label=${this.words.library.removeFilter(text)} @click=${() => this.ask(change)}>${text}${icon("close", 16)}</button>`;
  }

  private actions(): TemplateResult {
    const w = this.words.library;
    const chosen = this.entries.filter((one) => this.selected.has(one.id));
    return html`<div class="tools acting">
      <span class="numbers">${w.selected(chosen.length)}</span>
      <span class="gap"></span>
      <button class="small" @click=${() => (this.selected = new Set())}>${w.selectNone}</button>
      <button class="small" @click=${() => this.discard(chosen)}>${icon("trash", 16)}${w.deleteSelected(chosen.length)}</button>
    </div>`;
  }

  private content(): TemplateResult {
    const w = this.words.library;
    switch (this.loading) {
      case "loading":
        return html`<div class="grid" aria-busy="true" aria-label=${this.words.common.loading}>${Array.from({ length: 8 }, () => html`<re-skeleton class="card"></re-skeleton>`)}</div>`;
      case "locked":
        return html`<re-empty .heading=${w.locked}><a slot="action" class="button" href=${paths.home}>${this.words.common.toHome}</a></re-empty>`;
      case "failed":
      case "offline":
        return html`<re-empty .heading=${w.failed}>${this.loading === "offline" ? w.offlineText : w.failedText}
          <button slot="action" @click=${() => this.load()}>${this.words.common.tryAgain}</button></re-empty>`;
      case "there":
        return this.entries.length === 0 ? this.nothingThere() : this.grid();
    }
  }

  private nothingThere(): TemplateResult {
    const w = this.words.library;
    const text = this.query.text.trim();
    if (isFiltered(this.query)) {
      return html`<re-empty .heading=${text === "" ? w.noMatchFilter : w.noMatch(text)}>
        <button slot="action" @click=${() => this.ask({ ...EVERYTHING, sort: this.query.sort })}>${w.clear}</button></re-empty>`;
    }
    return html`<re-empty .heading=${w.empty}><a slot="action" class="button main" href=${paths.home}>${w.startRoom}</a></re-empty>`;
  }

  private grid(): TemplateResult {
    const w = this.words.library;
    return html`<ul class="grid" @re-select=${(event: CustomEvent<Summary>) => this.select(event.detail)}
        @re-remove=${(event: CustomEvent<Summary>) => this.discard([event.detail])} @re-restore=${(event: CustomEvent<Summary>) => this.restore([event.detail])}>
        ${repeat(this.entries, (one) => one.id, (one) => html`<li><re-card .entry=${one} .selected=${this.selected.has(one.id)} .removed=${this.removed.has(one.id)}
          aria-label=${`${titleOf(one)}, ${namesOf(one).join(", ")}`} role="group"></re-card></li>`)}
      </ul>
      ${this.next === null ? nothing : html`<p class="middle">
        <button ?disabled=${this.isMore} @click=${this.more}>${w.more}</button></p>`}`;
  }

  static override styles = [base, styles];
}

function without(ids: ReadonlySet<string>, gone: readonly Summary[]): ReadonlySet<string> {
  return new Set([...ids].filter((id) => !gone.some((one) => one.id === id)));
}

function stateOf(error: unknown): Loading {
  if (!(error instanceof ApiError)) return "failed";
  if (error.code === "offline") return "offline";
  return ["unauthorized", "forbidden", "token-expired"].includes(error.code) ? "locked" : "failed";
}

customElements.define("re-page-library", RePageLibrary);
