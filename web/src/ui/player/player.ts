// `<reelay-player recording="…">`: one recording with everybody in it, the controls, the timeline, and what is missing.
import { html, nothing } from "lit";
import type { PropertyValues, TemplateResult } from "lit";
import { live } from "lit/directives/live.js";
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
import { captionsAt } from "../../client/replay/captions.ts";
import type { Cue } from "../../client/replay/captions.ts";
import { loadCaptions, loadEvents, loadManifest, LoadError } from "../../client/replay/load.ts";
import type { Clip, Failure, Happened } from "../../client/replay/load.ts";
import { chatAt, isGrowing, lanes, lengthOf, silences, spots, stops } from "../../client/replay/model.ts";
import type { Manifest, ManifestFile, RecordedEvent, Span } from "../../client/replay/model.ts";
import { Single } from "../../client/replay/single.ts";
import { isEmbedded } from "../../client/server.ts";
import { parseSpan } from "../../client/replay/when.ts";
import { duration, languageName } from "../../words/format.ts";
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
import { readFlag, writeFlag } from "./flags.ts";
import { actionOf, SPEEDS } from "./keys.ts";
import type { PlayerAction } from "./keys.ts";
import { stylesOfPlayer } from "./player-style.ts";
import { LAYOUTS } from "./scene.ts";
import type { Layout } from "./scene.ts";
import "./timeline.ts";
import "./verdict.ts";

const REFRESH_MS = 3_000;
/** Seconds of waiting after which the page says so. */
const SLOW_AFTER = 2;
const KEYS_OFF = "reelay.player.keys-off";
const CHAT_OFF = "reelay.player.chat-off";
const FRAME = 1000 / 30;
/** A skip of this length is told to everybody. */
const LONG_SILENCE = 5_000;
/** Some browsers offer it on the picture itself only, and not to pages. */
const HAS_PIP = typeof HTMLVideoElement !== "undefined" && "requestPictureInPicture" in HTMLVideoElement.prototype && document.pictureInPictureEnabled;

/** Fires `re-loaded` (the manifest), `re-moved` (milliseconds) and `re-failed` (a `Failure`). */
export class ReelayPlayer extends ReElement {
  static override properties = {
    recording: {}, start: {}, clip: { attribute: false }, loops: { attribute: false }, manifest: { state: true }, events: { state: true }, failure: { state: true }, layout: { state: true },
    pinned: { state: true }, position: { state: true }, loaded: { state: true }, rate: { state: true }, trouble: { state: true },
    isSlow: { state: true }, skips: { state: true }, language: { state: true }, cues: { state: true }, hasChat: { state: true }, hasKeys: { state: true }, keysOpen: { state: true }, isPlaying: { state: true },
  };
  declare recording: string;
  /** As in `?t=`: where to begin, and where to stop. */
  declare start: string | null;
  /** A shared span to play instead of a recording: only that, without the timeline. */
  declare clip: Clip | null;
  /** A shared span begins anew when it is over. */
  declare loops: boolean;
  declare manifest: Manifest | null;
  declare events: RecordedEvent[];
  declare failure: Failure | null;
  declare private layout: Layout;
  declare private pinned: string | null;
  declare private position: number;
  declare private loaded: Span | null;
  declare private rate: number;
  declare private trouble: { kind: "broken" | "gone" | "offline"; file?: ManifestFile } | null;
  /** Somebody waits for data, for longer than a moment. */
  declare private isSlow: boolean;
  declare private skips: boolean;
  /** Of the captions that are shown; empty for none. */
  declare private language: string;
  declare private cues: Cue[];
  declare private hasChat: boolean;
  declare private hasKeys: boolean;
  declare private keysOpen: boolean;
  declare private isPlaying: boolean;
  private silent: Span[] = [];
  private stops: number[] = [];
  private stopAt: number | null = null;
  private isPlaced = false;
  private happened: Happened = { events: [], next: 0 };
  /** Over a slow line the timer's questions would pile up. */
  private looking = new Single();

  constructor() {
    super();
    this.recording = "";
    this.start = null;
    this.clip = null;
    this.loops = false;
    this.manifest = null;
    this.events = [];
    this.failure = null;
    this.layout = "screen";
    this.pinned = null;
    this.position = 0;
    this.loaded = null;
    this.rate = 1;
    this.trouble = null;
    this.isSlow = false;
    this.skips = false;
    this.language = "";
    this.cues = [];
    this.hasChat = readFlag(CHAT_OFF) !== "1";
    this.hasKeys = readFlag(KEYS_OFF) !== "1";
    this.keysOpen = false;
    this.isPlaying = false;
  }

