import { describe, expect, it } from "vitest";
import { LOOK_MS, median, SEEK_GAP, Sync } from "../../src/client/replay/sync.ts";
import { chance, CHROMIUM, FIREFOX, LOADED, play, Player, within } from "./stage.ts";
import type { Kind } from "./stage.ts";

const group = (kind: Kind, count: number, random: () => number): Player[] => Array.from({ length: count }, () => new Player(0, kind, random));
const beyond = (skews: number[], limit: number): number => skews.filter((skew) => skew > limit).length;

describe("sync", () => {
  it("takes the middle value as master", () => {
    expect(median([])).toBeNull();
    expect(median([3])).toBe(3);
    expect(median([9, 1])).toBe(1);
    expect(median([5, 100, 4])).toBe(5);
  });

  for (const [name, kind] of Object.entries({ CHROMIUM, FIREFOX })) {
    for (const seed of [1, 2, 3]) {
      it(`holds eight within 40 ms for an hour, sought each five minutes (like ${name}, seed ${seed})`, { timeout: 60_000 }, () => {
        const players = group(kind, 8, chance(seed));
        const skews = play(new Sync(), players, { seconds: 3600, seekEvery: 300_000, random: chance(seed) });
        expect(within(skews, 40)).toBeGreaterThan(0.99);
        expect(Math.max(...skews)).toBeLessThan(120);
        expect(players.reduce((sum, player) => sum + player.seeks, 0)).toBe(0);
      });

      it(`holds eight at double speed (like ${name}, seed ${seed})`, { timeout: 60_000 }, () => {
        const skews = play(new Sync(), group(kind, 8, chance(seed)), { seconds: 1800, rate: 2, seekEvery: 300_000, random: chance(seed) });
        expect(within(skews, 40)).toBeGreaterThan(0.98);
        // All start at once, but not at the same instant; what is left of that is gone within the second.
        expect(beyond(skews, 120) / skews.length).toBeLessThan(0.002);
      });
    }
  }

  it("holds sixteen, also when each starts, reads and stands still as on a machine without time", { timeout: 60_000 }, () => {
    const skews = play(new Sync(), group(LOADED, 16, chance(7)), { seconds: 1200 });
    expect(within(skews, 40)).toBeGreaterThan(0.8);
    expect(within(skews, 120)).toBeGreaterThan(0.9);
  });

  it("leaves alone what only reads late", () => {
    const still = { ...FIREFOX, start: [0, 0] as [number, number], drift: 0, stale: 60 };
    const sync = new Sync();
    let told = 0;
    const look = { reset: () => sync.reset(), look: (...args: Parameters<Sync["look"]>) => { const verdict = sync.look(...args); told += verdict.actions.length; return verdict; } };
    play(look, group(still, 8, chance(3)), { seconds: 600 });
    // A few bends in ten minutes of eight elements; each makes their sound work harder.
    expect(told).toBeLessThan(60);
  });

  it("brings one that was thrown off back, by one or two seeks", () => {
    for (const off of [-3000, -1000, -200, 200, 1000, 3000]) {
      const players = group(CHROMIUM, 4, chance(5));
      players[2]?.put(off);
      const skews = play(new Sync(), players, { seconds: 12 });
      expect(beyond(skews.slice(30), 40), `thrown off by ${off}`).toBe(0);
      expect(players[2]?.seeks).toBeLessThanOrEqual(2);
      expect(players[0]?.seeks).toBe(0);
    }
  });

  it("never seeks one element twice within the gap", () => {
    const sync = new Sync();
    const seeks: number[] = [];
    for (let now = 0; now < 20_000; now += LOOK_MS) {
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
    for (let now = 0; now < 8_000; now += LOOK_MS) {
      holds.push(sync.look(now, [{ id: "a", position: 5000, ready: true }, { id: "b", position: 5000, ready: false }], 1).hold);
    }
    expect(holds[0]).toBe(false);
    expect(holds[400 / LOOK_MS]).toBe(true);
    expect(holds.at(-1)).toBe(false);
  });

  it("has no position when nobody can tell", () => {
    expect(new Sync().look(0, [{ id: "a", position: 1, ready: false }], 1).position).toBeNull();
  });
});
