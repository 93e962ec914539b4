// Fetches a recording: its manifest and what happened in it. Says in one word why it could not.
import { api, ApiError, request } from "../api.ts";
import { isEmbedded, serverUrl } from "../server.ts";
import { VERSION } from "./model.ts";
import type { Manifest, MediaUrls, RecordedEvent } from "./model.ts";

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
  if (isEmbedded() && manifest.media) manifest.media = elsewhere(manifest.media);
  const whole = { ...manifest, files: manifest.files ?? [], participants: manifest.participants ?? [] };
  return whole.state === "recording" ? upToNow(whole, signal) : whole;
}

/** The addresses of files as they work on a page that is not ours. */
function elsewhere(media: Record<string, MediaUrls>): Record<string, MediaUrls> {
  const urls = (one: MediaUrls) => Object.fromEntries(Object.entries(one).map(([door, url]) => [door, typeof url === "string" ? serverUrl(url) : url]));
  return Object.fromEntries(Object.entries(media).map(([file, one]) => [file, urls(one) as unknown as MediaUrls]));
}

/** The manifest on disk is a few seconds old while it grows; the room knows better. */
async function upToNow(manifest: Manifest, signal: AbortSignal): Promise<Manifest> {
  const room = await api.room(manifest.room, signal).catch(() => null);
  if (room?.recording.id !== manifest.id) return manifest;
  const duration_ms = Math.max(manifest.duration_ms, room.recording.duration_ms);
  const files = manifest.files.map((file) => (file.open ? { ...file, duration_ms: Math.max(file.duration_ms, duration_ms - file.offset_ms) } : file));
  return { ...manifest, duration_ms, files };
}

/** What happened, and where to go on asking while it grows. */
export interface Happened {
  /** With the markers among them. */
  events: RecordedEvent[];
  next: number;
}

interface Answer extends Happened {
  markers?: RecordedEvent[];
}

/** What happened since `before`; a recording plays without it. */
export async function loadEvents(id: string, before: Happened, signal: AbortSignal): Promise<Happened> {
  try {
    const { events, next, markers = [] } = await request<Answer>(`/api/recordings/${encodeURIComponent(id)}/events?after=${before.next}`, { signal });
    const isKnown = (event: RecordedEvent): boolean => typeof event?.t_ms === "number" && typeof event.type === "string";
    const fresh = events.filter(isKnown);
    const marks = markers.filter(isKnown);
    const idsOf = (list: readonly RecordedEvent[]): string => list.flatMap((event) => (event.type === "mark" ? (event.mark ?? "") : [])).toSorted().join();
    // The same list when nothing came: nothing is drawn anew then.
    if (fresh.length === 0 && idsOf(marks) === idsOf(before.events)) return before;
    const happened = before.events.filter((event) => event.type !== "mark");
    return { events: [...happened, ...fresh, ...marks].toSorted((a, b) => a.t_ms - b.t_ms), next };
  } catch {
    return before;
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
