import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Mender } from "../src/client/mender.ts";

describe("mender", () => {
  let restarts = 0;
  let mender: Mender;
  beforeEach(() => {
    vi.useFakeTimers();
    restarts = 0;
    mender = new Mender(() => restarts++);
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  it("lets short losses heal by themselves", () => {
    mender.onState("disconnected");
    vi.advanceTimersByTime(1_500);
    mender.onState("connected");
    vi.advanceTimersByTime(60_000);
    expect(restarts).toBe(0);
  });

  it("tries again while a network stays away, though the state never changes", () => {
    mender.onState("disconnected");
    vi.advanceTimersByTime(2_000);
    mender.onState("connecting");
    mender.onState("failed");
    const sofar = restarts;
    vi.advanceTimersByTime(15_000);
    expect(restarts - sofar).toBe(3);
    mender.onState("connected");
    vi.advanceTimersByTime(60_000);
    expect(restarts - sofar).toBe(3);
  });

  it("leaves a first connection alone", () => {
    mender.onState("connecting");
    vi.advanceTimersByTime(60_000);
    expect(restarts).toBe(0);
  });
});
