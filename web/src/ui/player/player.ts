// `<reelay-player recording="…">`: one recording with everybody in it, the controls, the timeline, and what is missing.
import { html, nothing } from "lit";
import type { PropertyValues, TemplateResult } from "lit";
import { keyed } from "lit/directives/keyed.js";
import "media-chrome/dist/lang/zh-CN.js";
import "media-chrome/dist/media-controller.js";
import "media-chrome/dist/media-fullscreen-button.js";
import "media-chrome/dist/media-loading-indicator.js";
import "media-chrome/dist/media-mute-button.js";
import "media-chrome/dist/media-pip-button.js";
import "media-chrome/dist/media-play-button.js";
import "media-chrome/dist/media-seek-backward-button.js";
import "media-chrome/dist/media-seek-forward-button.js";
import "media-chrome/dist/media-volume-range.js";
import { setLanguage as setControlLanguage } from "media-chrome/dist/utils/i18n.js";
import { loadEvents, loadManifest, LoadError } from "../../client/replay/load.ts";
import type { Failure, Happened } from "../../client/replay/load.ts";
import { chatAt, isGrowing, lanes, lengthOf, silences, spots, stops } from "../../client/replay/model.ts";
import type { Manifest, ManifestFile, RecordedEvent, Span } from "../../client/replay/model.ts";
import { isEmbedded } from "../../client/server.ts";
import { parseSpan } from "../../client/replay/when.ts";
import { duration } from "../../words/format.ts";
import { language } from "../../words/index.ts";
import { announce } from "../announce.ts";
import { base, ReElement } from "../base.ts";
import "../elements/dialog.ts";
import "../elements/empty.ts";
import { icon } from "../elements/icon.ts";
import "../elements/notice.ts";
import { toast } from "../elements/toast.ts";
import "./group.ts";
import type { ReMediaGroup } from "./group.ts";
import { actionOf, SPEEDS } from "./keys.ts";
import type { PlayerAction } from "./keys.ts";
import { stylesOfPlayer } from "./player-style.ts";
import { LAYOUTS } from "./scene.ts";
import type { Layout } from "./scene.ts";
import "./timeline.ts";
import "./verdict.ts";

const REFRESH_MS = 3_000;
const KEYS_OFF = "reelay.player.keys-off";
const CHAT_OFF = "reelay.player.chat-off";
const FRAME = 1000 / 30;
/** Firefox offers it on the picture itself, and not to pages. */
const HAS_PIP = typeof HTMLVideoElement !== "undefined" && "requestPictureInPicture" in HTMLVideoElement.prototype;

/** Fires `re-loaded` (the manifest), `re-moved` (milliseconds) and `re-failed` (a `Failure`). */
export class ReelayPlayer extends ReElement {
  static override properties = {
    recording: {}, start: {}, manifest: { state: true }, events: { state: true }, failure: { state: true }, layout: { state: true },
    pinned: { state: true }, position: { state: true }, loaded: { state: true }, rate: { state: true }, trouble: { state: true },
    skips: { state: true }, hasChat: { state: true }, hasKeys: { state: true }, keysOpen: { state: true }, isPlaying: { state: true },
  };
  declare recording: string;
  /** As in `?t=`: where to begin, and where to stop. */
  declare start: string | null;
  declare manifest: Manifest | null;
  declare events: RecordedEvent[];
  declare failure: Failure | null;
  declare private layout: Layout;
  declare private pinned: string | null;
  declare private position: number;
  declare private loaded: Span | null;
  declare private rate: number;
  declare private trouble: { kind: "broken" | "gone" | "offline"; file?: ManifestFile } | null;
  declare private skips: boolean;
  declare private hasChat: boolean;
  declare private hasKeys: boolean;
  declare private keysOpen: boolean;
  declare private isPlaying: boolean;
  private silent: Span[] = [];
  private stops: number[] = [];
  private stopAt: number | null = null;
  private isPlaced = false;
  private happened: Happened = { events: [], next: 0 };

