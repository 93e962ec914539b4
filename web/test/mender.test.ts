import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Mender } from "../src/client/mender.ts";

describe("mender", () => {
  let cures: string[] = [];
  let mender: Mender;
  beforeEach(() => {
    vi.useFakeTimers();
    cures = [];
    mender = new Mender((cure) => cures.push(cure));
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  it("lets short losses heal by themselves", () => {
    mender.onState("disconnected");
    vi.advanceTimersByTime(1_500);
    mender.onState("connected");
    vi.advanceTimersByTime(60_000);
    expect(cures).toEqual([]);
  });

  it("restarts again before Firefox gives up, and while a network stays away, though the state never changes", () => {
    mender.onState("disconnected");
    vi.advanceTimersByTime(2_000);
    mender.onState("connecting");
    vi.advanceTimersByTime(4_999);
    expect(cures).toEqual(["restart", "restart"]);
    vi.advanceTimersByTime(8_000);
    expect(cures).toHaveLength(4);
    mender.onState("connected");
    vi.advanceTimersByTime(60_000);
    expect(cures).toHaveLength(4);
  });

  it("replaces what has failed, and restarts the new one if it does not come up", () => {
    mender.onState("disconnected");
    mender.onState("failed");
    expect(cures).toEqual(["replace"]);
    mender.onState("connecting");
    vi.advanceTimersByTime(4_000);
    expect(cures).toEqual(["replace", "restart"]);
  });

  it("leaves a first connection alone", () => {
    mender.onState("connecting");
    vi.advanceTimersByTime(60_000);
    expect(cures).toEqual([]);
  });
});
