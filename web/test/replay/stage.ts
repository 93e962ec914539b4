// Media elements in virtual time, as browsers' are: they start late, drift, tell their place late, stand still now and
// then, and seek slowly. Every chance comes from a seed.
import { LOOK_MS } from "../../src/client/replay/sync.ts";
import type { Action, Member, Verdict } from "../../src/client/replay/sync.ts";

/** What elements of one browser are like; times in milliseconds. */
export interface Kind {
  /** From `play()` to moving. */
  start: [number, number];
  /** Its clock runs at 1 ± this. */
  drift: number;
  /** What it says of its place is this old at most, and changes in steps. */
  stale: number;
  seek: [number, number];
  /** From setting a rate to hearing it. */
  obeys: number;
  /** Stands still so often a minute, for so long, and then goes on from there. */
  stalls: number;
  stall: [number, number];
}

export const CHROMIUM: Kind = { start: [5, 40], drift: 0.0005, stale: 2, seek: [20, 200], obeys: 30, stalls: 0, stall: [0, 0] };
export const FIREFOX: Kind = { start: [10, 100], drift: 0.0005, stale: 40, seek: [30, 330], obeys: 120, stalls: 0, stall: [0, 0] };
export const LOADED: Kind = { ...FIREFOX, start: [10, 250], stale: 70, stalls: 0.5, stall: [40, 400] };

/** Random numbers that a seed repeats (mulberry32). */
export function chance(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

const STEP = 10;

export class Player {
  /** Where it really is. */
  position: number;
  seeks = 0;
  private kind: Kind;
  private random: () => number;
  private pace: number;
  private rate = 1;
  private coming: { at: number; rate: number }[] = [];
  private movesAt = 0;
  private seeksUntil = 0;
  private said: number;
  private saysAt = 0;

  constructor(position: number, kind: Kind, random: () => number) {
    this.position = position;
    this.said = position;
    this.kind = kind;
    this.random = random;
    this.pace = 1 + kind.drift * (2 * random() - 1);
  }

  private between([low, high]: [number, number]): number {
    return low + (high - low) * this.random();
  }

  get isReady(): boolean {
    return this.seeksUntil === 0;
  }

  start(now: number, rate: number): void {
    this.rate = rate;
    this.coming = [];
    this.movesAt = now + this.between(this.kind.start);
  }

  /** The group was put here, all standing. */
  put(position: number): void {
    this.position = position;
    this.said = position;
    this.seeksUntil = 0;
  }

  run(now: number): void {
    if (this.seeksUntil > now) return;
    this.seeksUntil = 0;
    const { kind } = this;
    while (this.coming[0] && this.coming[0].at <= now) this.rate = this.coming.shift()?.rate ?? this.rate;
    if (kind.stalls > 0 && this.random() < (kind.stalls * STEP) / 60_000) this.movesAt = now + this.between(kind.stall);
    if (now >= this.movesAt) this.position += STEP * this.rate * this.pace;
    if (now >= this.saysAt) {
      this.said = this.position;
      this.saysAt = now + this.random() * kind.stale;
    }
  }

  obey(now: number, action: Action): void {
    if (action.type === "rate") {
      this.coming.push({ at: now + this.kind.obeys, rate: action.rate });
      return;
    }
    this.seeks++;
    this.position = action.to;
    this.said = action.to;
    this.seeksUntil = now + this.between(this.kind.seek);
  }

  asMember(id: string): Member {
    return { id, position: this.said, ready: this.isReady };
  }
}

export interface Conductor {
  reset(): void;
  look(now: number, members: Member[], rate: number): Verdict;
}

/** Plays a group as the player does, and tells the real skew each 200 ms. The group is sought each `seekEvery` ms. */
export function play(sync: Conductor, players: Player[], { seconds, rate = 1, seekEvery = Infinity, lookMs = LOOK_MS, random = chance(1) }: { seconds: number; rate?: number; seekEvery?: number; lookMs?: number; random?: () => number }): number[] {
  const skews: number[] = [];
  for (const player of players) player.start(0, rate);
  for (let now = STEP; now <= seconds * 1000; now += STEP) {
    for (const player of players) player.run(now);
    if (now % seekEvery === 0) {
      const to = random() * 3_600_000;
      sync.reset();
      for (const player of players) {
        player.put(to);
        player.start(now, rate);
      }
    }
    if (now % lookMs === 0) {
      for (const action of sync.look(now, players.map((player, i) => player.asMember(String(i))), rate).actions) players[Number(action.id)]?.obey(now, action);
    }
    const places = players.filter((player) => player.isReady).map((player) => player.position);
    if (now % 200 === 0) skews.push(Math.max(...places) - Math.min(...places));
  }
  return skews;
}

/** The share of `skews` that is not beyond `limit`. */
export function within(skews: number[], limit: number): number {
  return skews.filter((skew) => skew <= limit).length / skews.length;
}
