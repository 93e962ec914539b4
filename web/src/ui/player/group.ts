// `<re-media-group>`: the pictures of a recording on one stage, with the surface of one media element, so that ready-made
// controls drive all of them at once. Tiles are keyed by lane and never move in the page: a moved <video> stops.
import { html, nothing } from "lit";
import type { PropertyValues, TemplateResult } from "lit";
import { repeat } from "lit/directives/repeat.js";
import { lanes, lengthOf } from "../../client/replay/model.ts";
import type { Lane, Manifest, ManifestFile, RecordedEvent } from "../../client/replay/model.ts";
import { base, ReElement, styled } from "../base.ts";
import { initials, join } from "../elements/card.ts";
import { icon } from "../elements/icon.ts";
import { fit } from "../layout.ts";
import type { Size } from "../layout.ts";
import { Conductor } from "./conductor.ts";
import type { Part } from "./playing.ts";
import { stylesOfGroup } from "./group-style.ts";
import { arrange, people } from "./scene.ts";
import type { Face, Layout } from "./scene.ts";

/** Chosen here because iPhones let only one <video> sound at a time: pictures are muted there, voices are <audio>. */
const ONE_AUDIBLE = typeof navigator !== "undefined" && (/iP(hone|od|ad)/.test(navigator.userAgent) || (navigator.platform === "MacIntel" && navigator.maxTouchPoints > 1));

export class ReMediaGroup extends ReElement {
  static override properties = {
    manifest: { attribute: false }, events: { attribute: false }, layout: { attribute: false }, pinned: { attribute: false },
    faces: { state: true }, size: { state: true },
  };
  declare manifest: Manifest | null;
  declare events: RecordedEvent[];
  declare layout: Layout;
  /** The lane that is large in layout `pinned`. */
  declare pinned: string | null;
  declare private faces: Face[];
  declare private size: Size;
  private conductor = new Conductor((name, detail) => this.onNews(name, detail));
  private lanes: Lane[] = [];
  private columns: number | undefined;
  private speaker: { id: string | null; since: number } = { id: null, since: 0 };

  constructor() {
    super();
    this.manifest = null;
    this.events = [];
    this.layout = "screen";
    this.pinned = null;
    this.faces = [];
    this.size = { width: 0, height: 0 };
  }

  override connectedCallback(): void {
    super.connectedCallback();
    const sight = new ResizeObserver(([entry]) => {
      if (entry) this.size = { width: Math.floor(entry.contentRect.width), height: Math.floor(entry.contentRect.height) };
    });
    this.updateComplete.then(() => { const stage = this.renderRoot.querySelector(".stage"); if (stage) sight.observe(stage); });
    this.connected.addEventListener("abort", () => {
      sight.disconnect();
      this.conductor.stop();
    });
  }

  override willUpdate(changed: PropertyValues): void {
    if (changed.has("manifest") && this.manifest) this.lanes = lanes(this.manifest.files.filter(isPlayable));
    if (changed.has("manifest") || changed.has("events")) this.look();
  }

  override updated(changed: PropertyValues): void {
    if (!changed.has("manifest") || !this.manifest) return;
    const { media = {}, state } = this.manifest;
    const parts: Part[] = [];
    for (const element of this.renderRoot.querySelectorAll<HTMLMediaElement>("[data-file]")) {
      const file = this.manifest.files.find((one) => one.file === element.dataset["file"]);
      const urls = file && media[file.file];
      if (file && urls) parts.push({ file, url: file.open ? urls.url : join(urls.url, "part=1"), indexUrl: file.open ? (urls.index_url ?? null) : null, media: element, isSilent: ONE_AUDIBLE && element.localName === "video" });
    }
    this.conductor.setParts(parts, lengthOf(this.manifest), state === "recording");
    if (changed.get("manifest") === null) this.tell("loadedmetadata");
  }

  private onNews(name: string, detail: unknown): void {
    if (["timeupdate", "seeked", "playing", "progress"].includes(name)) this.look();
    this.tell(name, detail);
  }

  private tell(name: string, detail: unknown = null): void {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }

  /** Who is to be seen now; draws only when something changed. */
  private look(): void {
    const at = this.conductor.position();
    const next = people(this.lanes, this.events, at);
    if (JSON.stringify(next) !== JSON.stringify(this.faces)) this.faces = next;
    const loudest = next.find((face) => face.loudest)?.id ?? null;
    // A main speaker stays at least two seconds, and as long as they talk.
    const holds = next.some((face) => face.id === this.speaker.id && face.speaks) || Math.abs(at - this.speaker.since) < 2_000;
    if (loudest !== null && loudest !== this.speaker.id && (!holds || this.speaker.id === null)) {
      this.speaker = { id: loudest, since: at };
      this.requestUpdate();
    }
  }

  // --- The surface of a media element --------------------------------------------------------------------------

