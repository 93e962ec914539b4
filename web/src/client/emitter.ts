// Typed events without the DOM.
export class Emitter<Events extends Record<string, unknown>> {
  private listeners = new Map<keyof Events, Set<(value: never) => void>>();

  /** Calls back at each event until `signal` ends. */
  on<Name extends keyof Events>(name: Name, listener: (value: Events[Name]) => void, signal?: AbortSignal): void {
    if (signal?.aborted) return;
    const set = this.listeners.get(name) ?? new Set();
    this.listeners.set(name, set);
    set.add(listener);
    signal?.addEventListener("abort", () => set.delete(listener), { once: true });
  }

  emit<Name extends keyof Events>(name: Name, value: Events[Name]): void {
    // A copy, because a listener may remove itself.
    for (const listener of [...(this.listeners.get(name) ?? [])]) (listener as (value: Events[Name]) => void)(value);
  }
}