  constructor() {
    super();
    this.recording = "";
    this.start = null;
    this.manifest = null;
    this.events = [];
    this.failure = null;
    this.layout = "screen";
    this.pinned = null;
    this.position = 0;
    this.loaded = null;
    this.rate = 1;
    this.trouble = null;
    this.skips = false;
    this.hasChat = readFlag(CHAT_OFF) !== "1";
    this.hasKeys = readFlag(KEYS_OFF) !== "1";
    this.keysOpen = false;
    this.isPlaying = false;
  }

  override connectedCallback(): void {
    super.connectedCallback();
    const signal = this.connected;
    const timer = setInterval(() => {
      if (this.manifest ? isGrowing(this.manifest.state) || this.manifest.state === "repairing" || this.trouble?.kind === "offline" : this.failure === "offline") this.refresh();
    }, REFRESH_MS);
    signal.addEventListener("abort", () => clearInterval(timer));
  }

  override willUpdate(changed: PropertyValues): void {
    if (changed.has("recording") && this.recording !== "") {
      this.manifest = null;
      this.events = [];
      this.happened = { events: [], next: 0 };
      this.isPlaced = false;
      this.refresh();
    }
    if ((changed.has("manifest") || changed.has("events")) && this.manifest) {
      this.stops = stops(this.events, this.manifest.files.flatMap(spots).filter((spot) => spot.what !== "off"));
      this.silent = silences(this.events, lengthOf(this.manifest));
    }
  }

  override updated(changed: PropertyValues): void {
    if (!changed.has("manifest") || !this.manifest || this.isPlaced) return;
    this.isPlaced = true;
    const span = parseSpan(this.start);
    this.stopAt = span?.to ?? null;
    this.group?.updateComplete.then(() => this.seek(span?.from ?? 0));
  }

  /** The media element that is all of them. */
  get group(): ReMediaGroup | null {
    return this.renderRoot.querySelector("re-media-group");
  }

  /** Milliseconds. */
  get at(): number {
    return this.position;
  }

  seek(to: number): void {
    const { group } = this;
    if (group) group.currentTime = to / 1000;
  }

  /** Makes one lane large, or none. */
  pin(lane: string | null): void {
    const isSame = this.layout === "pinned" && this.pinned === lane;
    this.pinned = isSame ? null : lane;
    this.layout = isSame || lane === null ? "screen" : "pinned";
  }

  async refresh(): Promise<void> {
    const signal = this.connected;
    const id = this.recording;
    try {
      const [manifest, happened] = await Promise.all([loadManifest(id, signal), loadEvents(id, this.happened, signal)]);
      if (id !== this.recording) return;
      const { events } = happened;
      this.happened = happened;
      this.manifest = manifest;
      this.events = events;
      this.failure = null;
      if (this.trouble?.kind === "offline") this.trouble = null;
      this.dispatchEvent(new CustomEvent("re-loaded", { detail: { manifest, events } }));
    } catch (error) {
      if (signal.aborted || id !== this.recording) return;
      const why = error instanceof LoadError ? error.why : "failed";
      // What is loaded goes on; only its end is told.
      if (this.manifest) {
        if (why === "missing") this.trouble = { kind: "gone" };
        else if (why === "offline") this.trouble = { kind: "offline" };
      } else {
        this.failure = why;
        this.dispatchEvent(new CustomEvent("re-failed", { detail: why }));
      }
    }
  }

  // --- News of the group ---------------------------------------------------------------------------------------

