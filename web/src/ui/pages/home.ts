// The first page: a room name, what runs now, what was recorded last.
import { css, html, nothing } from "lit";
import type { TemplateResult } from "lit";
import { api, ApiError, isLockedOut } from "../../client/api.ts";
import type { Config, LiveRoom, RecordingEntry } from "../../client/api.ts";
import { titleOf } from "../../client/library.ts";
import { roomName } from "../../client/protocol.ts";
import { dateTime, duration, list } from "../../words/format.ts";
import { base, ReElement } from "../base.ts";
import { icon } from "../elements/icon.ts";
import { navigate, paths } from "../route.ts";
import { suggestRoom } from "../suggest.ts";

const RELOAD_MS = 5_000;
type Loaded<T> = { state: "loading" } | { state: "there"; items: T[] } | { state: "failed"; code: string };

class RePageHome extends ReElement {
  static override properties = { name: { state: true }, isBad: { state: true }, rooms: { state: true }, recent: { state: true } };
  declare private name: string;
  declare private isBad: boolean;
  declare private rooms: Loaded<LiveRoom>;
  declare private recent: Loaded<RecordingEntry>;
  private config: Config | null = null;

  constructor() {
    super();
    this.name = suggestRoom();
    this.isBad = false;
    this.rooms = { state: "loading" };
    this.recent = { state: "loading" };
  }

  override connectedCallback(): void {
    super.connectedCallback();
    const signal = this.connected;
    void this.load(signal);
    const timer = setInterval(() => {
      if (document.visibilityState === "visible") void this.load(signal);
    }, RELOAD_MS);
    signal.addEventListener("abort", () => clearInterval(timer));
  }

  private async load(signal: AbortSignal): Promise<void> {
    try {
      this.config ??= await api.config(signal);
    } catch {
      // The lists will say that the server does not answer.
    }
    if (signal.aborted) return;
    if (this.config !== null && isLockedOut(this.config)) {
      this.recent = { state: "failed", code: "unauthorized" };
      return;
    }
    const failed = (error: unknown): { state: "failed"; code: string } => ({
      state: "failed",
      code: error instanceof ApiError ? error.code : "offline",
    });
    api.rooms(signal).then(
      (items) => (this.rooms = { state: "there", items }),
      (error) => { if (!signal.aborted) this.rooms = failed(error); },
    );
    api.recordings({ limit: "3" }, signal).then(
      (page) => (this.recent = { state: "there", items: page.recordings.slice(0, 3) }),
      (error) => { if (!signal.aborted) this.recent = failed(error); },
    );
  }

  private start(event: Event): void {
    event.preventDefault();
    const room = roomName(this.name);
    this.isBad = room === null;
    if (room === null) this.renderRoot.querySelector("input")?.focus();
    else navigate(paths.room(room));
  }

  override render() {
    const w = this.words.home;
    const isFirstRun = this.recent.state === "there" && this.recent.items.length === 0;
    return html`<re-header here=${paths.home}></re-header>
      <main>
        <form class="start" @submit=${this.start} novalidate>
          <h1>${w.heading}</h1>
          ${isFirstRun ? html`<p class="second">${w.first}</p>` : nothing}
          <label for="room">${w.room}</label>
          <div class="row">
            <input id="room" .value=${this.name} maxlength="64" autocomplete="off" autocapitalize="none" spellcheck="false"
              aria-describedby="room-hint" aria-invalid=${this.isBad}
              @input=${(event: Event) => { this.name = (event.target as HTMLInputElement).value; this.isBad = false; }} />
            <button class="main">${w.start}</button>
          </div>
          <p id="room-hint" class=${this.isBad ? "bad" : "hint"}>${this.isBad ? w.roomBad : w.roomHint}</p>
        </form>
        ${this.rooms.state === "there" && this.rooms.items.length > 0
          ? html`<section aria-labelledby="live"><h2 id="live">${w.live}</h2><ul>${this.rooms.items.map((room) => this.liveRoom(room))}</ul></section>`
          : nothing}
        <section aria-labelledby="recent">
          <div class="head"><h2 id="recent">${w.recent}</h2>
            ${this.recent.state === "there" && this.recent.items.length > 0 ? html`<a href=${paths.library}>${w.all}</a>` : nothing}</div>
          ${this.recordings()}
        </section>
      </main>`;
  }

