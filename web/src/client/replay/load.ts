// Fetches a recording: its manifest and what happened in it. Says in one word why it could not.
import { ApiError, request } from "../api.ts";
import { VERSION } from "./model.ts";
import type { Manifest, RecordedEvent } from "./model.ts";

export type Failure = "missing" | "locked" | "newer" | "offline" | "failed";

export class LoadError extends Error {
  readonly why: Failure;

  constructor(why: Failure) {
    super(why);
    this.why = why;
  }
}

export async function loadManifest(id: string, signal: AbortSignal): Promise<Manifest> {
  let manifest: Manifest;
  try {
    manifest = await request<Manifest>(`/api/recordings/${encodeURIComponent(id)}`, { signal });
  } catch (error) {
    if (signal.aborted) throw error;
    throw new LoadError(whyOf(error));
  }
  if (manifest.version > VERSION) throw new LoadError("newer");
  return { ...manifest, files: manifest.files ?? [], participants: manifest.participants ?? [] };
}

/** `events.jsonl` as far as it can be read; a recording plays without it. */
export async function loadEvents(id: string, signal: AbortSignal): Promise<RecordedEvent[]> {
  try {
    const { events } = await request<{ events: RecordedEvent[] }>(`/api/recordings/${encodeURIComponent(id)}/events`, { signal });
    return events.filter((event) => typeof event?.t_ms === "number" && typeof event.type === "string").toSorted((a, b) => a.t_ms - b.t_ms);
  } catch {
    return [];
  }
}

function whyOf(error: unknown): Failure {
  if (!(error instanceof ApiError)) return "failed";
  switch (error.code) {
    case "recording-not-found":
    case "not-found":
    case "bad-request": return "missing";
    case "unauthorized":
    case "forbidden":
    case "token-expired": return "locked";
    case "offline": return "offline";
    default: return "failed";
  }
}
