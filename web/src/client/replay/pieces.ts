// Where a WebM that comes in pieces may be cut before it goes to Media Source Extensions. Pure.
//
// Firefox does not know how long the last picture and the last packet of sound of a piece or a cluster take, and takes them
// to be as long as the one before. If the next one comes more than twice as late, it drops all pictures up to the next
// keyframe, or stands still before the hole. (A packet that follows silence of the recorder's after 1 ms is such a one.) So a
// piece ends only where the next of each track is known to follow closely, and what is not followed closely is told its length.

const CLUSTER = 0x1f43b675;
const TIMESTAMP = 0xe7;
const SIMPLE_BLOCK = 0xa3;
const BLOCK_GROUP = 0xa0;
const BLOCK = 0xa1;
const BLOCK_DURATION = 0x9b;
const REFERENCE_BLOCK = 0xfb;
const VIDEO_TRACK = 1;
/** A picture that follows within this is close, whatever the one before was. */
const CLOSE_MS = 50;
/** And so is what takes at most so much longer to come than the one before. */
const LIKE_BEFORE = 1.5;
/** More than this is not held back: it is no file of ours, or nobody could play it anyway. */
const MOST = 8 << 20;

interface Element {
  id: number;
  body: number;
  /** `null`: as long as its parent. */
  size: number | null;
}

/** A picture, or a packet of sound. */
interface Frame {
  at: number;
  /** How long after the one before, and whether that is what a browser expects. */
  after: number;
  isClose: boolean;
  /** It is the first of its track in its cluster: there is none before it. */
  isFirst: boolean;
  clusterMs: number;
  /** How long it takes, where the file says it. */
  length: number | null;
  isKey: boolean;
  /** Its element and its block in `rest`. */
  start: number;
  stop: number;
  block: [number, number];
}

export class Pieces {
  private rest: Uint8Array<ArrayBuffer> = new Uint8Array(0);
  /** Where reading goes on in `rest`. */
  private at = 0;
  /** What may go out already. */
  private safe = 0;
  private clusterMs = 0;
  /** The last one of each track. */
  private readonly last = new Map<number, Frame>();
  private readonly hasVideo: boolean;

  constructor(hasVideo: boolean) {
    this.hasVideo = hasVideo;
  }

  /** How many bytes wait here. */
  get held(): number {
    return this.rest.byteLength;
  }

  /** Takes what came, from where the last piece ended; gives what may be appended. After the last one nothing is held. */
  push(bytes: Uint8Array, isLast: boolean): Uint8Array<ArrayBuffer> {
    this.rest = join([this.rest, bytes]);
    this.read();
    if (isLast || this.rest.byteLength > MOST) this.safe = this.rest.byteLength;
    const out = this.rest.slice(0, this.safe);
    this.rest = this.rest.slice(this.safe);
    this.at = Math.max(0, this.at - this.safe);
    this.shift(Number.NEGATIVE_INFINITY, -this.safe);
    this.safe = 0;
    return out;
  }

  private read(): void {
    for (let one = this.element(this.at); one !== null; one = this.element(this.at)) {
      const start = this.at;
      if (one.id === CLUSTER) {
        // Nobody needs its length, and it is wrong once something is written into it: unknown, as in a cluster that grows.
        this.rest.fill(0xff, start + 4, one.body);
        this.rest[start + 4] = 0xff >> (one.body - start - 5);
        this.at = one.body;
        continue;
      }
      const stop = one.body + (one.size ?? 0);
      if (one.size === null || stop > this.rest.byteLength) return;
      this.at = stop;
      if (one.id === TIMESTAMP) this.clusterMs = this.number(one.body, one.size);
      else if (one.id === SIMPLE_BLOCK) this.frame({ start, stop, block: [one.body, stop], length: null, isKey: ((this.rest[one.body + 3] ?? 0) & 0x80) !== 0 });
      else if (one.id === BLOCK_GROUP) this.group(start, one.body, stop);
    }
  }