  override connectedCallback(): void {
    super.connectedCallback();
    const signal = this.connected;
    const timer = setInterval(() => {
      // A media element that gets nothing tries again for a long time before it says so: the server is asked why.
      const isStarved = (this.group?.readyState ?? 4) < 3;
      if (this.manifest ? isGrowing(this.manifest.state) || this.manifest.state === "repairing" || this.trouble?.kind === "offline" || isStarved : this.failure === "offline") void this.looking.run(this.recording, () => this.refresh());
    }, REFRESH_MS);
    let waits = 0;
    const watch = setInterval(() => {
      waits = this.waitsForData ? waits + 1 : 0;
      this.isSlow = waits >= SLOW_AFTER;
    }, 1_000);
    signal.addEventListener("abort", () => {
      clearInterval(timer);
      clearInterval(watch);
    });
  }

  private get waitsForData(): boolean {
    const { group, manifest } = this;
    if (!group || !manifest || manifest.files.length === 0 || isGrowing(manifest.state)) return false;
    return group.readyState < (group.paused && !group.seeking ? 2 : 3);
  }

  override willUpdate(changed: PropertyValues): void {
    if (changed.has("recording") && this.recording !== "") {
      this.manifest = null;
      this.events = [];
      this.happened = { events: [], next: 0 };
      this.isPlaced = false;
      this.refresh();
    }
    if (changed.has("clip") && this.clip) {
      this.manifest = this.clip.manifest;
      this.events = this.clip.events;
    }
    if ((changed.has("manifest") || changed.has("events")) && this.manifest) {
      this.stops = stops(this.events, this.manifest.files.flatMap(spots).filter((spot) => spot.what !== "off"));
      this.silent = silences(this.events, lengthOf(this.manifest));
    }
  }

  override updated(changed: PropertyValues): void {
    const controller = this.renderRoot.querySelector<HTMLElement & { fullscreenElement: Element }>("media-controller");
    const full = this.renderRoot.querySelector(".player");
    // Full screen is all of it, with the controls. By its id the controller finds nothing: it looks before it is in the page.
    if (controller && full && controller.fullscreenElement !== full) controller.fullscreenElement = full;
    if (!changed.has("manifest") || !this.manifest || this.isPlaced) return;
    this.isPlaced = true;
    const span = this.clip?.span ?? parseSpan(this.start);
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
    const { from, to: end } = this.clip?.span ?? { from: 0, to: Infinity };
    if (group) group.currentTime = Math.min(end, Math.max(from, to)) / 1000;
  }

  /** Makes one lane large, or none. */
  pin(lane: string | null): void {
    const isSame = this.layout === "pinned" && this.pinned === lane;
    this.pinned = isSame ? null : lane;
    this.layout = isSame || lane === null ? "screen" : "pinned";
  }

