import { describe, expect, it } from "vitest";
import { chatAt, fileAt, lanes, silences, speakerAt, speech, spots, stops, verdict } from "../../src/client/replay/model.ts";
import type { Manifest, ManifestFile } from "../../src/client/replay/model.ts";
import { figures } from "../../src/ui/player/flow.ts";
import { formatSpan, parseMoment, parseSpan } from "../../src/client/replay/when.ts";

function file(part: Partial<ManifestFile>): ManifestFile {
  return {
    file: "pa-camera-1.webm", participant: "pa", name: "Ana", source: "camera", offset_ms: 0, duration_ms: 10_000,
    video: { codec: "vp8" }, audio: { codec: "opus" }, bytes: 1, ...part,
  };
}

function manifest(part: Partial<Manifest>): Manifest {
  return { version: 1, id: "x", room: "team", state: "complete", started_at: "2026-01-01T00:00:00Z", duration_ms: 10_000, participants: [], files: [file({})], ...part };
}

it("shows chat for a while after it was written", () => {
  const events = [{ t_ms: 1_000, type: "mark", mark: "a", text: "one" }, { t_ms: 5_000, type: "chat", text: "hi" }];
  expect(chatAt(events, 4_999)).toEqual([]);
  expect(chatAt(events, 5_000)).toHaveLength(1);
  expect(chatAt(events, 13_000)).toEqual([]);
});

describe("lanes", () => {
  it("gives a person one lane however often they came, with their screens behind", () => {
    const found = lanes([
      file({ file: "b", participant: "pb", person: "bo", name: "Bo", offset_ms: 2_000 }),
      file({ file: "a2", participant: "pa2", person: "ana", name: "Ana M", offset_ms: 20_000 }),
      file({ file: "a1", participant: "pa1", person: "ana", offset_ms: 0 }),
      file({ file: "s", participant: "pa1", person: "ana", source: "screen1", offset_ms: 5_000 }),
    ]);
    expect(found.map((lane) => lane.id)).toEqual(["ana/camera", "ana/screen1", "bo/camera"]);
    expect(found[0]?.files.map((one) => one.file)).toEqual(["a1", "a2"]);
    expect(found[0]?.name).toBe("Ana M");
    const lane = found[0];
    if (!lane) throw new Error("no lane");
    expect(fileAt(lane, 9_999)?.file).toBe("a1");
    expect(fileAt(lane, 10_000)).toBeNull();
    expect(fileAt(lane, 20_000)?.file).toBe("a2");
  });
});

describe("verdict", () => {
  const gap = { kind: "audio", from_ms: 1_000, to_ms: 4_400, cause: "loss" } as const;
  it("says whole only when nothing is missing", () => {
    expect(verdict(manifest({})).kind).toBe("whole");
    expect(verdict(manifest({ files: [file({ gaps: [gap] })] }))).toEqual({ kind: "gaps", holes: 1, missing_ms: 3_400, names: ["Ana"], kinds: ["audio"] });
    expect(verdict(manifest({ files: [file({ gaps: [{ ...gap, cause: "muted" }, { ...gap, cause: "silence" }, { ...gap, cause: "consent" }] })] })).kind).toBe("whole");
    expect(verdict(manifest({ state: "recovered" })).kind).toBe("repaired");
    expect(verdict(manifest({ state: "interrupted" })).kind).toBe("early");
    expect(verdict(manifest({ state: "recording" })).kind).toBe("growing");
  });

  it("keeps holes inside their file", () => {
    const [spot] = spots(file({ offset_ms: 5_000, gaps: [{ kind: "video", from_ms: 9_000, to_ms: 69_000, cause: "stall" }] }));
    expect(spot).toMatchObject({ from: 14_000, to: 15_000, what: "freeze" });
  });
});

describe("speech", () => {
  const events = [
    { t_ms: 1_000, type: "speaking", participants: ["pa"] },
    { t_ms: 3_000, type: "speaking", participants: ["pb", "pa"] },
    { t_ms: 4_000, type: "speaking", participants: [] },
    { t_ms: 4_200, type: "speaking", participants: ["pb"] },
    { t_ms: 9_000, type: "speaking", participants: [] },
    { t_ms: 5_000, type: "chat", text: "hello" },
  ];
  it("makes spans, and joins what only a breath divides", () => {
    const found = speech(events, 20_000);
    expect(found.get("pa")).toEqual([{ from: 1_000, to: 4_000 }]);
    expect(found.get("pb")).toEqual([{ from: 3_000, to: 9_000 }]);
  });

  it("names the loudest, finds silences and the stops of the arrow keys", () => {
    expect(speakerAt(events, 3_500)).toBe("pb");
    expect(speakerAt(events, 500)).toBeNull();
    expect(silences(events, 20_000)).toEqual([{ from: 9_300, to: 20_000 }]);
    expect(silences([], 20_000)).toEqual([]);
    expect(stops(events, [])).toEqual([5_000]);
  });
});

describe("moments in addresses", () => {
  it("reads seconds, units and colons", () => {
    const cases: [string, number | null][] = [["83", 83_000], ["1m23s", 83_000], ["1:23", 83_000], ["1:00:01.5", 3_601_500], ["2h", 7_200_000], ["x", null], ["", null], ["-5", null]];
    for (const [raw, expected] of cases) expect(parseMoment(raw), raw).toBe(expected);
    expect(parseSpan("10,20")).toEqual({ from: 10_000, to: 20_000 });
    expect(parseSpan("20,10")).toEqual({ from: 20_000, to: null });
    expect(parseSpan(null)).toBeNull();
    expect(formatSpan(83_040, 90_000)).toBe("83,90");
  });
});

it("sums up how a file was over time", () => {
  const steps = [{ v: 100_000, a: 4_000, f: 30 }, { v: 121_000, a: 4_000, f: 30 }, { v: 0, a: 0, f: 0, s: 1000, b: 1 }, { v: 50_000, a: 4_000, f: 15 }];
  const found = figures({ step_ms: 1000, steps, sizes: [[0, 1280, 720], [2_500, 640, 360]] });
  expect(found).toEqual({ peak_bps: 1_000_000, fps: 30, sizes: [{ t_ms: 0, width: 1280, height: 720 }, { t_ms: 2_500, width: 640, height: 360 }] });
  expect(figures({ step_ms: 2000, steps: [] })).toEqual({ peak_bps: 0, fps: 0, sizes: [] });
});