  play(): Promise<void> { return this.conductor.play(); }
  pause(): void { this.conductor.pause(); }
  load(): void {}
  get paused(): boolean { return !this.conductor.wanted; }
  get ended(): boolean { return this.conductor.ended; }
  get seeking(): boolean { return this.conductor.seeking; }
  get currentTime(): number { return this.conductor.position() / 1000; }
  set currentTime(seconds: number) { void this.conductor.seek(seconds * 1000); }
  get duration(): number { return this.conductor.duration / 1000; }
  get readyState(): number { return this.conductor.waiting ? 2 : this.conductor.readyState; }
  get playbackRate(): number { return this.conductor.rate; }
  set playbackRate(rate: number) { this.conductor.rate = rate; }
  get defaultPlaybackRate(): number { return 1; }
  get volume(): number { return this.conductor.volume; }
  set volume(volume: number) { this.conductor.volume = volume; }
  get muted(): boolean { return this.conductor.muted; }
  set muted(muted: boolean) { this.conductor.muted = muted; }
  get buffered(): TimeRanges { return ranges(this.conductor.buffered()); }
  get seekable(): TimeRanges { return ranges({ from: 0, to: this.conductor.duration }); }
  get textTracks(): TextTrackList | undefined { return this.renderRoot.querySelector("video")?.textTracks; }
  get src(): string { return this.manifest?.id ?? ""; }
  get currentSrc(): string { return this.src; }
  get error(): MediaError | null { return null; }
  get loop(): boolean { return false; }
  get preload(): string { return "auto"; }
  get autoplay(): boolean { return false; }

  requestPictureInPicture(): Promise<PictureInPictureWindow> {
    const main = this.mainId();
    const video = this.renderRoot.querySelector<HTMLVideoElement>(`[data-lane="${CSS.escape(main ?? "")}"] video.shown`) ?? this.renderRoot.querySelector<HTMLVideoElement>("video.shown");
    return video ? video.requestPictureInPicture() : Promise.reject(new DOMException("no picture", "InvalidStateError"));
  }

  // These events stay inside; the button outside has to know how it stands.
  private onPip(event: Event): void { this.tell(event.type); }

  /** Loudness of one person beside the others. */
  volumeOf(person: string): number { return this.conductor.volumeOf(person); }
  setVolumeOf(person: string, volume: number): void {
    this.conductor.setVolumeOf(person, volume);
    this.requestUpdate();
  }

  // --- Drawing -------------------------------------------------------------------------------------------------

  private mainId(): string | null {
    const there = (id: string | null): string | null => (this.faces.some((face) => face.id === id) ? id : null);
    if (this.layout === "pinned" && there(this.pinned)) return this.pinned;
    const screen = this.faces.find((face) => face.isScreen && face.file);
    if (screen && this.layout !== "grid" && this.layout !== "speaker") return screen.id;
    return this.layout === "speaker" ? (there(this.speaker.id) ?? this.faces[0]?.id ?? null) : null;
  }

  override render() {
    const scene = arrange(this.faces.map((face) => face.id), this.mainId(), this.size, this.columns, this.speaker.id);
    this.columns = scene.columns;
    return html`<div class="stage" role="group" aria-label=${this.words.replay.stage}>
      ${repeat(this.lanes, (lane) => lane.id, (lane) => this.tile(lane, scene.boxes.get(lane.id), this.faces.find((face) => face.id === lane.id)))}
    </div>`;
  }

  private tile(lane: Lane, box: { x: number; y: number; width: number; height: number } | undefined, face: Face | undefined): TemplateResult {
    const w = this.words.replay;
    const isScreen = lane.source !== "camera";
    const name = isScreen ? w.screenOf(lane.name) : lane.name;
    const shown = face?.file ?? null;
    const place = box ? { width: `${box.width}px`, height: `${box.height}px`, transform: `translate(${box.x}px, ${box.y}px)` } : { width: "1px", height: "1px", transform: "none" };
    const isMuted = this.volumeOf(lane.person) === 0;
    return html`<figure class="tile" data-lane=${lane.id} ?data-hidden=${!box} ?data-speaks=${face?.speaks ?? false} ${styled(place)}
      @dblclick=${() => this.tell("re-pin", lane.id)}>
      ${repeat(lane.files, (file) => file.file, (file) => this.media(file, isScreen, shown === file.file && face?.why === null, box))}
      ${face && face.why !== null
        ? html`<div class="face"><span class="round">${initials(lane.name)}</span><span class="why">${face.why === "away" ? w.notThere : face.why === "camera-off" ? w.cameraOff : w.soundOnly}</span></div>`
        : nothing}
      <figcaption class="name"><bdi>${name}</bdi>${isMuted || face?.muted ? html`${icon(isMuted ? "sound-off" : "mic-off", 16)}<span class="unseen">${w.muted}</span>` : nothing}</figcaption>
    </figure>`;
  }

  private media(file: ManifestFile, isScreen: boolean, isShown: boolean, box: Size | undefined): TemplateResult {
    if (!file.video) return html`<audio data-file=${file.file}></audio>`;
    const size = file.video.width && file.video.height ? { width: file.video.width, height: file.video.height } : null;
    const how = !isScreen && size && box && box.width > 0 ? fit(size, box) : "contain";
    const voice = ONE_AUDIBLE && file.audio ? html`<audio data-file=${file.file}></audio>` : nothing;
    return html`<video class=${`${how}${isShown ? " shown" : ""}`} data-file=${file.file} playsinline tabindex="-1" aria-hidden="true" disableremoteplayback
      @enterpictureinpicture=${this.onPip} @leavepictureinpicture=${this.onPip}></video>${voice}`;
  }

  static override styles = [base, stylesOfGroup];
}

/** What a `TimeRanges` looks like for one stretch, or none. */
function ranges(one: { from: number; to: number } | null): TimeRanges {
  const at = (value: number | undefined) => (index: number): number => {
    if (index !== 0 || value === undefined) throw new DOMException("no such range", "IndexSizeError");
    return value / 1000;
  };
  return { length: one ? 1 : 0, start: at(one?.from), end: at(one?.to) };
}

function isPlayable(file: ManifestFile): boolean {
  return (file.video !== null || file.audio !== null) && file.close_reason !== "unusable" && (file.duration_ms > 0 || file.open === true);
}

customElements.define("re-media-group", ReMediaGroup);