  /** Asks what is new: always, because whoever calls this has just changed something. */
  async refresh(): Promise<void> {
    const signal = this.connected;
    const id = this.recording;
    // Whoever gave the span has to ask for it again.
    if (this.clip) return void this.dispatchEvent(new Event("re-stale"));
    try {
      const [manifest, happened] = await Promise.all([loadManifest(id, signal), loadEvents(id, this.happened, signal)]);
      if (id !== this.recording) return;
      const { events } = happened;
      this.happened = happened;
      this.manifest = manifest;
      this.events = events;
      this.failure = null;
      if (this.trouble?.kind === "offline" || this.trouble?.kind === "gone") this.trouble = null;
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
    if (this.stopAt !== null && this.position >= this.stopAt && !group.seeking) this.onSpanEnd(group);
    if (this.skips && !group.paused && !group.seeking) this.skip();
    this.dispatchEvent(new CustomEvent("re-moved", { detail: this.position }));
  }

  /** A link to a part stops there once; a shared span has nothing behind its end. */
  private onSpanEnd(group: ReMediaGroup): void {
    if (!this.clip) this.stopAt = null;
    // The last file may have ended by itself a moment before.
    if (this.clip && this.loops && (!group.paused || group.ended)) this.playAgain();
    else if (!group.paused) group.pause();
  }

  /** From the beginning of a shared span. */
  playAgain(): void {
    this.seek(this.clip?.span.from ?? 0);
    void this.group?.play();
  }

  private onPlay(): void {
    const { clip } = this;
    if (clip && this.position >= clip.span.to - FRAME) this.seek(clip.span.from);
    this.onTime();
  }

  private skip(): void {
    const span = this.silent.find((one) => one.from <= this.position && this.position < one.to - 500);
    if (!span) return;
    const text = this.words.replay.skipped(duration(span.to - this.position));
    // A short breath is only marked in the timeline: news for each of them would be noise.
    if (span.to - this.position >= LONG_SILENCE) toast({ text });
    else announce(text);
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
    const { from, to: end } = this.clip?.span ?? { from: 0, to: group.duration * 1000 };
    switch (action.do) {
      case "toggle": return void (group.paused ? group.play() : group.pause());
      case "move": return this.seek(this.position + action.by);
      case "share-of": return this.seek(from + ((end - from) * action.part) / 10);
      case "end": return this.seek(end - 1_000);
      case "event": return this.toEvent(action.by);
      case "frame": return void (group.paused && this.seek(this.position + action.by * FRAME));
      case "volume": group.volume = Math.min(1, Math.max(0, group.volume + action.by)); return;
      case "mute": group.muted = !group.muted; return;
      case "speed": return this.setSpeed(SPEEDS[Math.min(SPEEDS.length - 1, Math.max(0, SPEEDS.findIndex((one) => one >= this.rate) + action.by))] ?? 1);
      case "full-screen": this.renderRoot.querySelector<HTMLElement>("media-fullscreen-button")?.click(); return;
      case "pip": this.renderRoot.querySelector<HTMLElement>("media-pip-button")?.click(); return;
      case "captions": return void this.setCaptions(this.language === "" ? (this.manifest?.captions?.[0]?.language ?? "") : "");
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

  private async setCaptions(wanted: string): Promise<void> {
    const found = this.manifest?.captions?.find((one) => one.language === wanted);
    this.language = found ? wanted : "";
    this.cues = [];
    if (!found) return;
    const signal = this.connected;
    const cues = await loadCaptions(found, signal).catch(() => null);
    if (signal.aborted || this.language !== wanted) return;
    if (cues) this.cues = cues;
    else {
      this.language = "";
      toast({ text: this.words.replay.captionsFailed });
    }
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
    return html`<div class="player" @keydown=${this.onKey}>
      <div class="frame"><media-controller id="controller" nohotkeys noautohide gesturesdisabled class="screen" @click=${this.onPicture}>
        <re-media-group slot="media" .manifest=${manifest} .events=${this.events} .layout=${this.layout} .pinned=${this.pinned}
          @timeupdate=${this.onTime} @progress=${this.onTime} @seeked=${this.onTime} @play=${this.onPlay} @pause=${this.onTime} @ratechange=${() => (this.rate = this.group?.playbackRate ?? 1)}
          @re-broken=${this.onBroken} @re-offline=${() => (this.trouble ??= { kind: "offline" })} @re-expired=${() => this.refresh()}
          @re-pin=${(event: CustomEvent<string>) => this.pin(event.detail)}></re-media-group>
        <media-loading-indicator slot="centered-chrome" noautohide></media-loading-indicator>
      </media-controller><div class="over">${this.hasChat ? this.chat() : nothing}${this.captions()}</div></div>
      ${this.notices()}
      ${this.clip ? this.scrubber(this.clip.span) : nothing}
      ${keyed(language(), this.bar())}
      ${this.clip ? nothing : html`<div class="below">
        <re-timeline .manifest=${manifest} .events=${this.events} .position=${this.position} .loaded=${this.loaded} .skipped=${this.skips ? this.silent : []} @re-seek=${(event: CustomEvent<number>) => this.seek(event.detail)}></re-timeline>
        <re-verdict .manifest=${manifest} @re-seek=${(event: CustomEvent<number>) => this.seek(event.detail)}></re-verdict>
      </div>`}
    </div>${this.help()}`;
  }

  // Our own page says it in its own place.
  private failed(why: Failure): TemplateResult {
    const w = this.words.replay;
    const text = { missing: w.missing, locked: w.locked, newer: w.newer, offline: this.words.common.offline, unsaved: w.clipUnsaved, failed: w.failed }[why];
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

  private captions(): TemplateResult | typeof nothing {
    const said = captionsAt(this.cues, this.position);
    if (said.length === 0) return nothing;
    return html`<div class="captions" lang=${this.language}>${said.map((cue) => html`<p>${cue.who ? html`<b><bdi>${cue.who}</bdi></b> ` : nothing}<bdi>${cue.text}</bdi></p>`)}</div>`;
  }

  private notices(): TemplateResult | typeof nothing {
    const w = this.words.replay;
    const { trouble, manifest } = this;
    const empty = manifest && manifest.files.length === 0;
    if (empty) return html`<re-notice kind="info">${manifest.state === "waiting" ? w.waiting : w.empty}</re-notice>`;
    switch (trouble?.kind) {
      case undefined: return this.isSlow ? html`<re-notice kind="info">${w.slow}</re-notice>` : nothing;
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

  /** The whole of a shared span is one line. */
  private scrubber({ from, to }: Span): TemplateResult {
    const at = Math.min(to, Math.max(from, this.position));
    return html`<input class="span" type="range" min=${from} max=${to} step="100" .value=${live(String(at))} aria-label=${this.words.replay.position}
      aria-valuetext=${this.words.replay.positionOf(duration(at - from), duration(to - from))} @input=${(event: Event) => this.seek(Number((event.target as HTMLInputElement).value))} />`;
  }

  private bar(): TemplateResult {
    const w = this.words.replay;
    const { from, to: length } = this.clip?.span ?? { from: 0, to: this.manifest ? lengthOf(this.manifest) : 0 };
    return html`<div class="bar" role="toolbar" aria-label=${w.stage}>
      <media-play-button title=${this.hint(0)} mediacontroller="controller"><span slot="tooltip"></span></media-play-button>
      <media-seek-backward-button title=${this.hint(1)} mediacontroller="controller" seekoffset="10"><span slot="tooltip"></span></media-seek-backward-button>
      <media-seek-forward-button title=${this.hint(1)} mediacontroller="controller" seekoffset="10"><span slot="tooltip"></span></media-seek-forward-button>
      <span class="time numbers">${duration(Math.max(0, Math.min(this.position, length) - from))} <span class="of">/ ${duration(length - from)}</span></span>
      <span class="gap"></span>
      <media-mute-button title=${this.hint(5)} mediacontroller="controller"><span slot="tooltip"></span></media-mute-button>
      <media-volume-range mediacontroller="controller" class="volume"></media-volume-range>
      <span class="choice"><select aria-label=${w.speed} title=${`${w.speed} (< >)`} @change=${(event: Event) => this.setSpeed(Number((event.target as HTMLSelectElement).value))}>
        ${SPEEDS.map((one) => html`<option value=${one} ?selected=${one === this.rate}>${one}×</option>`)}</select>${icon("down", 16)}</span>
      <span class="choice"><select aria-label=${w.layout} title=${`${w.layout} (G)`} @change=${(event: Event) => this.setLayout((event.target as HTMLSelectElement).value as Layout)}>
        ${LAYOUTS.map((one) => html`<option value=${one} ?selected=${one === this.layout}>${w.layouts[one]}</option>`)}</select>${icon("down", 16)}</span>
      ${this.manifest?.captions?.length ? html`<span class="choice"><select aria-label=${w.captions} title=${`${w.captions} (C)`} @change=${(event: Event) => void this.setCaptions((event.target as HTMLSelectElement).value)}>
        <option value="" ?selected=${this.language === ""}>${w.captionsOff}</option>
        ${this.manifest.captions.map((one) => html`<option value=${one.language} ?selected=${one.language === this.language}>${w.captionsIn(languageName(one.language))}</option>`)}</select>${icon("down", 16)}</span>` : nothing}
      ${this.silent.length > 0 ? html`<button class="icon quiet" aria-pressed=${this.skips} aria-label=${w.skipSilence} title=${w.skipSilence} @click=${() => (this.skips = !this.skips)}>${icon("skip")}</button>` : nothing}
      ${this.events.some((event) => event.type === "chat") ? html`<button class="icon quiet" aria-pressed=${this.hasChat} aria-label=${w.chatOver} title=${w.chatOver} @click=${() => this.setChat(!this.hasChat)}>${icon("chat")}</button>` : nothing}
      <button class="icon quiet keys" aria-label=${w.keys} title=${`${w.keys} (?)`} @click=${() => (this.keysOpen = true)}>${icon("keyboard")}</button>
      ${HAS_PIP ? html`<media-pip-button title=${this.hint(w.keyList.length - 1)} mediacontroller="controller"><span slot="tooltip"></span></media-pip-button>` : nothing}
      <media-fullscreen-button title=${this.hint(6)} mediacontroller="controller"><span slot="tooltip"></span></media-fullscreen-button>
    </div>`;
  }

  private help(): TemplateResult {
    const w = this.words.replay;
    return html`<re-dialog .heading=${w.keysTitle} ?open=${this.keysOpen} @close=${() => (this.keysOpen = false)}>
      <label class="switch"><input type="checkbox" .checked=${this.hasKeys} @change=${(event: Event) => this.setKeys((event.target as HTMLInputElement).checked)} />${w.keysOn}</label>
      <dl class="keylist">${(HAS_PIP ? w.keyList : w.keyList.slice(0, -1)).map(([key, does]) => html`<div><dt>${key}</dt><dd>${does}</dd></div>`)}</dl>
    </re-dialog>`;
  }

  /** Puts a link on the clipboard, or shows it where that is not allowed. */
  async copy(link: string, text?: string): Promise<void> {
    const w = this.words.replay;
    try {
      await navigator.clipboard.writeText(link);
      toast({ text: text ?? w.copied });
    } catch {
      toast({ text: w.copyFailed(link) });
    }
  }

  static override styles = [base, stylesOfPlayer];
}

customElements.define("reelay-player", ReelayPlayer);