  private onTime(): void {
    const { group } = this;
    if (!group) return;
    this.position = group.currentTime * 1000;
    this.isPlaying = !group.paused;
    const { buffered } = group;
    const loaded = buffered.length > 0 ? { from: buffered.start(0) * 1000, to: buffered.end(0) * 1000 } : null;
    if (loaded?.from !== this.loaded?.from || Math.abs((loaded?.to ?? 0) - (this.loaded?.to ?? 0)) > 500) this.loaded = loaded;
    if (this.stopAt !== null && this.position >= this.stopAt) {
      this.stopAt = null;
      group.pause();
    }
    if (this.skips && !group.paused && !group.seeking) this.skip();
    this.dispatchEvent(new CustomEvent("re-moved", { detail: this.position }));
  }

  private skip(): void {
    const span = this.silent.find((one) => one.from <= this.position && this.position < one.to - 500);
    if (!span) return;
    announce(this.words.replay.skipped(duration(span.to - this.position)));
    this.seek(span.to);
  }

  private onBroken(event: CustomEvent<{ file: ManifestFile; isGone: boolean }>): void {
    this.trouble = { kind: "broken", file: event.detail.file };
    // Deleted meanwhile, or only this file is damaged: the manifest tells.
    if (event.detail.isGone) this.refresh();
  }

  // --- Keys ----------------------------------------------------------------------------------------------------

  private onKey(event: KeyboardEvent): void {
    const action = actionOf(event, this.hasKeys);
    if (!action || !this.manifest) return;
    event.preventDefault();
    this.act(action);
  }

  private act(action: PlayerAction): void {
    const { group } = this;
    if (!group) return;
    const length = group.duration * 1000;
    switch (action.do) {
      case "toggle": return void (group.paused ? group.play() : group.pause());
      case "move": return this.seek(this.position + action.by);
      case "share-of": return this.seek((length * action.part) / 10);
      case "end": return this.seek(length - 1_000);
      case "event": return this.toEvent(action.by);
      case "frame": return void (group.paused && this.seek(this.position + action.by * FRAME));
      case "volume": group.volume = Math.min(1, Math.max(0, group.volume + action.by)); return;
      case "mute": group.muted = !group.muted; return;
      case "speed": return this.setSpeed(SPEEDS[Math.min(SPEEDS.length - 1, Math.max(0, SPEEDS.findIndex((one) => one >= this.rate) + action.by))] ?? 1);
      case "full-screen": this.renderRoot.querySelector<HTMLElement>("media-fullscreen-button")?.click(); return;
      case "layout": this.setLayout(LAYOUTS[(LAYOUTS.indexOf(this.layout) + 1) % LAYOUTS.length] ?? "screen"); return;
      case "help": this.keysOpen = true; return;
      default: action satisfies never;
    }
  }

  private toEvent(by: 1 | -1): void {
    const next = by > 0 ? this.stops.find((stop) => stop > this.position + 250) : this.stops.findLast((stop) => stop < this.position - 1_000);
    if (next !== undefined) this.seek(next);
    else if (by < 0) this.seek(0);
  }

  private setSpeed(rate: number): void {
    const { group } = this;
    if (group) group.playbackRate = rate;
    this.rate = rate;
  }

  private setLayout(layout: Layout): void {
    this.layout = layout;
    if (layout === "pinned" && this.pinned === null) this.pinned = (this.manifest ? lanes(this.manifest.files)[0]?.id : null) ?? null;
  }

  private setKeys(on: boolean): void {
    this.hasKeys = on;
    writeFlag(KEYS_OFF, on ? null : "1");
  }

  private setChat(on: boolean): void {
    this.hasChat = on;
    writeFlag(CHAT_OFF, on ? null : "1");
  }

  // --- Drawing -------------------------------------------------------------------------------------------------

