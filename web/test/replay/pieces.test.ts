import { describe, expect, it } from "vitest";
import { Pieces } from "../../src/client/replay/pieces.ts";
import { chance } from "./stage.ts";

const element = (id: number[], body: number[]): number[] => [...id, 0x40 | (body.length >> 8), body.length & 0xff, ...body];
const block = (track: number, at: number, size: number): number[] => [0x80 | track, (at >> 8) & 0xff, at & 0xff, 0, ...Array.from({ length: size }, (_, i) => i & 0xff)];
const picture = (at: number, size = 40): number[] => element([0xa3], block(1, at, size));
const sound = (at: number): number[] => element([0xa3], block(2, at, 20));
const fill = (at: number): number[] => element([0xa0], [...element([0xa1], block(1, at, 31)), ...element([0x9b], [1000 >> 8, 1000 & 0xff])]);
const four = (value: number): number[] => [24, 16, 8, 0].map((by) => (value >> by) & 0xff);
const long = (id: number, body: number[]): number[] => [id, ...four(0x10000000 | body.length), ...body];
/** A frame that is told how long it takes; a picture, too, that it is no keyframe and comes so long after the one before. */
const told = (frame: number[], length: number, after?: number): number[] =>
  long(0xa0, [...long(0xa1, frame.slice(3)), ...long(0x9b, four(length)), ...(after === undefined ? [] : long(0xfb, four(-Math.max(1, after))))]);
/** A cluster without a length, as one that grows has none. */
const cluster = (ms: number, ...blocks: number[][]): number[] => [0x1f, 0x43, 0xb6, 0x75, 0x01, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, ...element([0xe7], [(ms >> 16) & 0xff, (ms >> 8) & 0xff, ms & 0xff]), ...blocks.flat()];
const out = (pieces: Pieces, bytes: number[], isLast = false): number[] => [...pieces.push(new Uint8Array(bytes), isLast)];

describe("pieces", () => {
  it("ends where the next picture and the next sound are known to follow closely", () => {
    const pieces = new Pieces(true);
    expect(out(pieces, [...cluster(0, picture(0), sound(0), picture(33), sound(20), sound(40))])).toEqual([]);
    // The first ones of a cluster are told how long they take, because there is none before them to tell by.
    expect(out(pieces, picture(66))).toEqual([...cluster(0, told(picture(0), 33, 0), told(sound(0), 20), picture(33), sound(20))]);
    expect(pieces.held).toBe([...sound(40), ...picture(66)].length);
  });

  /** What begins like that goes out up to its last picture or sound. */
  const begun = (): Pieces => {
    const pieces = new Pieces(true);
    out(pieces, cluster(0, picture(0), sound(0), sound(20), picture(33), sound(40)));
    return pieces;
  };

  it("never ends where the next picture comes late, and says how long the one before is shown", () => {
    const pieces = begun();
    out(pieces, picture(66));
    expect(out(pieces, [...sound(60), ...sound(80), ...picture(366)])).toEqual([]);
    expect(out(pieces, picture(399))).toEqual([...sound(40), ...told(picture(66), 300, 33), ...sound(60)]);
  });

  it("never ends after sound that came right behind silence", () => {
    const pieces = begun();
    out(pieces, picture(66));
    expect(out(pieces, [...sound(60), ...sound(61), ...sound(80), ...picture(99)])).toEqual([]);
    expect(out(pieces, [...sound(100), ...picture(132)])).toEqual([...sound(40), ...picture(66), ...sound(60), ...told(sound(61), 19), ...sound(80), ...picture(99)]);
  });

  it("knows a slow picture from one that comes late", () => {
    const pieces = new Pieces(true);
    out(pieces, cluster(0, picture(0), sound(0), sound(20), sound(40), picture(200), picture(400)));
    expect(out(pieces, [...sound(60), ...picture(620)])).toEqual([...sound(40), ...picture(200), ...picture(400)]);
  });

  it("leaves no hole before a cluster whose first picture comes late", () => {
    const first = [...element([0xe7], [0, 0, 0]), ...picture(0), ...picture(33), ...sound(40)];
    const closed = [0x1f, 0x43, 0xb6, 0x75, 0x01, 0, 0, 0, 0, 0, first.length >> 8, first.length & 0xff, ...first];
    const black = cluster(1_033, fill(0));
    // The first cluster had a length, which is not true any more.
    expect(out(new Pieces(true), [...closed, ...black], true)).toEqual([...cluster(0, told(picture(0), 33, 0), told(picture(33), 1_000, 33), sound(40)), ...black]);
  });

  it("lets pictures go whose length the file says, each in a cluster of its own", () => {
    const pieces = new Pieces(true);
    expect(out(pieces, cluster(5_000, fill(0)))).toEqual([]);
    expect(out(pieces, cluster(6_000, fill(0))).length).toBe(cluster(5_000, fill(0), cluster(6_000)).length);
  });

  it("holds one sound where there are no pictures", () => {
    const pieces = new Pieces(false);
    expect(out(pieces, [...cluster(0, sound(0), sound(20), sound(40)), ...sound(60).slice(0, 9)])).toEqual(cluster(0, told(sound(0), 20), sound(20)));
    expect(out(pieces, sound(60).slice(9))).toEqual(sound(40));
  });

  it("gives everything in the same order, cut anywhere", () => {
    for (let seed = 1; seed <= 40; seed++) {
      const random = chance(seed);
      const file: number[] = [];
      const expected: number[] = [];
      const frames: { at: number; from: number; size: number }[] = [];
      for (let n = 0, at = 0, from = 0; n < 60; n++, at += random() < 0.1 ? 400 : 33) {
        if (n % 12 === 0) from = at;
        frames.push({ at, from, size: random() < 0.4 ? 0 : 1 + Math.floor(random() * 300) });
      }
      for (const [n, { at, from, size }] of frames.entries()) {
        if (n % 12 === 0) for (const bytes of [file, expected]) bytes.push(...cluster(from));
        const isPicture = size > 0;
        const own = frames.filter((one) => one.size > 0 === isPicture);
        const nth = own.findIndex((one) => one.at === at);
        const [before, next] = [own[nth - 1], own[nth + 1]];
        const after = at - (before?.at ?? at);
        const length = (next?.at ?? at) - at;
        const isFirst = before?.from !== from;
        const bytes = isPicture ? picture(at - from, size) : sound(at - from);
        const isTold = next !== undefined && (isFirst || length > Math.max(isPicture ? 50 : 0, after * 1.5));
        file.push(...bytes);
        expected.push(...(isTold ? told(bytes, length, isPicture ? after : undefined) : bytes));
      }
      const pieces = new Pieces(true);
      const got: number[] = [];
      for (let i = 0; i < file.length;) {
        const size = 1 + Math.floor(random() * 500);
        got.push(...out(pieces, file.slice(i, i + size)));
        i += size;
      }
      got.push(...out(pieces, [], true));
      expect(got.join() === expected.join(), `seed ${seed}`).toBe(true);
      expect(pieces.held).toBe(0);
    }
  });

  it("does not hold back for ever what it cannot read", () => {
    const pieces = new Pieces(true);
    expect(pieces.push(new Uint8Array(9 << 20), false).byteLength).toBe(9 << 20);
  });
});
