// Where a WebM that comes in pieces may be cut before it goes to Media Source Extensions. Pure.
//
// A browser does not know how long the last picture of a piece is shown and takes it to be as long as the one before. If
// the next piece then begins later than that, Firefox drops all pictures up to the next keyframe. So a piece ends only
// where the next picture is known to follow closely; longer gaps lie inside a piece, where every length is known.

const CLUSTER = 0x1f43b675;
const TIMESTAMP = 0xe7;
const SIMPLE_BLOCK = 0xa3;
const BLOCK_GROUP = 0xa0;
const BLOCK = 0xa1;
const BLOCK_DURATION = 0x9b;
const VIDEO_TRACK = 1;
/** A picture that follows within this is close, whatever the one before was. */
const CLOSE_MS = 50;
/** And so is one that takes at most so much longer to come than the one before. */
const LIKE_BEFORE = 1.5;
/** More than this is not held back: it is no file of ours, or nobody could play it anyway. */
const MOST = 8 << 20;

interface Element {
  id: number;
  body: number;
  /** `null`: as long as its parent. */
  size: number | null;
}

export class Pieces {
  private rest: Uint8Array<ArrayBuffer> = new Uint8Array(0);
  /** Where reading goes on in `rest`. */
  private at = 0;
  /** What may go out already. */
  private safe = 0;
  private clusterMs = 0;
  /** Of the last picture: when, and how long after the one before; its end where the file says it. */
  private last: { at: number; after: number; end: number | null } | null = null;
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
    const all = new Uint8Array(this.rest.byteLength + bytes.byteLength);
    all.set(this.rest);
    all.set(bytes, this.rest.byteLength);
    this.rest = all;
    this.read();
    if (isLast || all.byteLength > MOST) this.safe = all.byteLength;
    const out = all.slice(0, this.safe);
    this.rest = all.slice(this.safe);
    this.at = Math.max(0, this.at - this.safe);
    this.safe = 0;
    return out;
  }

  private read(): void {
    for (let one = this.element(this.at); one !== null; one = this.element(this.at)) {
      if (one.id === CLUSTER) {
        this.at = one.body;
        continue;
      }
      const end = one.body + (one.size ?? 0);
      if (one.size === null || end > this.rest.byteLength) return;
      if (one.id === TIMESTAMP) this.clusterMs = this.number(one.body, one.size);
      else if (one.id === SIMPLE_BLOCK) this.picture(this.at, one.body, null);
      else if (one.id === BLOCK_GROUP) this.group(this.at, one.body, end);
      this.at = end;
      if (!this.hasVideo) this.safe = end;
    }
  }

  private group(start: number, body: number, end: number): void {
    let block: number | null = null;
    let duration: number | null = null;
    for (let at = body; at < end;) {
      const one = this.element(at);
      if (one === null || one.size === null) return;
      if (one.id === BLOCK) block = one.body;
      else if (one.id === BLOCK_DURATION) duration = this.number(one.body, one.size);
      at = one.body + one.size;
    }
    if (block !== null) this.picture(start, block, duration);
  }

  private picture(start: number, body: number, duration: number | null): void {
    if (this.rest[body] !== (0x80 | VIDEO_TRACK)) return;
    const offset = (((this.rest[body + 1] ?? 0) << 24) | ((this.rest[body + 2] ?? 0) << 16)) >> 16;
    const at = this.clusterMs + offset;
    const { last } = this;
    const after = last ? at - last.at : 0;
    if (last) {
      const gap = at - (last.end ?? last.at);
      if (gap <= (last.end === null ? Math.max(CLOSE_MS, last.after * LIKE_BEFORE) : CLOSE_MS)) this.safe = start;
    }
    this.last = { at, after, end: duration === null ? null : at + duration };
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
