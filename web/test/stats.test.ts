import { describe, expect, it } from "vitest";
import { judge, ownTrouble, QualityJudge, samplesOf } from "../src/client/stats.ts";
import type { Sample } from "../src/client/stats.ts";

const sample = (change: Partial<Sample>): Sample => ({ at: 0, received: 0, lost: 0, frozen_ms: 0, rtt_ms: 20, expected: "1 ", ...change });

describe("the rule over five seconds", () => {
  const check = (change: Partial<Sample>, expected: string) =>
    expect(judge([sample({}), sample({ at: 5000, received: 1000, ...change })])).toBe(expected);
  it("judges loss, delay and frozen pictures", () => {
    check({}, "good");
    check({ lost: 25 }, "good");
    check({ lost: 35 }, "weak");
    check({ lost: 100 }, "poor");
    check({ rtt_ms: 300 }, "weak");
    check({ frozen_ms: 500 }, "weak");
    check({ frozen_ms: 2000 }, "poor");
  });
});

describe("a judge", () => {
  it("gets worse within 2 s and better only after 10 s", () => {
    const one = new QualityJudge();
    let received = 0;
    let lost = 0;
    const second = (at: number, isBad: boolean): string => {
      received += 100;
      lost += isBad ? 20 : 0;
      return one.add(sample({ at: at * 1000, received, lost }));
    };
    expect(second(0, false)).toBe("good");
    expect(second(1, true)).toBe("good");
    expect(second(2, true)).toBe("poor");
    let at = 3;
    while (second(at, false) !== "good" && at < 60) at += 1;
    expect(at).toBeGreaterThanOrEqual(12);
    expect(at).toBeLessThan(30);
  });

  it("calls who is silent for 2 s lost, and found at the first packet", () => {
    const one = new QualityJudge();
    one.add(sample({ at: 0, received: 10 }));
    one.add(sample({ at: 1000, received: 20 }));
    expect(one.add(sample({ at: 2000, received: 20 }))).toBe("good");
    expect(one.add(sample({ at: 3000, received: 20 }))).toBe("lost");
    expect(one.add(sample({ at: 4000, received: 30 }))).toBe("good");
  });

  it("does not take a camera that was off for a frozen one", () => {
    const one = new QualityJudge();
    let received = 0;
    for (let at = 0; at < 20_000; at += 1000) {
      const isOff = at >= 5_000 && at < 9_000;
      received += 50;
      const frozen_ms = at > 9_000 ? 4_000 : 0;
      expect(one.add(sample({ at, received, frozen_ms, expected: isOff ? "0 " : "0 1 " })), String(at)).toBe("good");
    }
  });

  it("expects nothing of who is muted", () => {
    const one = new QualityJudge();
    for (let at = 0; at < 10_000; at += 1000) expect(one.add(sample({ at, received: 5, expected: "" }))).toBe("good");
  });
});

it("sums the flows of each person and takes the delay of the path", () => {
  const report: [string, Record<string, unknown>][] = [
    ["1", { type: "candidate-pair", nominated: true, currentRoundTripTime: 0.05 }],
    ["2", { type: "inbound-rtp", mid: "0", packetsReceived: 10, packetsLost: 1 }],
    ["3", { type: "inbound-rtp", mid: "1", packetsReceived: 5, packetsLost: -2, totalFreezesDuration: 0.5 }],
    ["4", { type: "inbound-rtp", mid: "2", packetsReceived: 7 }],
  ];
  const samples = samplesOf(report, (mid) => (mid === "2" ? null : { participant: "p", isExpected: mid === "1" }), 9);
  expect([...samples]).toEqual([["p", { at: 9, received: 15, lost: 1, frozen_ms: 500, rtt_ms: 50, expected: "1 " }]]);
});

it("names what the sending side suffers from", () => {
  expect(ownTrouble([["1", { type: "outbound-rtp", kind: "video", qualityLimitationReason: "cpu" }]])).toBe("computer");
  expect(ownTrouble([["1", { type: "remote-inbound-rtp", fractionLost: 0.2 }]])).toBe("upload");
  expect(ownTrouble([["1", { type: "outbound-rtp", kind: "video", qualityLimitationReason: "none" }]])).toBe("none");
  const layer = (frameHeight: number | undefined) => ({ type: "outbound-rtp", kind: "video", mid: "1", frameHeight, qualityLimitationReason: "bandwidth" });
  expect(ownTrouble([["q", layer(180)], ["h", layer(360)], ["f", layer(undefined)]])).toBe("none");
  expect(ownTrouble([["f", layer(undefined)], ["q", layer(180)]])).toBe("upload");
});

it("gives the figures that its judgement stands on", () => {
  const one = new QualityJudge();
  one.add({ at: 0, received: 0, lost: 0, frozen_ms: 0, rtt_ms: 40, expected: "1 " });
  one.add({ at: 10_000, received: 1_000, lost: 0, frozen_ms: 0, rtt_ms: 40, expected: "1 " });
  one.add({ at: 11_000, received: 1_090, lost: 10, frozen_ms: 300, rtt_ms: 50, expected: "1 " });
  expect(one.figures()).toEqual({ loss: 0.1, rtt_ms: 50, frozen_ms: 300 });
});
