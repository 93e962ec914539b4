// The HTTP side: fetch with the token, answers with types, problems with their stable code.
import { accessToken } from "./access.ts";
import { serverUrl } from "./server.ts";
import type { RoomRecording } from "./protocol.ts";

/** A refusal of the server (RFC 9457), or no answer at all (`code: "offline"`). */
export class ApiError extends Error {
  readonly code: string;
  readonly status: number;

  constructor(code: string, status: number, detail: string) {
    super(detail);
    this.code = code;
    this.status = status;
  }
}

export interface Config {
  version: string;
  auth: "open" | "token";
  watch: "off" | "link" | "open";
  recording: { start: "auto" | "manual" | "off"; consent: "notice" | "required"; tracks: "av" | "audio" };
  lan: Lan | null;
  loopback: boolean;
  limits: Record<string, number>;
  media: { udp_port: number; addresses: string[] };
}

/** What `--lan` adds: where others on this network find the server, and the certificate that they must trust. */
export interface Lan {
  urls: string[];
  ca_url: string;
  fingerprint: string;
}

export interface LiveRoom {
  room: string;
  participants: { id: string; name: string }[];
  watchers: number;
  recording: RoomRecording;
  watch: boolean;
}

export type RecordingStatus = "waiting" | "recording" | "paused" | "repairing" | "complete" | "recovered" | "interrupted" | "failed";

export interface RecordingPerson {
  id: string;
  person?: string;
  name: string;
}

/** A recording as a list shows it: the manifest without the details of its files. */
export interface RecordingEntry {
  id: string;
  room: string;
  state: RecordingStatus;
  reason?: string | null;
  started_at: string;
  ended_at?: string | null;
  duration_ms: number;
  participants: RecordingPerson[];
  files_count?: number;
  size_bytes?: number;
  title?: string;
  poster_url?: string | null;
}

export interface RecordingPage {
  recordings: RecordingEntry[];
  next: string | null;
}

/** One request to the API: JSON in, JSON out. */
export async function request<T>(path: string, init: RequestInit & { json?: unknown } = {}): Promise<T> {
  const { json, ...rest } = init;
  const headers = new Headers(init.headers);
  const token = accessToken();
  if (token !== null) headers.set("Authorization", `Bearer ${token}`);
  if (json !== undefined) headers.set("Content-Type", "application/json");
  const body = json === undefined ? init.body : JSON.stringify(json);
  let response: Response;
  try {
    response = await fetch(serverUrl(path), { ...rest, headers, body });
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new ApiError("offline", 0, "no answer");
  }
  if (!response.ok) throw await problem(response);
  const text = await response.text();
  return (text === "" ? undefined : JSON.parse(text)) as T;
}

/** True when the server wants a key and this tab has none: then asking only makes refusals. */
export function isLockedOut(config: Config): boolean {
  return config.auth === "token" && accessToken() === null;
}

export const api = {
  config: (signal?: AbortSignal): Promise<Config> => request("/api/config", { signal }),
  rooms: async (signal?: AbortSignal): Promise<LiveRoom[]> =>
    (await request<{ rooms: LiveRoom[] }>("/api/rooms", { signal })).rooms,
  room: (room: string, signal?: AbortSignal): Promise<LiveRoom> =>
    request(`/api/rooms/${encodeURIComponent(room)}`, { signal }),
  recordings: (query: Record<string, string> = {}, signal?: AbortSignal): Promise<RecordingPage> =>
    request(`/api/recordings?${new URLSearchParams(query)}`, { signal }),
};

async function problem(response: Response): Promise<ApiError> {
  try {
    const body = (await response.json()) as { code?: unknown; detail?: unknown };
    const code = typeof body.code === "string" ? body.code : "internal";
    return new ApiError(code, response.status, typeof body.detail === "string" ? body.detail : code);
  } catch {
    return new ApiError(response.status === 404 ? "not-found" : "internal", response.status, response.statusText);
  }
}
