// How well each person comes through, from getStats: pure rules over samples, and the loop that takes them.

export type Quality = "good" | "weak" | "poor" | "lost";

/** Counters of one person's flows, as they stand now. */
export interface Sample {
  at: number;
  received: number;
  lost: number;
  frozen_ms: number;
  rtt_ms: number;
  /** The m-lines that should carry something now, `""` for none: everything muted, or off screen. */
  expected: string;
}

/** What a person's connection did in the last seconds. */
export interface Figures {
  /** Part of the packets that did not come, 0 to 1. */
  loss: number;
  rtt_ms: number;
  /** How long the picture stood still. */
  frozen_ms: number;
}

/** Judges one person: worse at the second look, better only after 10 s, lost after 2 s without packets. */
export class QualityJudge {
  quality: Quality = "good";
  private samples: Sample[] = [];
  private previous: Sample | null = null;
  private graceUntil = 0;
  private lastPacketAt: number | null = null;
  private better: { quality: Quality; since: number } | null = null;
  private worse: { quality: Quality; since: number } | null = null;

  add(sample: Sample): Quality {
    const { previous } = this;
    const hasNew = previous === null || sample.received > previous.received;
    if (hasNew || sample.expected === "") this.lastPacketAt = sample.at;
    // What was off and comes back counts the pause as a freeze: begin anew, a little later.
    if (previous !== null && previous.expected !== sample.expected) this.graceUntil = sample.at + GRACE_MS;
    this.previous = sample;
    if (sample.at < this.graceUntil) this.samples = [];
    this.samples = [...this.samples.filter((one) => sample.at - one.at <= WINDOW_MS), sample];
    const silent_ms = sample.at - (this.lastPacketAt ?? sample.at);
    const now = sample.expected !== "" && silent_ms >= LOST_MS ? "lost" : judge(this.samples);
    this.turn(now, sample.at);
    return this.quality;
  }

  /** What the judgement stands on. */
  figures(): Figures {
    return figuresOf(this.samples);
  }

  private turn(now: Quality, at: number): void {
    const [is, was] = [RANK[now], RANK[this.quality]];
    if (is === was) {
      this.better = null;
      this.worse = null;
    } else if (is > was) {
      this.better = null;
      this.worse = this.worse ?? { quality: now, since: at };
      // "Lost" has waited already.
      if (now === "lost" || at - this.worse.since >= WORSE_MS) this.settle(now);
    } else if (this.quality === "lost") this.settle(now);
    else {
      this.worse = null;
      this.better = this.better?.quality === now ? this.better : { quality: now, since: at };
      if (at - this.better.since >= BETTER_MS) this.settle(now);
    }
  }

  private settle(quality: Quality): void {
    this.quality = quality;
    this.better = null;
    this.worse = null;
  }
}

/** The rule over the last 5 s, without memory. */
export function judge(samples: readonly Sample[]): Quality {
  const { loss, rtt_ms, frozen_ms } = figuresOf(samples);
  if (loss >= 0.08 || frozen_ms >= 2_000) return "poor";
  if (loss >= 0.03 || frozen_ms >= 500 || rtt_ms >= 300) return "weak";
  return "good";
}

function figuresOf(samples: readonly Sample[]): Figures {
  const [first, last] = [samples[0], samples.at(-1)];
  if (!first || !last || first === last) return { loss: 0, rtt_ms: 0, frozen_ms: 0 };
  const lost = Math.max(0, last.lost - first.lost);
  const received = Math.max(0, last.received - first.received);
  return { loss: lost + received === 0 ? 0 : lost / (lost + received), rtt_ms: last.rtt_ms, frozen_ms: last.frozen_ms - first.frozen_ms };
}

/** What the sending side suffers from, if anything: said once in words. */
export type OwnTrouble = "none" | "upload" | "computer";

/** Sums the inbound flows of each person; `owner` says whose an m-line is, `null` for one that is not expected now. */
export function samplesOf(
  report: Iterable<readonly [string, Record<string, unknown>]>,
  owner: (mid: string) => { participant: string; isExpected: boolean } | null,
  at: number,
): Map<string, Sample> {
  const people = new Map<string, Sample>();
  let rtt_ms = 0;
  for (const [, entry] of report) {
    if (entry["type"] === "candidate-pair" && entry["nominated"] === true) rtt_ms = number(entry["currentRoundTripTime"]) * 1000 || rtt_ms;
    if (entry["type"] !== "inbound-rtp" || typeof entry["mid"] !== "string") continue;
    const who = owner(entry["mid"]);
    if (who === null) continue;
    const sum = people.get(who.participant) ?? { at, received: 0, lost: 0, frozen_ms: 0, rtt_ms: 0, expected: "" };
    sum.received += number(entry["packetsReceived"]);
    sum.lost += Math.max(0, number(entry["packetsLost"]));
    if (who.isExpected) sum.frozen_ms += number(entry["totalFreezesDuration"]) * 1000;
    if (who.isExpected) sum.expected += `${entry["mid"]} `;
    people.set(who.participant, sum);
  }
  for (const sample of people.values()) sample.rtt_ms = rtt_ms;
  return people;
}

/** Reads the publishing side: loss that the server reports, or a processor that cannot keep up. */
export function ownTrouble(report: Iterable<readonly [string, Record<string, unknown>]>): OwnTrouble {
  let isSlow = false;
  let isLossy = false;
  /** Of each m-line the largest layer that is sent: what it does without is the trouble, not what small ones are for. */
  const largest = new Map<unknown, { height: number; reason: unknown }>();
  for (const [, entry] of report) {
    if (entry["type"] === "outbound-rtp" && entry["kind"] === "video") {
      const height = number(entry["frameHeight"]);
      if (height >= (largest.get(entry["mid"])?.height ?? 0)) largest.set(entry["mid"], { height, reason: entry["qualityLimitationReason"] });
    }
    if (entry["type"] === "remote-inbound-rtp" && number(entry["fractionLost"]) >= 0.08) isLossy = true;
  }
  for (const { height, reason } of largest.values()) {
    if (reason === "cpu") isSlow = true;
    if (reason === "bandwidth" && height > 0 && height < 360) isLossy = true;
  }
  if (isLossy) return "upload";
  return isSlow ? "computer" : "none";
}

function number(value: unknown): number {
  return typeof value === "number" && Number.isFinite(value) ? value : 0;
}

const RANK: Record<Quality, number> = { good: 0, weak: 1, poor: 2, lost: 3 };
const WINDOW_MS = 5_000;
const WORSE_MS = 1_000;
const BETTER_MS = 10_000;
const GRACE_MS = 2_500;
const LOST_MS = 2_000;
