// Plays the files of a recording as one: loads what is near, starts and stops it in time, seeks all together, and
// carries out what `Sync` decides. Owns the media elements' playback, not their place on the page.
import { endOf } from "../../client/replay/model.ts";
import { LOOK_MS, median, PATIENCE, Sync } from "../../client/replay/sync.ts";
import type { Member } from "../../client/replay/sync.ts";
import { Growing } from "./growing.ts";
import { bend, isReady, keyOf, place, positionOf, unload } from "./playing.ts";
import type { Part, Playing } from "./playing.ts";
import { settled } from "./settle.ts";

/** What the conductor tells: the events of a media element, and `re-broken`, `re-expired`, `re-blocked`. */
export type Tell = (name: string, detail?: unknown) => void;

/** Files come and go, and the page is told, this often. */
const SURVEY_MS = 250;
/** Files are loaded this long before they begin. */
const LEAD = 8_000;
/** And let go this long after they ended, or when the playhead went far before them. */
const KEEP = 20_000;
const SEEK_WITHIN = 6_000;
const RETRY_MS = 3_000;
/** Closer than this no seek is worth its time. */
const CLOSE = 60;

export class Conductor {
  private parts: Playing[] = [];
  private sync = new Sync();
  private tell: Tell;
  private at = 0;
  private atWall = 0;
  private length = 0;
  private isRunning = false;
  private turn = 0;
  private timer = 0;
  private surveyedAt = 0;
  private starts: number[] = [];
  /** How late an element moves after `play()`; learnt. */
  private startCost = 40;
  private isGrowing = false;
  wanted = false;
  seeking = false;
  ended = false;
  waiting = false;
  private plainRate = 1;
  private loudness = 1;
  private isMuted = false;
  private own = new Map<string, number>();

  constructor(tell: Tell) {
    this.tell = tell;
  }

  /** The files to play; elements that stay keep playing. */
  setParts(parts: readonly Part[], length: number, isGrowing: boolean): void {
    const before = new Map(this.parts.map((part) => [part.media, part]));
    this.parts = parts.map((part) => {
      const known = before.get(part.media);
      before.delete(part.media);
      return known ? Object.assign(known, part) : this.adopt(part);
    });
    for (const gone of before.values()) this.release(gone);
    const isLonger = length > this.length + CLOSE;
    this.length = length;
    this.isGrowing = isGrowing;
    if (isLonger && this.ended) this.ended = false;
    this.arrange(this.position());
    this.tell("durationchange");
    // It stood at the end of what there was; now there is more, or it has come to its end.
    if (this.wanted && this.waiting && !this.isRunning && !this.seeking) {
      if (isLonger) void this.begin();
      else if (!isGrowing && this.at >= length - CLOSE) this.finish();
    }
  }

  stop(): void {
    this.turn++;
    clearInterval(this.timer);
    this.clearStarts();
    for (const part of this.parts) this.release(part);
    this.parts = [];
    this.isRunning = false;
  }

  /** Milliseconds since the recording began, by what the elements themselves say. */
  position(): number {
    if (!this.isRunning) return this.at;
    const active = this.active(this.at);
    const known = median(active.filter(isReady).map(positionOf));
    if (known !== null) return this.isGrowing ? known : Math.min(known, this.length);
    // Nobody is there at this time: the wall clock carries on to the next file.
    if (active.length === 0) return Math.min(this.length, this.at + (performance.now() - this.atWall) * this.plainRate);
    return this.at;
  }

  get duration(): number {
    return Math.max(this.length, this.at);
  }

  /** 0 nothing, 2 a picture for here, 4 enough to go on: the lowest of all that play here. */
  get readyState(): number {
    const active = this.active(this.at);
    return active.length === 0 ? (this.parts.length > 0 ? 4 : 0) : Math.min(...active.map((part) => part.media.readyState));
  }

  /** Stretches around the playhead that every active file has. */
  buffered(): { from: number; to: number } | null {
    const now = this.position();
    let found: { from: number; to: number } | null = null;
    for (const part of this.active(now)) {
      const ranges = part.media.buffered;
      for (let i = 0; i < ranges.length; i++) {
        const from = part.file.offset_ms + ranges.start(i) * 1000;
        const to = part.file.offset_ms + ranges.end(i) * 1000;
        if (from <= now + 100 && now <= to + 100) found = found ? { from: Math.max(found.from, from), to: Math.min(found.to, to) } : { from, to };
      }
    }
    return found;
  }

  // --- What people ask for -------------------------------------------------------------------------------------

  async play(): Promise<void> {
    if (this.wanted && this.isRunning) return;
    this.wanted = true;
    this.tell("play");
    if (this.ended || this.at >= this.length - CLOSE) {
      if (!this.isGrowing) return this.seek(0);
    }
    if (!this.seeking) await this.begin();
  }

  pause(): void {
    if (!this.wanted) return;
    this.wanted = false;
    this.halt();
    this.tell("pause");
    this.tell("timeupdate");
  }

