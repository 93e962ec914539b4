// Waiting for events with a deadline; never for a length of time.
import { setInterval as ticks } from "node:timers/promises";

/** Resolves with the first truthy value of `probe`; rejects, saying what was awaited, after `within` ms. */
export async function until(what, probe, within = 25_000) {
  const began = Date.now();
  let last;
  for await (const _ of ticks(50)) {
    try {
      last = await probe();
      if (last) {
        return last;
      }
    } catch (error) {
      last = error;
    }
    if (Date.now() - began > within) {
      throw new Error(`not within ${within} ms: ${what} (last: ${last instanceof Error ? last.message : JSON.stringify(last)})`);
    }
  }
}

/** Rejects if `promise` takes longer than `within` ms. */
export async function bounded(what, promise, within = 25_000) {
  const stop = new AbortController();
  const late = (async () => {
    let first = true;
    for await (const _ of ticks(within, undefined, { signal: stop.signal })) {
      if (first) {
        throw new Error(`not within ${within} ms: ${what}`);
      }
      first = false;
    }
  })();
  late.catch(() => {});
  try {
    return await Promise.race([promise, late]);
  } finally {
    stop.abort();
  }
}
