import { expect, it } from "vitest";
import { bytes, duration } from "../src/words/format.ts";
import { choose } from "../src/words/index.ts";

it("the first language with words is chosen", () => {
  expect(choose(["fr", "zh-TW", "en"])).toBe("zh");
  expect(choose(["en-US", "zh"])).toBe("en");
  expect(choose(["fr"])).toBe("en");
});

it("times and sizes read as people write them", () => {
  expect([0, 999, 61_000, 3_723_000].map(duration)).toEqual(["0:00", "0:00", "1:01", "1:02:03"]);
  expect([0, 999, 1500, 12_345_678].map(bytes)).toEqual(["0 byte", "999 byte", "1.5 kB", "12.3 MB"]);
});
