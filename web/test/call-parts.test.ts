import { describe, expect, it } from "vitest";
import type { Config } from "../src/client/api.ts";
import { Speakers } from "../src/client/speakers.ts";
import { arrange } from "../src/ui/call/arrange.ts";
import { keyAction } from "../src/ui/call/keys.ts";
import type { Focus, Key } from "../src/ui/call/keys.ts";
import { invitation } from "../src/ui/call/reach.ts";

describe("keys", () => {
  const key = (change: Partial<Key>): Key => ({
    key: "", code: "", ctrlKey: false, metaKey: false, altKey: false, shiftKey: false, isComposing: false, repeat: false, ...change,
  });
  const page: Focus = { isText: false, isControl: false, isInMenu: false };
  const check = (change: Partial<Key>, expected: string | null, focus: Partial<Focus> = {}, single = false) =>
    expect(keyAction(key(change), { ...page, ...focus }, single), JSON.stringify(change)).toBe(expected);

  it("with Ctrl act everywhere", () => {
    check({ key: "d", ctrlKey: true }, "microphone");
    check({ key: "E", metaKey: true }, "camera");
    check({ key: "/", ctrlKey: true }, "help");
    check({ key: "d", ctrlKey: true }, "microphone", { isText: true });
    check({ key: "d", ctrlKey: true, altKey: true }, null);
    check({ key: "d", ctrlKey: true, shiftKey: true }, null);
    check({ key: "d", ctrlKey: true, metaKey: true }, null);
    check({ key: "d", ctrlKey: true, repeat: true }, null);
    check({ key: "F2" }, "bar");
  });

  it("single ones only when switched on, and never in a field, a menu or while composing", () => {
    check({ key: "m" }, null);
    check({ key: "m" }, "microphone", {}, true);
    check({ key: "G" }, "layout", {}, true);
    check({ key: "m" }, null, { isText: true }, true);
    check({ key: "m" }, null, { isInMenu: true }, true);
    check({ key: "m", isComposing: true }, null, {}, true);
    check({ key: "m", ctrlKey: true }, null, {}, true);
  });

  it("space talks unless it would press something", () => {
    check({ key: " ", code: "Space" }, "talk");
    check({ key: " ", code: "Space", repeat: true }, "talk");
    check({ key: " ", code: "Space" }, null, { isControl: true });
    check({ key: " ", code: "Space" }, null, { isText: true });
  });
});

describe("who speaks", () => {
  it("gets a ring after 300 ms and keeps it for a second", () => {
    const speakers = new Speakers();
    speakers.hear(["a"], 0);
    expect([...speakers.rings(200)]).toEqual([]);
    expect([...speakers.rings(300)]).toEqual(["a"]);
    speakers.hear([], 1_000);
    expect([...speakers.rings(1_900)]).toEqual(["a"]);
    expect([...speakers.rings(2_000)]).toEqual([]);
    expect(speakers.isBusy).toBe(false);
    expect(speakers.recent(50_000)).toEqual(["a"]);
    expect(speakers.recent(62_000)).toEqual([]);
  });

  it("a cough is no speech", () => {
    const speakers = new Speakers();
    speakers.hear(["a"], 0);
    speakers.hear([], 100);
    expect([...speakers.rings(500)]).toEqual([]);
  });

  it("the main one stays as long as they talk, and at least two seconds", () => {
    const speakers = new Speakers();
    speakers.hear(["a"], 0);
    expect(speakers.main(400)).toBe("a");
    speakers.hear(["b", "a"], 500);
    expect(speakers.main(5_000)).toBe("a");
    speakers.hear(["b"], 6_000);
    expect(speakers.main(6_500)).toBe("a");
    expect(speakers.main(7_100)).toBe("b");
  });
});

it("a hidden speaker takes the last place of the first page, nobody else moves", () => {
  const keys = ["a", "b", "c", "d", "e"];
  expect(arrange(keys, 5, ["e"], null)).toEqual({ keys, swapped: null });
  expect(arrange(keys, 3, [], null)).toEqual({ keys, swapped: null });
  expect(arrange(keys, 3, ["a"], null)).toEqual({ keys, swapped: null });
  expect(arrange(keys, 3, ["e", "a"], null)).toEqual({ keys: ["a", "b", "e", "d", "c"], swapped: "e" });
  expect(arrange(keys, 3, ["a"], "e").keys).toEqual(["a", "b", "e", "d", "c"]);
  expect(arrange(keys, 3, ["c", "e"], "e")).toEqual({ keys, swapped: null });
  expect(arrange(["a", "b", "c", "d"], 3, [], "e")).toEqual({ keys: ["a", "b", "c", "d"], swapped: null });
});

describe("the invitation tells who can open it", () => {
  const config = (change: Partial<Config>): Config => ({
    version: "0", auth: "open", watch: "link", recording: { start: "auto", consent: "notice", tracks: "av" }, lan: null, loopback: true, limits: {}, media: { udp_port: 1, addresses: [] }, ...change,
  });
  const local = { origin: "http://localhost:8080", hostname: "localhost" };
  it("on this computer, on the network, with a key", () => {
    expect(invitation("会", config({}), local)).toEqual({ url: "http://localhost:8080/r/%E4%BC%9A", reach: "this-computer" });
    const lan = { urls: ["https://192.168.1.5:8443/"], ca_url: "", fingerprint: "" };
    expect(invitation("a", config({ auth: "token", lan }), local)).toEqual({ url: "https://192.168.1.5:8443/r/a", reach: "key" });
    expect(invitation("a", config({}), { origin: "https://call.example", hostname: "call.example" }).reach).toBe("network");
  });
});
