import { describe, expect, it } from "vitest";
import { fit, pageSize, place, shapeFor, stripSize, withStrip } from "../src/ui/layout.ts";

const VECTORS: [string, Record<number, string>][] = [
  ["374x600 8", { 1: "1x1 374x498", 2: "1x2 374x296", 3: "1x3 346x194", 4: "2x2 183x244", 5: "2x3 183x194", 6: "2x3 183x194", 7: "2x4 183x144", 8: "2x4 183x144", 9: "2x5 183x113", 10: "2x5 183x113", 12: "3x4 119x144" }],
  ["828x310 8", { 1: "1x1 551x310", 2: "2x1 410x307", 3: "3x1 270x203", 4: "2x2 268x151", 5: "3x2 268x151", 6: "3x2 268x151", 7: "4x2 201x150", 8: "4x2 201x150", 9: "5x2 159x119", 10: "5x2 159x119", 12: "4x3 174x98" }],
  ["1256x600 12", { 1: "1x1 1066x600", 2: "2x1 622x466", 3: "2x2 522x294", 4: "2x2 522x294", 5: "3x2 410x294", 6: "3x2 410x294", 7: "4x2 305x228", 8: "4x2 305x228", 9: "3x3 341x192", 10: "4x3 305x192", 12: "4x3 305x192" }],
];

describe("the shape of the grid", () => {
  for (const [stage, rows] of VECTORS) {
    const [size = "", gap = "0"] = stage.split(" ");
    const [width = 0, height = 0] = size.split("x").map(Number);
    for (const [n, expected] of Object.entries(rows)) {
      it(`${n} tiles in ${stage}`, () => {
        const shape = shapeFor(Number(n), { width, height }, Number(gap));
        expect(`${shape.columns}x${shape.rows} ${Math.floor(shape.width)}x${Math.floor(shape.height)}`).toBe(expected);
      });
    }
  }

  it("stays while the gain is small", () => {
    const stage = { width: 1256, height: 600 };
    expect(shapeFor(7, stage, 12, 3).columns).toBe(3);
    expect(shapeFor(2, stage, 12, 1).columns).toBe(2);
  });
});

it("tiles stay on the stage, do not overlap, and the last row is centred", () => {
  for (const stage of [{ width: 374, height: 600 }, { width: 1256, height: 600 }]) {
    for (let n = 1; n <= 12; n += 1) {
      const boxes = place(n, shapeFor(n, stage, 8), stage, 8);
      for (const [i, a] of boxes.entries()) {
        expect(a.x).toBeGreaterThanOrEqual(-1e-6);
        expect(a.y).toBeGreaterThanOrEqual(-1e-6);
        expect(a.x + a.width).toBeLessThanOrEqual(stage.width + 1e-6);
        expect(a.y + a.height).toBeLessThanOrEqual(stage.height + 1e-6);
        for (const b of boxes.slice(i + 1)) {
          const isApart = b.x >= a.x + a.width || a.x >= b.x + b.width || b.y >= a.y + a.height;
          expect(isApart, `${n} ${i}`).toBe(true);
        }
      }
      const last = boxes.filter((box) => box.y === boxes.at(-1)?.y);
      const middle = ((last[0]?.x ?? 0) + (last.at(-1)?.x ?? 0) + (last[0]?.width ?? 0)) / 2;
      expect(middle).toBeCloseTo(stage.width / 2);
    }
  }
});

it("tiles that would be too small go to further pages", () => {
  expect(pageSize(12, { width: 1256, height: 600 }, 12)).toBe(12);
  expect(pageSize(12, { width: 250, height: 300 }, 8)).toBeLessThan(7);
  expect(pageSize(40, { width: 1256, height: 600 }, 12)).toBe(12);
  expect(pageSize(1, { width: 50, height: 50 }, 8)).toBe(1);
});

it("a strip has at most six people and leaves most of the stage", () => {
  for (const stage of [{ width: 374, height: 600 }, { width: 1256, height: 600 }, { width: 828, height: 310 }]) {
    for (let n = 0; n <= 9; n += 1) {
      const { main, strip } = withStrip(n, stage, 8);
      expect(strip.length).toBe(stripSize(n, stage, 8));
      expect(strip.length).toBeLessThanOrEqual(6);
      expect(main.width * main.height).toBeGreaterThan(0.55 * stage.width * stage.height);
      for (const box of strip) {
        expect(box.x + box.width).toBeLessThanOrEqual(stage.width + 1e-6);
        expect(box.y + box.height).toBeLessThanOrEqual(stage.height + 1e-6);
        expect(box.y).toBeGreaterThanOrEqual(-1e-6);
        expect(box.x).toBeGreaterThanOrEqual(-1e-6);
      }
    }
  }
});

it("a strip shows fewer people where they would get too small, and the rest on further pages", () => {
  expect(stripSize(11, { width: 1256, height: 600 }, 12)).toBe(6);
  expect(stripSize(11, { width: 374, height: 600 }, 8)).toBe(4);
  expect(stripSize(11, { width: 828, height: 310 }, 8)).toBe(4);
  expect(stripSize(2, { width: 374, height: 600 }, 8)).toBe(2);
  expect(stripSize(3, { width: 40, height: 50 }, 8)).toBe(1);
});

it("pictures are cut by less than a third", () => {
  expect(fit({ width: 1280, height: 720 }, { width: 400, height: 300 })).toBe("cover");
  expect(fit({ width: 720, height: 1280 }, { width: 400, height: 300 })).toBe("contain");
});
