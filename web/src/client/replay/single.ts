// Work that takes longer than the time until it is asked for again: one run at a time. Pure.

/** A run that takes longer may have lost its line without a word. */
export const LOST_AFTER_MS = 30_000;

/** Whoever asks while a run for the same `key` is under way gets that one; another key does not wait. */
export class Single {
  private running: { key: string; end: Promise<void>; since: number } | null = null;

  run(key: string, work: () => Promise<void>): Promise<void> {
    const now = performance.now();
    if (this.running?.key === key && now - this.running.since < LOST_AFTER_MS) return this.running.end;
    const end = work().finally(() => {
      if (this.running === running) this.running = null;
    });
    const running = { key, end, since: now };
    this.running = running;
    return end;
  }
}