  async seek(to: number): Promise<void> {
    const turn = ++this.turn;
    this.halt();
    this.at = Math.min(Math.max(0, to), this.length);
    this.ended = false;
    this.setSeeking(true);
    this.tell("timeupdate");
    this.arrange(this.at);
    this.sync.reset();
    const active = this.inTime(this.at);
    for (const part of active) place(part, this.at);
    // Those that begin soon start from their first frame.
    for (const part of this.parts) {
      if (part.isLoaded && part.file.offset_ms > this.at && part.media.currentTime > 0) place(part, part.file.offset_ms);
    }
    await settled(active.map((part) => part.media), this.wanted ? 3 : 2, SEEK_WITHIN);
    if (turn !== this.turn) return;
    this.setSeeking(false);
    if (this.at >= this.length && !this.isGrowing) this.finish();
    else if (this.wanted) await this.begin();
  }

  get rate(): number {
    return this.plainRate;
  }

  set rate(rate: number) {
    this.at = this.position();
    this.atWall = performance.now();
    this.plainRate = Math.min(4, Math.max(0.25, rate));
    for (const part of this.parts) bend(part, this.plainRate, this.plainRate);
    this.tell("ratechange");
  }

  get volume(): number {
    return this.loudness;
  }

  set volume(volume: number) {
    this.loudness = Math.min(1, Math.max(0, volume));
    this.applyVolumes();
    this.tell("volumechange");
  }

  get muted(): boolean {
    return this.isMuted;
  }

  set muted(muted: boolean) {
    this.isMuted = muted;
    this.applyVolumes();
    this.tell("volumechange");
  }

  /** How loud one person is beside the others, 0 to 1. */
  volumeOf(person: string): number {
    return this.own.get(person) ?? 1;
  }

  setVolumeOf(person: string, volume: number): void {
    this.own.set(person, volume);
    this.applyVolumes();
  }

  // --- How it is done ------------------------------------------------------------------------------------------

  /** Files whose time it is. */
  private inTime(at: number): Playing[] {
    return this.parts.filter((part) => !part.isBroken && part.file.offset_ms <= at && at < this.endOf(part));
  }

  /** A file that grows has no end yet, whatever the manifest knew a moment ago. */
  private endOf(part: Playing): number {
    return this.isGrowing && part.file.open ? Number.POSITIVE_INFINITY : endOf(part.file);
  }

  /** The same without those that ran out a little before their time. */
  private active(at: number): Playing[] {
    return this.inTime(at).filter((part) => !part.media.ended);
  }

  private async begin(): Promise<void> {
    const turn = this.turn;
    this.arrange(this.at);
    const active = this.inTime(this.at);
    for (const part of active) {
      if (Math.abs(positionOf(part) - this.at) > CLOSE) place(part, this.at);
    }
    await settled(active.map((part) => part.media), 3, PATIENCE);
    if (turn !== this.turn || !this.wanted || this.isRunning) return;
    this.isRunning = true;
    this.atWall = performance.now();
    const answers = await Promise.allSettled(active.map((part) => this.start(part)));
    if (answers.some((answer) => answer.status === "rejected" && answer.reason instanceof DOMException && answer.reason.name === "NotAllowedError")) {
      this.pause();
      this.tell("re-blocked");
      return;
    }
    if (turn !== this.turn || !this.wanted) return;
    this.setWaiting(false);
    this.tell("playing");
    clearInterval(this.timer);
    this.timer = window.setInterval(() => this.look(), LOOK_MS);
  }

  private start(part: Playing): Promise<void> {
    bend(part, this.plainRate, this.plainRate);
    return part.media.play();
  }

  /** Stops all where they are, whatever was wanted. */
  private halt(): void {
    this.at = this.position();
    this.atWall = performance.now();
    this.isRunning = false;
    clearInterval(this.timer);
    this.clearStarts();
    for (const part of this.parts) part.media.pause();
  }

  private look(): void {
    if (!this.isRunning) return;
    const now = performance.now();
    if (now - this.surveyedAt >= SURVEY_MS - LOOK_MS / 2) {
      this.surveyedAt = now;
      this.survey(now);
      if (!this.isRunning) return;
    }
    const active = this.active(this.at).filter((part) => part.retryAt === null);
    const members: Member[] = active.map((part) => ({ id: keyOf(part), position: positionOf(part), ready: isReady(part) }));
    const verdict = this.sync.look(now, members, this.plainRate);
    for (const action of verdict.actions) {
      const part = active.find((one) => keyOf(one) === action.id);
      if (!part) continue;
      if (action.type === "seek") place(part, action.to);
      else bend(part, action.rate, this.plainRate);
    }
    if (verdict.hold) void this.hold();
  }

  private survey(now: number): void {
    const at = this.position();
    this.at = at;
    this.atWall = now;
    this.arrange(at);
    const active = this.active(at);
    for (const part of active) {
      if (part.isFresh && isReady(part)) {
        part.isFresh = false;
        this.startCost = Math.min(200, Math.max(0, this.startCost - (positionOf(part) - at) / 2));
      }
      if (part.media.paused && part.retryAt === null) {
        if (Math.abs(positionOf(part) - at) > CLOSE) place(part, at);
        this.start(part).catch(() => {});
      }
    }
    for (const part of this.parts) {
      if (!active.includes(part) && !part.media.paused && !(part.isFresh && part.file.offset_ms > at)) part.media.pause();
    }
    this.planStarts(at);
    this.tell("timeupdate");
    this.tell("progress");
    const hasOpen = this.isGrowing && active.length > 0;
    if (!hasOpen && at >= this.length - (active.length === 0 ? CLOSE : 20)) this.finish();
  }

