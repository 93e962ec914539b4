import { describe, expect, it } from "vitest";
import { lanes } from "../../src/client/replay/model.ts";
import type { ManifestFile } from "../../src/client/replay/model.ts";
import { arrange, people } from "../../src/ui/player/scene.ts";

function file(name: string, from: number, to: number, part: Partial<ManifestFile> = {}): ManifestFile {
  return { file: `${name}-${from}`, participant: `p${name}`, person: name, name, source: "camera", offset_ms: from, duration_ms: to - from, video: { codec: "vp8" }, audio: { codec: "opus" }, bytes: 1, ...part };
}

describe("people on the stage", () => {
  const all = lanes([
    file("ana", 60, 60_000, { gaps: [{ kind: "video", from_ms: 10_000, to_ms: 20_000, cause: "muted" }] }),
    file("bo", 5_000, 12_000),
    file("bo", 16_000, 60_000),
    file("cy", 5_000, 60_000, { video: null }),
    file("ana", 30_000, 40_000, { source: "screen1" }),
  ]);
  const at = (ms: number) => people(all, [], ms).map((face) => `${face.id}:${face.why ?? "picture"}`);

  it("shows who is there, with the reason where there is no picture", () => {
    expect(at(0)).toEqual(["ana/camera:picture"]);
    expect(at(6_000)).toEqual(["ana/camera:picture", "bo/camera:picture", "cy/camera:sound-only"]);
    expect(at(14_000)).toEqual(["ana/camera:camera-off", "bo/camera:away", "cy/camera:sound-only"]);
    expect(at(31_000)).toContain("ana/screen1:picture");
    expect(at(45_000)).not.toContain("ana/screen1:picture");
  });

  it("shows everybody when nobody is there", () => {
    expect(at(90_000)).toHaveLength(3);
  });

  it("gives one place to each, a large one to the main one", () => {
    const size = { width: 1256, height: 600 };
    const { boxes } = arrange(["a", "b", "c"], "b", size, undefined);
    const area = (id: string): number => (boxes.get(id)?.width ?? 0) * (boxes.get(id)?.height ?? 0);
    expect(area("b")).toBeGreaterThan(4 * area("a"));
    expect(arrange(["a", "b", "c", "d"], null, size, undefined).columns).toBe(2);
    expect(arrange([], null, size, undefined).boxes.size).toBe(0);
    const many = Array.from({ length: 9 }, (_, i) => `p${i}`);
    expect([...arrange(many, "p0", size, undefined).boxes.keys()]).toEqual(["p0", "p1", "p2", "p3", "p4", "p5", "p6"]);
    expect([...arrange(many, "p0", size, undefined, "p8").boxes.keys()]).toEqual(["p0", "p1", "p2", "p3", "p4", "p5", "p8"]);
  });
});