  private group(start: number, body: number, stop: number): void {
    let block: [number, number] | null = null;
    let length: number | null = null;
    let isKey = true;
    for (let at = body; at < stop;) {
      const one = this.element(at);
      if (one === null || one.size === null) return;
      if (one.id === BLOCK) block = [one.body, one.body + one.size];
      else if (one.id === BLOCK_DURATION) length = this.number(one.body, one.size);
      else if (one.id === REFERENCE_BLOCK) isKey = false;
      at = one.body + one.size;
    }
    if (block) this.frame({ start, stop, block, length, isKey });
  }

  private frame(found: Omit<Frame, "at" | "after" | "isClose" | "isFirst" | "clusterMs">): void {
    const [body] = found.block;
    const track = (this.rest[body] ?? 0) & 0x7f;
    const at = this.clusterMs + ((((this.rest[body + 1] ?? 0) << 24) | ((this.rest[body + 2] ?? 0) << 16)) >> 16);
    const last = this.last.get(track);
    const after = last ? at - last.at : 0;
    const isPicture = track === VIDEO_TRACK;
    let close = 0;
    if (last && last.length !== null) close = last.length + CLOSE_MS;
    else if (last && !last.isFirst) close = Math.max(isPicture ? CLOSE_MS : 0, last.after * LIKE_BEFORE);
    const isClose = last !== undefined && after <= close;
    this.last.set(track, { ...found, isKey: found.isKey || !isPicture, at, after, isClose, isFirst: last?.clusterMs !== this.clusterMs, clusterMs: this.clusterMs });
    if (last && !isClose) this.tellLength(last, after);
    const all = [...this.last.values()];
    if (isPicture === this.hasVideo && all.every((one) => one.isClose)) this.safe = Math.min(...all.map((one) => one.start));
  }

  /** Writes to a frame how long it takes, unless it went out already. */
  private tellLength({ start, stop, block, after, isKey }: Frame, length: number): void {
    if (start < 0) return;
    const content = this.rest.slice(...block);
    content[3] = (content[3] ?? 0) & 0x0e;
    const parts = [element(BLOCK, content), element(BLOCK_DURATION, bytesOf(length, 4))];
    if (!isKey) parts.push(element(REFERENCE_BLOCK, bytesOf(-Math.max(1, after), 4)));
    const group = element(BLOCK_GROUP, join(parts));
    this.rest = join([this.rest.subarray(0, start), group, this.rest.subarray(stop)]);
    const by = group.byteLength - (stop - start);
    this.at += by;
    this.shift(stop, by);
  }

  /** What begins at `from` or later now lies so many bytes further on. */
  private shift(from: number, by: number): void {
    for (const [track, one] of this.last) {
      if (one.start >= from) this.last.set(track, { ...one, start: one.start + by, stop: one.stop + by, block: [one.block[0] + by, one.block[1] + by] });
    }
  }

  /** The head of the element at `at`, if all of it is there. */
  private element(at: number): Element | null {
    const first = this.rest[at];
    if (first === undefined || first === 0) return null;
    const idLength = Math.clz32(first) - 23;
    const second = this.rest[at + idLength];
    if (second === undefined) return null;
    const sizeLength = Math.clz32(second) - 23;
    const body = at + idLength + sizeLength;
    if (sizeLength > 8 || body > this.rest.byteLength) return null;
    const id = this.number(at, idLength);
    const isUnknown = (second & (0xff >> sizeLength)) === (0xff >> sizeLength) && this.rest.subarray(at + idLength + 1, body).every((byte) => byte === 0xff);
    const size = (second & (0xff >> sizeLength)) * 2 ** (8 * (sizeLength - 1)) + this.number(at + idLength + 1, sizeLength - 1);
    return { id, body, size: isUnknown ? null : size };
  }

  private number(at: number, length: number): number {
    let value = 0;
    for (const byte of this.rest.subarray(at, at + length)) value = value * 256 + byte;
    return value;
  }
}

function bytesOf(value: number, length: number): Uint8Array<ArrayBuffer> {
  return Uint8Array.from({ length }, (_, i) => value >> (8 * (length - 1 - i)));
}

function element(id: number, body: Uint8Array): Uint8Array<ArrayBuffer> {
  return join([Uint8Array.of(id), bytesOf(0x10000000 | body.byteLength, 4), body]);
}

function join(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const all = new Uint8Array(parts.reduce((sum, { byteLength }) => sum + byteLength, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.byteLength;
  }
  return all;
}