  override render() {
    const { manifest } = this;
    // The ready-made controls take their words when they are made.
    setControlLanguage(language() === "zh" ? "zh-CN" : "en");
    if (!manifest && this.failure) return isEmbedded() ? this.failed(this.failure) : nothing;
    if (!manifest) return html`<re-skeleton class="wait"></re-skeleton>`;
    return html`<div class="player" id="full" @keydown=${this.onKey}>
      <div class="frame"><media-controller id="controller" nohotkeys noautohide gesturesdisabled fullscreenelement="full" class="screen" @click=${this.onPicture}>
        <re-media-group slot="media" .manifest=${manifest} .events=${this.events} .layout=${this.layout} .pinned=${this.pinned}
          @timeupdate=${this.onTime} @progress=${this.onTime} @seeked=${this.onTime} @play=${this.onTime} @pause=${this.onTime} @ratechange=${() => (this.rate = this.group?.playbackRate ?? 1)}
          @re-broken=${this.onBroken} @re-offline=${() => (this.trouble ??= { kind: "offline" })} @re-expired=${() => this.refresh()}
          @re-pin=${(event: CustomEvent<string>) => this.pin(event.detail)}></re-media-group>
        <media-loading-indicator slot="centered-chrome" noautohide></media-loading-indicator>
      </media-controller>${this.hasChat ? this.chat() : nothing}</div>
      ${this.notices()}
      ${keyed(language(), this.bar())}
      <div class="below">
        <re-timeline .manifest=${manifest} .events=${this.events} .position=${this.position} .loaded=${this.loaded} @re-seek=${(event: CustomEvent<number>) => this.seek(event.detail)}></re-timeline>
        <re-verdict .manifest=${manifest} @re-seek=${(event: CustomEvent<number>) => this.seek(event.detail)}></re-verdict>
      </div>
    </div>${this.help()}`;
  }

  // Our own page says it in its own place.
  private failed(why: Failure): TemplateResult {
    const w = this.words.replay;
    const text = { missing: w.missing, locked: w.locked, newer: w.newer, offline: this.words.common.offline, failed: w.failed }[why];
    return html`<re-notice kind="warn">${text}${why === "failed" || why === "offline" ? html`<button slot="action" class="small" @click=${() => void this.refresh()}>${w.tryAgain}</button>` : nothing}</re-notice>`;
  }

  // One click plays or pauses, as everywhere; two make a tile large.
  private onPicture(event: MouseEvent): void {
    if (event.detail !== 1 || event.defaultPrevented) return;
    const { group } = this;
    if (group) void (group.paused ? group.play() : group.pause());
  }

  // As it was written; the panel has all of it for who cannot see this.
  private chat(): TemplateResult | typeof nothing {
    const lines = chatAt(this.events, this.position);
    if (lines.length === 0) return nothing;
    return html`<div class="chat" aria-hidden="true">${lines.map((line) => html`<p><b><bdi>${line.name ?? ""}</bdi></b> <bdi>${line.text ?? ""}</bdi></p>`)}</div>`;
  }

  private notices(): TemplateResult | typeof nothing {
    const w = this.words.replay;
    const { trouble, manifest } = this;
    const empty = manifest && manifest.files.length === 0;
    if (empty) return html`<re-notice kind="info">${manifest.state === "waiting" ? w.waiting : w.empty}</re-notice>`;
    switch (trouble?.kind) {
      case undefined: return nothing;
      case "offline": return html`<re-notice kind="warn">${w.offline}</re-notice>`;
      case "gone": return html`<re-notice kind="warn">${w.gone}</re-notice>`;
      case "broken": {
        const url = trouble.file && manifest?.media?.[trouble.file.file]?.download_url;
        return html`<re-notice kind="bad">${w.fileBroken(trouble.file?.name ?? "")}
          ${url ? html`<a slot="action" class="button small" href=${url} download>${w.fileDownload}</a>` : nothing}</re-notice>`;
      }
      default: return nothing;
    }
  }

  /** What a control does and its key, from the list of keys. */
  private hint(line: number): string {
    const [key, does] = this.words.replay.keyList[line] ?? ["", ""];
    return `${does} (${key})`;
  }

