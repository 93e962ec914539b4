// The messages of `/signal`, as `signaling/` defines them. `test/protocol.test.ts` reads the golden examples.

export const SUBPROTOCOL = "reelay.v1";

export type Kind = "audio" | "video";
export type Source = "camera" | "screen1" | "screen2" | "screen3";
export type Target = "publish" | "subscribe";
export type Role = "join" | "watch";
export type Consent = "not-asked" | "agreed" | "declined";
export type RecordingState = "off" | "waiting" | "recording" | "paused" | "interrupted";
export type RecordingAction = "start" | "stop" | "pause" | "resume";
export type LeaveReason = "left" | "lost" | "removed";
export type ClosedReason = "replaced" | "removed" | "ended" | "expired" | "stopping" | "dropped";

export interface TrackState {
  source: Source;
  kind: Kind;
  muted: boolean;
}

export interface Participant {
  id: string;
  name: string;
  host: boolean;
  consent: Consent;
  recorded: boolean;
  /** The connection is lost, and the place is kept for a while. */
  away: boolean;
  tracks: TrackState[];
}

export interface Grants {
  join: boolean;
  publish: boolean;
  subscribe: boolean;
  watch: boolean;
  record: boolean;
  replay: boolean;
  download: boolean;
  delete: boolean;
  moderate: boolean;
  admin: boolean;
}

export interface RoomRecording {
  state: RecordingState;
  id?: string;
  duration_ms: number;
  behind_ms: number;
  by?: string;
  reason?: string;
  consent_required: boolean;
}

export interface SubscribeTrack {
  mid: string;
  participant: string;
  source: Source;
  kind: Kind;
}

export interface PublishTrack {
  mid: string;
  source: Source;
  kind: Kind;
}

export interface ChatLine {
  participant: string;
  name: string;
  text: string;
  at: string;
}

export interface IceServer {
  urls: string[];
  username?: string;
  credential?: string;
}

export interface Joined {
  type: "joined";
  room: string;
  participant: string;
  role: Role;
  grants: Grants;
  resumed: boolean;
  resume: string;
  participants: Participant[];
  recording: RoomRecording;
  chat: ChatLine[];
  watchers: number;
  ice_servers: IceServer[];
  simulcast?: boolean;
  version: string;
}

export interface Join {
  type: "join";
  room: string;
  name?: string;
  role?: Role;
  person?: string;
  token?: string;
  consent?: Consent;
  wording?: string;
}

export type ClientMessage = (
  | Join
  | { type: "resume"; token: string; media: "kept" | "new" }
  | { type: "publish"; sdp: string; tracks: PublishTrack[]; media?: "kept" | "new" }
  | { type: "candidate"; target: Target; candidate: string; mid?: string | null }
  | { type: "answer"; id: number; sdp: string }
  | { type: "restart"; media?: "kept" | "new" }
  | { type: "subscribe"; want: string[] }
  | { type: "mute"; source: Source; kind: Kind; muted: boolean }
  | { type: "recording"; action: RecordingAction }
  | { type: "consent"; answer: Consent; wording: string }
  | { type: "chat"; text: string }
  | { type: "moderate"; action: "mute"; participant: string; source: Source; kind: Kind }
  | { type: "moderate"; action: "remove"; participant: string }
  | { type: "moderate"; action: "end" }
  | { type: "renew"; token: string }
  | { type: "leave" }
) & { ref?: string };

export type RecordingHappening =
  | "started" | "gap" | "paused" | "resumed" | "interrupted" | "disk-back" | "repaired" | "stopped" | "finished" | "deleted";

/** What happened to a recording of the room; fields that do not apply are left out. */
export interface RecordingEvent {
  event: RecordingHappening;
  id: string;
  t_ms: number;
  at: string;
  by?: string;
  reason?: string;
  participant?: string;
  source?: Source;
  kind?: Kind;
  from_ms?: number;
  lasted_ms?: number;
  state?: string;
}

export type ServerMessage =
  | Joined
  | { type: "published"; sdp: string; ref?: string }
  | { type: "offer"; id: number; sdp: string; tracks: SubscribeTrack[] }
  | { type: "candidate"; target: Target; candidate: string; mid: string | null }
  | { type: "participant-joined"; participant: Participant }
  | { type: "participant-updated"; participant: Participant }
  | { type: "participant-left"; participant: string; reason: LeaveReason }
  | { type: "speaking"; participants: string[] }
  | { type: "watchers"; count: number }
  | ({ type: "recording" } & RoomRecording)
  | ({ type: "recording-event" } & RecordingEvent)
  | { type: "consent-requested"; by: string | null }
  | ({ type: "chat" } & ChatLine)
  | { type: "mute-requested"; source: Source; kind: Kind; by: string }
  | { type: "expiring"; in_ms: number }
  | { type: "renewed"; grants: Grants; in_ms: number | null }
  | { type: "closed"; reason: ClosedReason; by: string | null }
  | { type: "error"; code: string; message: string; ref?: string };

const SERVER_TYPES: ReadonlySet<string> = new Set<ServerMessage["type"]>([
  "joined",
  "published",
  "offer",
  "candidate",
  "participant-joined",
  "participant-updated",
  "participant-left",
  "speaking",
  "watchers",
  "recording",
  "recording-event",
  "consent-requested",
  "chat",
  "mute-requested",
  "expiring",
  "renewed",
  "closed",
  "error",
]);

/** Reads one message; `null` for a type that this page does not know yet, which is no fault. */
export function parseServerMessage(text: string): ServerMessage | null {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return null;
  }
  if (typeof value !== "object" || value === null || !("type" in value)) return null;
  const { type } = value;
  return typeof type === "string" && SERVER_TYPES.has(type) ? (value as ServerMessage) : null;
}

/** The room name as the server will write it, or `null` when it cannot be one. */
export function roomName(raw: string): string | null {
  const name = raw.trim().normalize("NFC").toLowerCase().normalize("NFC");
  const length = [...name].length;
  const isValid = length >= 1 && length <= 64 && !name.startsWith(".") && /^[\p{L}\p{N}\p{M}\-_.]+$/u.test(name);
  return isValid ? name : null;
}
