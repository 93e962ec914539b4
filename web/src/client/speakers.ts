// Who speaks, calm enough to look at: a ring comes after 300 ms of speech and stays a second longer; the main speaker
// stays for at least two seconds and as long as they talk. Time comes in as an argument.
export class Speakers {
  private talking = new Map<string, { since: number; until: number | null }>();
  private lastHeard = new Map<string, number>();
  private chosen: { id: string; since: number } | null = null;
  private order: readonly string[] = [];

  /** The server's list, loudest first. */
  hear(ids: readonly string[], now: number): void {
    this.order = ids;
    for (const id of ids) {
      const known = this.talking.get(id);
      if (!known || (known.until !== null && now - known.until > OFF_MS)) this.talking.set(id, { since: now, until: null });
      else known.until = null;
    }
    for (const [id, one] of this.talking) {
      if (!ids.includes(id)) one.until ??= now;
    }
  }

  /** Who has a ring at `now`. */
  rings(now: number): Set<string> {
    const rings = new Set<string>();
    for (const [id, { since, until }] of this.talking) {
      const hasTalked = (until ?? now) - since >= ON_MS;
      if (hasTalked && (until === null || now - until < OFF_MS)) rings.add(id);
      if (hasTalked) this.lastHeard.set(id, until ?? now);
      if (until !== null && now - until >= OFF_MS) this.talking.delete(id);
    }
    return rings;
  }

  /** Who gets the large place at `now`. */
  main(now: number): string | null {
    const rings = this.rings(now);
    const next = this.order.find((id) => rings.has(id)) ?? [...rings][0];
    const mayChange = this.chosen === null || (now - this.chosen.since >= STAY_MS && !rings.has(this.chosen.id));
    if (next !== undefined && mayChange && next !== this.chosen?.id) this.chosen = { id: next, since: now };
    return this.chosen?.id ?? null;
  }

  /** Who spoke in the last minute, the latest first. */
  recent(now: number): string[] {
    this.rings(now);
    return [...this.lastHeard].filter(([, at]) => now - at < RECENT_MS).sort((a, b) => b[1] - a[1]).map(([id]) => id);
  }

  /** True while rings may come or go without a word from the server. */
  get isBusy(): boolean {
    return this.talking.size > 0;
  }
}

const ON_MS = 300;
const OFF_MS = 1_000;
const STAY_MS = 2_000;
const RECENT_MS = 60_000;
