// Plays a file that still grows: the index tells what is there, ranges bring it, Media Source Extensions show it.
// Short requests only, so that many files do not use up the browser's connections.
import { Pieces } from "../../client/replay/pieces.ts";
import { join } from "../elements/card.ts";

interface Index {
  init: [number, number];
  mime: string;
  first: number;
  /** `[t_ms, offset, len, key_offset, key_len]` of finished clusters. */
  clusters: [number, number, number, number, number][];
  open: [number, number, number, number, number] | null;
  growing: boolean;
}

const LOOK_MS = 400;
const PIECE = 1 << 20;
/** Seconds that are kept ready before the playhead, and behind it. */
const AHEAD = 30;
const BEHIND = 60;
const TRIES = 5;

export class Growing {
  private life = new AbortController();
  private clusters: Index["clusters"] = [];
  private readonly media: HTMLMediaElement;
  private readonly url: string;
  private readonly indexUrl: string;
  private object = "";

  constructor(media: HTMLMediaElement, url: string, indexUrl: string) {
    this.media = media;
    this.url = url;
    this.indexUrl = indexUrl;
  }

  static get isPossible(): boolean {
    return typeof MediaSource !== "undefined";
  }

  /** Goes to a moment of the file, in seconds; what is not there any more is fetched again. */
  seek(to: number): void {
    const ranges = this.media.buffered;
    for (let i = 0; i < ranges.length; i++) {
      if (ranges.start(i) - 0.05 <= to && to < ranges.end(i)) {
        this.media.currentTime = to;
        return;
      }
    }
    this.open(to);
  }

  close(): void {
    this.life.abort();
    if (this.object !== "") URL.revokeObjectURL(this.object);
    this.object = "";
  }

  private open(from: number): void {
    this.close();
    this.life = new AbortController();
    const { signal } = this.life;
    const source = new MediaSource();
    this.object = URL.createObjectURL(source);
    this.media.src = this.object;
    source.addEventListener("sourceopen", () => {
      this.feed(source, from, signal).catch(() => {
        // A line that stays away: the element is told, and whoever listens there decides.
        if (!signal.aborted && source.readyState === "open") source.endOfStream("network");
      });
    }, { once: true, signal });
  }

  private async feed(source: MediaSource, from: number, signal: AbortSignal): Promise<void> {
    let index = await this.index(0, signal);
    this.clusters = index.clusters;
    const buffer = source.addSourceBuffer(index.mime);
    source.duration = Number.POSITIVE_INFINITY;
    source.setLiveSeekableRange?.(0, 24 * 3600);
    await append(buffer, new Uint8Array(await this.bytes(index.init[0], index.init[0] + index.init[1], signal)));
    const all = () => (index.open ? [...this.clusters, index.open] : this.clusters);
    const start = all().findLast((row) => row[0] <= from * 1000) ?? all()[0];
    let at = start?.[1] ?? index.init[1];
    const pieces = new Pieces(index.mime.startsWith("video/"));
    let isPlaced = false;
    while (!signal.aborted) {
      const last = all().at(-1);
      const end = last ? last[1] + last[2] : at;
      const ahead = buffer.buffered.length > 0 ? buffer.buffered.end(buffer.buffered.length - 1) - Math.max(this.media.currentTime, from) : 0;
      if (at < end && (ahead < AHEAD || !isPlaced)) {
        const piece = await this.bytes(at, Math.min(end, at + PIECE), signal);
        at += piece.byteLength;
        const whole = pieces.push(new Uint8Array(piece), false);
        if (whole.byteLength > 0) await this.add(buffer, whole);
        if (!isPlaced && buffer.buffered.length > 0) {
          isPlaced = true;
          this.media.currentTime = Math.max(from, buffer.buffered.start(0));
        }
        continue;
      }
      if (!index.growing && at >= end) {
        if (pieces.held > 0) await this.add(buffer, pieces.push(new Uint8Array(0), true));
        if (source.readyState === "open") source.endOfStream();
        return;
      }
      await pause(LOOK_MS, signal);
      if (index.growing) {
        index = await this.index(this.clusters.length, signal);
        this.clusters = [...this.clusters.slice(0, index.first), ...index.clusters];
      }
    }
  }

  /** Appends, and makes room where the browser has none. */
  private async add(buffer: SourceBuffer, piece: Uint8Array<ArrayBuffer>): Promise<void> {
    const now = this.media.currentTime;
    if (buffer.buffered.length > 0 && buffer.buffered.start(0) < now - 2 * BEHIND) await drop(buffer, now - BEHIND);
    try {
      await append(buffer, piece);
    } catch (error) {
      if (!(error instanceof DOMException) || error.name !== "QuotaExceededError") throw error;
      await drop(buffer, Math.max(0.1, now - 5));
      await append(buffer, piece);
    }
  }

  private async index(after: number, signal: AbortSignal): Promise<Index> {
    const answer = await persist(join(this.indexUrl, `after=${after}`), {}, signal);
    return (await answer.json()) as Index;
  }

  private async bytes(from: number, to: number, signal: AbortSignal): Promise<ArrayBuffer> {
    const answer = await persist(this.url, { Range: `bytes=${from}-${to - 1}` }, signal);
    return answer.arrayBuffer();
  }
}

/** Asks again a few times, because a server that is started anew is there again soon. */
async function persist(url: string, headers: Record<string, string>, signal: AbortSignal): Promise<Response> {
  for (let tries = 1; ; tries++) {
    try {
      const answer = await fetch(url, { headers, signal, cache: "no-store" });
      if (answer.ok) return answer;
      if (answer.status < 500 || tries >= TRIES) throw new Error(`answered ${answer.status}`);
    } catch (error) {
      if (signal.aborted || tries >= TRIES) throw error;
    }
    await pause(tries * 1_000, signal);
  }
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason as Error);
    }, { once: true });
  });
}

function append(buffer: SourceBuffer, bytes: Uint8Array<ArrayBuffer>): Promise<void> {
  return settled(buffer, () => buffer.appendBuffer(bytes));
}

function drop(buffer: SourceBuffer, before: number): Promise<void> {
  return settled(buffer, () => buffer.remove(0, before));
}

function settled(buffer: SourceBuffer, start: () => void): Promise<void> {
  return new Promise((resolve, reject) => {
    const life = new AbortController();
    const end = (then: () => void) => (): void => {
      life.abort();
      then();
    };
    buffer.addEventListener("updateend", end(resolve), { signal: life.signal });
    buffer.addEventListener("error", end(() => reject(new Error("not appended"))), { signal: life.signal });
    try {
      start();
    } catch (error) {
      life.abort();
      reject(error as Error);
    }
  });
}