  private bar(): TemplateResult {
    const w = this.words.replay;
    const length = this.manifest ? lengthOf(this.manifest) : 0;
    return html`<div class="bar" role="toolbar" aria-label=${w.stage}>
      <media-play-button title=${this.hint(0)} mediacontroller="controller"><span slot="tooltip"></span></media-play-button>
      <media-seek-backward-button title=${this.hint(1)} mediacontroller="controller" seekoffset="10"><span slot="tooltip"></span></media-seek-backward-button>
      <media-seek-forward-button title=${this.hint(1)} mediacontroller="controller" seekoffset="10"><span slot="tooltip"></span></media-seek-forward-button>
      <span class="time numbers">${duration(this.position)} <span class="of">/ ${duration(length)}</span></span>
      <span class="gap"></span>
      <media-mute-button title=${this.hint(5)} mediacontroller="controller"><span slot="tooltip"></span></media-mute-button>
      <media-volume-range mediacontroller="controller" class="volume"></media-volume-range>
      <span class="choice"><select aria-label=${w.speed} title=${`${w.speed} (< >)`} @change=${(event: Event) => this.setSpeed(Number((event.target as HTMLSelectElement).value))}>
        ${SPEEDS.map((one) => html`<option value=${one} ?selected=${one === this.rate}>${one}×</option>`)}</select>${icon("down", 16)}</span>
      <span class="choice"><select aria-label=${w.layout} title=${`${w.layout} (G)`} @change=${(event: Event) => this.setLayout((event.target as HTMLSelectElement).value as Layout)}>
        ${LAYOUTS.map((one) => html`<option value=${one} ?selected=${one === this.layout}>${w.layouts[one]}</option>`)}</select>${icon("down", 16)}</span>
      ${this.silent.length > 0 ? html`<button class="icon quiet" aria-pressed=${this.skips} aria-label=${w.skipSilence} title=${w.skipSilence} @click=${() => (this.skips = !this.skips)}>${icon("skip")}</button>` : nothing}
      ${this.events.some((event) => event.type === "chat") ? html`<button class="icon quiet" aria-pressed=${this.hasChat} aria-label=${w.chatOver} title=${w.chatOver} @click=${() => this.setChat(!this.hasChat)}>${icon("chat")}</button>` : nothing}
      <button class="icon quiet keys" aria-label=${w.keys} title=${`${w.keys} (?)`} @click=${() => (this.keysOpen = true)}>${icon("keyboard")}</button>
      ${HAS_PIP ? html`<media-pip-button title=${w.pip} mediacontroller="controller"><span slot="tooltip"></span></media-pip-button>` : nothing}
      <media-fullscreen-button title=${this.hint(6)} mediacontroller="controller"><span slot="tooltip"></span></media-fullscreen-button>
    </div>`;
  }

  private help(): TemplateResult {
    const w = this.words.replay;
    return html`<re-dialog .heading=${w.keysTitle} ?open=${this.keysOpen} @close=${() => (this.keysOpen = false)}>
      <label class="switch"><input type="checkbox" .checked=${this.hasKeys} @change=${(event: Event) => this.setKeys((event.target as HTMLInputElement).checked)} />${w.keysOn}</label>
      <dl class="keylist">${w.keyList.map(([key, does]) => html`<div><dt>${key}</dt><dd>${does}</dd></div>`)}</dl>
    </re-dialog>`;
  }

  /** Puts a link on the clipboard, or shows it where that is not allowed. */
  async copy(link: string): Promise<void> {
    const w = this.words.replay;
    try {
      await navigator.clipboard.writeText(link);
      toast({ text: w.copied });
    } catch {
      toast({ text: w.copyFailed(link) });
    }
  }

  static override styles = [base, stylesOfPlayer];
}

function readFlag(name: string): string | null {
  try {
    return localStorage.getItem(name);
  } catch {
    return null;
  }
}

function writeFlag(name: string, value: string | null): void {
  try {
    if (value === null) localStorage.removeItem(name);
    else localStorage.setItem(name, value);
  } catch {
    // Without storage it holds for this visit.
  }
}

customElements.define("reelay-player", ReelayPlayer);
