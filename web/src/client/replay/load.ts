// Fetches a recording: its manifest and what happened in it. Says in one word why it could not.
import { api, ApiError, request } from "../api.ts";
import { accessToken } from "../access.ts";
import { isEmbedded, serverUrl } from "../server.ts";
import { parseCaptions } from "./captions.ts";
import type { Cue } from "./captions.ts";
import { VERSION } from "./model.ts";
import type { CaptionsUrl, Manifest, MediaUrls, RecordedEvent, Span } from "./model.ts";

export type Failure = "missing" | "locked" | "newer" | "offline" | "unsaved" | "failed";

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
  if (isEmbedded()) manifest.captions = manifest.captions?.map((one) => ({ ...one, url: serverUrl(one.url) }));
  const whole = { ...manifest, files: manifest.files ?? [], participants: manifest.participants ?? [] };
  return whole.state === "recording" ? upToNow(whole, signal) : whole;
}

/** A span that somebody shared: nothing else of the recording comes with it. */
export interface Clip {
  manifest: Manifest;
  events: RecordedEvent[];
  /** Where the span is in what comes, which begins a little earlier, at a full picture. */
  span: Span;
  downloadUrl: string | null;
  wholeUrl: string | null;
}

/** The span that a shared address means, by its query. */
export async function loadClip(id: string, query: string, signal: AbortSignal): Promise<Clip> {
  interface Answer extends Omit<Manifest, "captions"> {
    events: RecordedEvent[];
    from_ms: number;
    to_ms: number;
    download_url: string | null;
    whole_url: string | null;
    captions: { language: string; text: string }[];
  }
  try {
    const { captions, events, from_ms: from, to_ms: to, download_url: downloadUrl, whole_url: wholeUrl, ...rest } =
      await request<Answer>(`/api/recordings/${encodeURIComponent(id)}/share${query}`, { signal });
    const manifest = { ...rest, captions: captions.map((one) => ({ ...one, url: "" })) };
    return { manifest, events, span: { from, to }, downloadUrl, wholeUrl };
  } catch (error) {
    if (signal.aborted) throw error;
    throw new LoadError(whyOf(error));
  }
}

/** The addresses of files as they work on a page that is not ours. */
function elsewhere(media: Record<string, MediaUrls>): Record<string, MediaUrls> {
  const urls = (one: MediaUrls) => Object.fromEntries(Object.entries(one).map(([door, url]) => [door, typeof url === "string" ? serverUrl(url) : url]));
  return Object.fromEntries(Object.entries(media).map(([file, one]) => [file, urls(one) as unknown as MediaUrls]));
}

/** What is said when, from captions of a recording. */
export async function loadCaptions({ url, text }: CaptionsUrl, signal: AbortSignal): Promise<Cue[]> {
  if (text !== undefined) return parseCaptions(text);
  const token = accessToken();
  const headers: HeadersInit = token === null || url.includes("sig=") ? {} : { Authorization: `Bearer ${token}` };
  const answer = await fetch(url, { signal, headers });
  if (!answer.ok) throw new LoadError("failed");
  return parseCaptions(await answer.text());
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
    case "recording-active": return "unsaved";
    default: return "failed";
  }
}