  private liveRoom(room: LiveRoom): TemplateResult {
    const w = this.words.home;
    const isRecording = room.recording.state === "recording";
    return html`<li class="item live">
      <div class="what"><a class="title" href=${paths.room(room.room)} aria-label=${w.join(room.room)}>${room.room}</a>
        <span class="second">${room.participants.length > 0 ? list(room.participants.map((one) => one.name)) : this.words.library.nobodyYet}${room.watchers > 0 ? ` · ${w.watching(room.watchers)}` : ""}</span></div>
      ${isRecording ? html`<span class="rec numbers"><span class="dot"></span>${w.recordedNow} ${duration(room.recording.duration_ms)}</span>` : nothing}
      ${room.watch ? html`<a class="button small" href=${paths.watch(room.room)} aria-label=${w.watch(room.room)}>${icon("eye")}${w.watchShort}</a>` : nothing}
    </li>`;
  }

  private recordings(): TemplateResult {
    const w = this.words.home;
    const state = this.recent;
    if (state.state === "loading") return html`<re-skeleton class="wait"></re-skeleton>`;
    if (state.state === "failed") {
      const isLocked = state.code === "unauthorized" || state.code === "forbidden" || state.code === "token-expired";
      return html`<re-notice kind=${isLocked ? "info" : "warn"}>${isLocked ? w.keyNeeded : w.listFailed}
        ${isLocked ? nothing : html`<button slot="action" class="small" @click=${() => void this.load(this.connected)}>${this.words.common.tryAgain}</button>`}</re-notice>`;
    }
    if (state.items.length === 0) return html`<p class="second">${w.noRecordings}</p>`;
    return html`<ul>${state.items.map((one) => html`<li class="item">
      <span class="thumb">${icon("play")}${one.poster_url ? html`<img src=${one.poster_url} alt="" @error=${(event: Event) => ((event.target as HTMLElement).hidden = true)} />` : nothing}</span>
      <div class="what"><a class="title" href=${paths.replay(one.id)} aria-label=${w.play(titleOf(one))}>${titleOf(one)}</a>
        <span class="second">${dateTime(one.started_at)}${one.participants.length > 0 ? ` · ${list([...new Set(one.participants.map((p) => p.name))])}` : ""}</span></div>
      <span class="second numbers">${duration(one.duration_ms)}</span></li>`)}</ul>`;
  }

  static override styles = [
    base,
    css`
      :host { display: block; }
      main { display: grid; gap: var(--s6); max-width: 640px; margin: 0 auto; padding: var(--s7) var(--s4); }
      .start { display: grid; gap: var(--s3); }
      .row { display: flex; gap: var(--s2); }
      .row input { flex: 1; min-width: 0; }
      .bad { color: var(--bad); font-size: var(--t2); }
      section { display: grid; gap: var(--s3); min-width: 0; }
      .head { display: flex; align-items: baseline; justify-content: space-between; gap: var(--s3); }
      ul { border: 1px solid var(--line); border-radius: var(--r3); background: var(--surface); }
      .item { position: relative; display: flex; align-items: center; gap: var(--s3); min-height: 64px; padding: var(--s2) var(--s4); }
      .item + .item { border-top: 1px solid var(--line); }
      .item:hover .title { text-decoration: underline; }
      .what { flex: 1; display: grid; min-width: 0; }
      .what > * { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
      .title { color: var(--text); font-weight: 600; text-decoration: none; }
      .title::after { content: ""; position: absolute; inset: 0; border-radius: var(--r3); }
      .title:focus-visible { outline: none; }
      .title:focus-visible::after { outline: 2px solid var(--focus); outline-offset: -2px; }
      .item .button { position: relative; }
      .thumb img { position: absolute; inset: 0; width: 100%; height: 100%; object-fit: cover; }
      .thumb { position: relative; display: grid; flex: none; place-items: center; width: 80px; height: 45px; overflow: hidden; border-radius: var(--r2); background: var(--sunken); color: var(--text-2); }
      .rec { display: inline-flex; align-items: center; gap: var(--s2); color: var(--text); font-size: var(--t2); white-space: nowrap; }
      .dot { width: 10px; height: 10px; border-radius: 50%; background: var(--rec); }
      .wait { height: 64px; }
      @media (max-width: 480px) {
        main { padding: var(--s5) var(--s4); }
        .row { flex-direction: column; }
        .item { flex-wrap: wrap; gap: var(--s1) var(--s3); }
        .live .what { flex: 1 0 100%; }
        .what > .second { white-space: normal; }
      }
    `,
  ];
}

customElements.define("re-page-home", RePageHome);
