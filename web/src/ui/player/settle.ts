// Waiting for media elements to have arrived where they were sent.

const NEWS = ["seeked", "canplay", "canplaythrough", "loadeddata", "error", "ended", "emptied"];

/** Ends when every element has stopped seeking and has data (`need` = its readyState), or after `within` ms. */
export function settled(elements: readonly HTMLMediaElement[], need: number, within: number): Promise<void> {
  const isThere = (one: HTMLMediaElement): boolean => one.error !== null || one.ended || (!one.seeking && one.readyState >= need);
  if (elements.every(isThere)) return Promise.resolve();
  return new Promise((resolve) => {
    const life = new AbortController();
    const done = (): void => {
      life.abort();
      clearTimeout(late);
      resolve();
    };
    const late = setTimeout(done, within);
    for (const one of elements) {
      for (const name of NEWS) {
        one.addEventListener(name, () => { if (elements.every(isThere)) done(); }, { signal: life.signal });
      }
    }
  });
}
