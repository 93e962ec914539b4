import { describe, expect, it } from "vitest";
import { median, SEEK_GAP, Sync } from "../../src/client/replay/sync.ts";

/** A player that runs at its own pace and takes its time to seek. */
class Player {
  ready = true;
  private rate = 1;
  private wakesAt = 0;
  seeks = 0;
  position: number;
  readonly pace: number;
  readonly seekTakes: number;

  constructor(position: number, pace = 1, seekTakes = 80) {
    this.position = position;
    this.pace = pace;
    this.seekTakes = seekTakes;
  }

  run(now: number, ms: number): void {
    if (now < this.wakesAt) return;
    this.ready = true;
    this.position += ms * this.rate * this.pace;
  }

  seek(now: number, to: number): void {
    this.position = to;
    this.wakesAt = now + this.seekTakes;
    this.ready = false;
    this.seeks++;
  }

  setRate(rate: number): void {
    this.rate = rate;
  }
}

const STEP = 25;

function play(players: Player[], seconds: number, rate = 1, each: (now: number, skew: number) => void = () => {}): void {
  const sync = new Sync();
  for (const player of players) player.setRate(rate);
  for (let now = 0; now < seconds * 1000; now += STEP) {
    for (const player of players) player.run(now, STEP);
    if (now % 250 === 0) {
      const members = players.map((player, i) => ({ id: String(i), position: player.position, ready: player.ready }));
      for (const action of sync.look(now, members, rate).actions) {
        const player = players[Number(action.id)];
        if (action.type === "seek") player?.seek(now, action.to);
        else player?.setRate(action.rate);
      }
    }
    const positions = players.filter((player) => player.ready).map((player) => player.position);
    each(now, Math.max(...positions) - Math.min(...positions));
  }
}

describe("sync", () => {
  it("takes the middle value as master", () => {
    expect(median([])).toBeNull();
    expect(median([3])).toBe(3);
    expect(median([9, 1])).toBe(1);
    expect(median([5, 100, 4])).toBe(5);
  });

  it("holds players of slightly different pace within 40 ms for an hour", { timeout: 60_000 }, () => {
    const players = [1, 1.0005, 0.9995, 1.001, 0.999, 1, 1.0002, 0.9998].map((pace) => new Player(0, pace));
    let inside = 0;
    let all = 0;
    let worst = 0;
    play(players, 3600, 1, (_, skew) => {
      all++;
      if (skew <= 40) inside++;
      worst = Math.max(worst, skew);
    });
    expect(worst).toBeLessThan(120);
    expect(inside / all).toBeGreaterThan(0.99);
    expect(players.reduce((sum, player) => sum + player.seeks, 0)).toBe(0);
  });

  it("brings one that was thrown off back, by one or two seeks", () => {
    for (const off of [-3000, -1000, -200, 200, 1000, 3000]) {
      const players = [new Player(10_000), new Player(10_000), new Player(10_000 + off), new Player(10_000)];
      let backAt = 0;
      play(players, 12, 1, (now, skew) => {
        if (skew > 40) backAt = now;
      });
      expect(backAt, `thrown off by ${off}`).toBeLessThan(6_000);
      expect(players[2]?.seeks).toBeLessThanOrEqual(2);
      expect(players[0]?.seeks).toBe(0);
    }
  });

  it("holds at double speed too", () => {
    const players = [1, 1.002, 0.998, 1].map((pace) => new Player(0, pace));
    let worst = 0;
    play(players, 600, 2, (_, skew) => (worst = Math.max(worst, skew)));
    expect(worst).toBeLessThan(120);
  });

  it("never seeks one element twice within the gap", () => {
    const sync = new Sync();
    const seeks: number[] = [];
    for (let now = 0; now < 20_000; now += 250) {
      const { actions } = sync.look(now, [{ id: "a", position: now, ready: true }, { id: "b", position: now, ready: true }, { id: "c", position: now + 900, ready: true }], 1);
      if (actions.some((action) => action.type === "seek" && action.id === "c")) seeks.push(now);
    }
    for (const [i, at] of seeks.entries()) {
      if (i > 0) expect(at - (seeks[i - 1] ?? 0)).toBeGreaterThanOrEqual(SEEK_GAP);
    }
    expect(seeks.length).toBeGreaterThan(2);
  });

  it("stops the group for one that ran dry, and goes on without it in the end", () => {
    const sync = new Sync();
    const holds: boolean[] = [];
    for (let now = 0; now < 8_000; now += 250) {
      holds.push(sync.look(now, [{ id: "a", position: 5000, ready: true }, { id: "b", position: 5000, ready: false }], 1).hold);
    }
    expect(holds[0]).toBe(false);
    expect(holds[3]).toBe(true);
    expect(holds.at(-1)).toBe(false);
  });

  it("has no position when nobody can tell", () => {
    expect(new Sync().look(0, [{ id: "a", position: 1, ready: false }], 1).position).toBeNull();
  });
});