  /** Somebody ran dry: all wait, as long as it makes sense. */
  private async hold(): Promise<void> {
    const turn = this.turn;
    this.halt();
    this.setWaiting(true);
    await settled(this.active(this.at).map((part) => part.media), 3, PATIENCE);
    if (turn === this.turn && this.wanted) await this.begin();
  }

  private finish(): void {
    this.halt();
    this.at = this.length;
    if (this.isGrowing) {
      // More will come; until then the last picture stands.
      this.setWaiting(true);
      return;
    }
    this.wanted = false;
    this.ended = true;
    this.tell("timeupdate");
    this.tell("pause");
    this.tell("ended");
  }

  /** A file that begins between two looks begins on time, not at the next look. */
  private planStarts(at: number): void {
    this.clearStarts();
    for (const part of this.parts) {
      const wait = (part.file.offset_ms - at) / this.plainRate - this.startCost;
      if (part.file.offset_ms <= at || wait > SURVEY_MS || !part.isLoaded || !part.media.paused) continue;
      this.starts.push(window.setTimeout(() => {
        if (!this.isRunning) return;
        part.isFresh = true;
        this.start(part).catch(() => {});
      }, Math.max(0, wait)));
    }
  }

  private clearStarts(): void {
    for (const start of this.starts) clearTimeout(start);
    this.starts = [];
  }

  /** Loads what is near `at`, lets go what is far. */
  private arrange(at: number): void {
    for (const part of this.parts) {
      const { offset_ms } = part.file;
      const end = this.endOf(part);
      const isNear = offset_ms - LEAD <= at && at < end + 1_000;
      const isFar = at < offset_ms - KEEP || at > end + KEEP;
      if (part.retryAt !== null && performance.now() >= part.retryAt) {
        part.retryAt = null;
        this.load(part, at);
      } else if (isNear && !part.isLoaded && !part.isBroken) this.load(part, at);
      else if (isFar && part.isLoaded) unload(part);
    }
  }

  private load(part: Playing, at: number): void {
    part.isLoaded = true;
    // Without it a browser asks other servers in a way that they cannot answer for.
    if (new URL(part.url, location.href).origin !== location.origin) part.media.crossOrigin = "anonymous";
    part.media.preload = "auto";
    part.growing = part.indexUrl !== null && Growing.isPossible ? new Growing(part.media, part.url, part.indexUrl) : null;
    if (!part.growing) part.media.src = part.url;
    part.media.playbackRate = this.plainRate;
    this.applyVolume(part);
    place(part, at);
  }

  private adopt(part: Part): Playing {
    const playing: Playing = { ...part, isLoaded: false, isBroken: false, retryAt: null, isFresh: false, growing: null, life: new AbortController() };
    part.media.preservesPitch = true;
    part.media.addEventListener("error", () => this.onError(playing), { signal: playing.life.signal });
    for (const name of ["loadeddata", "canplay"]) {
      part.media.addEventListener(name, () => this.tell("progress"), { signal: playing.life.signal });
    }
    return playing;
  }

  private release(part: Playing): void {
    part.life.abort();
    unload(part);
  }

  // A media element does not tell a lost server from a bad file; one byte of the file does, if it does not come out of a cache.
  private async onError(part: Playing): Promise<void> {
    if (!part.isLoaded || part.retryAt !== null) return;
    const isBadMedia = part.media.error?.code === MediaError.MEDIA_ERR_DECODE;
    const status = isBadMedia ? 200 : await fetch(part.url, { cache: "no-store", headers: { Range: "bytes=0-0" } }).then((answer) => answer.status, () => 0);
    if (status === 401 || status === 403) this.tell("re-expired");
    if (status === 0 || status >= 500 || status === 401 || status === 403 || status === 429) {
      part.retryAt = performance.now() + RETRY_MS;
      this.tell("re-offline");
      window.setTimeout(() => this.arrange(this.position()), RETRY_MS + 50);
      return;
    }
    part.isBroken = true;
    this.tell("re-broken", { file: part.file, isGone: status === 404 || status === 410 });
  }

  private applyVolumes(): void {
    for (const part of this.parts) this.applyVolume(part);
  }

  private applyVolume(part: Playing): void {
    const own = this.volumeOf(part.file.person ?? part.file.participant);
    part.media.volume = this.loudness * own;
    part.media.muted = part.isSilent || this.isMuted || own === 0;
  }

  private setSeeking(seeking: boolean): void {
    if (this.seeking === seeking && !seeking) return;
    this.seeking = seeking;
    this.tell(seeking ? "seeking" : "seeked");
  }

  private setWaiting(waiting: boolean): void {
    this.waiting = waiting;
    if (waiting) this.tell("waiting");
  }
}
