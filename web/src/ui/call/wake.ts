// Keeps the screen of a phone on during a call.

/** Until `signal` ends; the browser gives the lock back whenever the page is hidden. */
export function stayAwake(signal: AbortSignal): void {
  const ask = async (): Promise<void> => {
    if (document.visibilityState !== "visible" || signal.aborted) return;
    try {
      const lock = await navigator.wakeLock.request("screen");
      signal.addEventListener("abort", () => void lock.release(), { once: true });
    } catch {
      // Not here, or the battery is low.
    }
  };
  if (!("wakeLock" in navigator)) return;
  document.addEventListener("visibilitychange", () => void ask(), { signal });
  void ask();
}
