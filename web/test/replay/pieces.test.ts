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
/** A picture that is told how long it is shown, and that it is no keyframe and comes so long after the one before. */
const told = (at: number, length: number, after: number, size = 40): number[] => {
  const [track = 0, high = 0, low = 0, , ...bytes] = block(1, at, size);
  return long(0xa0, [...long(0xa1, [track, high, low, 0, ...bytes]), ...long(0x9b, four(length)), ...long(0xfb, four(-Math.max(1, after)))]);
};
/** A cluster without a length, as one that grows has none. */
const cluster = (ms: number, ...blocks: number[][]): number[] => [0x1f, 0x43, 0xb6, 0x75, 0x01, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, ...element([0xe7], [(ms >> 16) & 0xff, (ms >> 8) & 0xff, ms & 0xff]), ...blocks.flat()];
const out = (pieces: Pieces, bytes: number[], isLast = false): number[] => [...pieces.push(new Uint8Array(bytes), isLast)];

describe("pieces", () => {
  it("ends before a picture that follows closely, and holds that one", () => {
    const head = cluster(0, picture(0), sound(20));
    const pieces = new Pieces(true);
    expect(out(pieces, [...head, ...picture(33)])).toEqual(head);
    expect(pieces.held).toBe(picture(33).length);
  });

  it("never ends where the next picture comes late, and says how long the one before is shown", () => {
    const pieces = new Pieces(true);
    const before = cluster(0, picture(0));
    expect(out(pieces, [...before, ...picture(33)])).toEqual(before);
    // The picture of 33 ms is shown for 300 ms: it may not be the last of a piece.
    expect(out(pieces, [...sound(40), ...sound(60)])).toEqual([]);
    expect(out(pieces, picture(333))).toEqual([]);
    expect(out(pieces, picture(366))).toEqual([...told(33, 300, 33), ...sound(40), ...sound(60), ...picture(333)]);
  });

  it("knows a slow picture from one that comes late", () => {
    const pieces = new Pieces(true);
    out(pieces, [...cluster(0, picture(0)), ...picture(200), ...picture(400)]);
    expect(out(pieces, [...picture(620)])).toEqual([...picture(400)]);
  });

  it("lets pictures go whose length the file says, each in a cluster of its own", () => {
    const pieces = new Pieces(true);
    expect(out(pieces, cluster(5_000, fill(0), sound(20)))).toEqual([]);
    const next = cluster(6_000, fill(0));
    expect(out(pieces, next).length).toBe(cluster(5_000, fill(0), sound(20)).length + next.length - fill(0).length);
  });

  it("leaves no hole before a cluster whose first picture comes late", () => {
    const first = [...element([0xe7], [0, 0, 0]), ...picture(0), ...picture(33), ...sound(80)];
    const closed = [0x1f, 0x43, 0xb6, 0x75, 0x01, 0, 0, 0, 0, 0, first.length >> 8, first.length & 0xff, ...first];
    const black = cluster(1_033, fill(0));
    // The first cluster had a length, which is not true any more.
    expect(out(new Pieces(true), [...closed, ...black], true)).toEqual([...cluster(0, picture(0), told(33, 1_000, 33), sound(80)), ...black]);
  });

  it("holds no sound where there are no pictures, but no half block either", () => {
    const pieces = new Pieces(false);
    const whole = cluster(0, sound(0), sound(20));
    expect(out(pieces, [...whole, ...sound(40).slice(0, 9)])).toEqual(whole);
    expect(out(pieces, sound(40).slice(9))).toEqual(sound(40));
  });

  it("gives everything in the same order, cut anywhere", () => {
    for (let seed = 1; seed <= 40; seed++) {
      const random = chance(seed);
      const times: number[] = [];
      const sizes: number[] = [];
      for (let n = 0, at = 0; n < 60; n++, at += random() < 0.1 ? 400 : 33) {
        times.push(at);
        sizes.push(random() < 0.4 ? 0 : Math.floor(random() * 300));
      }
      const pictures = times.filter((_, n) => sizes[n] !== 0);
      const file: number[] = [];
      const expected: number[] = [];
      for (const [n, at] of times.entries()) {
        const [from = 0, size = 0] = [times[n - (n % 12)], sizes[n]];
        if (n % 12 === 0) for (const bytes of [file, expected]) bytes.push(...cluster(from));
        const nth = pictures.indexOf(at);
        const after = nth > 0 ? at - (pictures[nth - 1] ?? 0) : 0;
        const length = (pictures[nth + 1] ?? at) - at;
        file.push(...(size === 0 ? sound(at - from) : picture(at - from, size)));
        expected.push(...(size === 0 ? sound(at - from) : length > Math.max(50, after * 1.5) ? told(at - from, length, after, size) : picture(at - from, size)));
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
