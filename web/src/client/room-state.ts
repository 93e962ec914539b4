// What is known about the room, as a pure function of the server's messages.
import type { ChatLine, Grants, Kind, Participant, RecordingEvent, RoomRecording, ServerMessage } from "./protocol.ts";

/** Holes in the recording that runs, as far as this page was told. */
export interface Gaps {
  count: number;
  last: { name: string; kind: Kind; lasted_ms: number } | null;
}

export interface RoomState {
  room: string;
  me: string;
  grants: Grants;
  /** In the order in which they came; who stays keeps the place. */
  participants: Participant[];
  recording: RoomRecording;
  gaps: Gaps;
  chat: ChatLine[];
  watchers: number;
  /** Loudest first. */
  speaking: string[];
  version: string;
}

export function reduce(state: RoomState | null, message: ServerMessage): RoomState | null {
  if (message.type === "joined") return fromJoined(state, message);
  if (state === null) return null;
  switch (message.type) {
    case "participant-joined":
    case "participant-updated": return { ...state, participants: put(state.participants, message.participant) };
    case "participant-left": return {
      ...state,
      participants: state.participants.filter((one) => one.id !== message.participant),
      speaking: state.speaking.filter((id) => id !== message.participant),
    };
    case "renewed": return { ...state, grants: message.grants };
    case "speaking": return { ...state, speaking: message.participants };
    case "watchers": return { ...state, watchers: message.count };
    case "recording": {
      const { type: _, ...recording } = message;
      const isSame = recording.state !== "off" && (state.recording.id ?? recording.id) === recording.id;
      return { ...state, recording, gaps: isSame ? state.gaps : NO_GAPS };
    }
    case "recording-event": {
      if (!isHole(message)) return state;
      const name = state.participants.find((one) => one.id === message.participant)?.name ?? "";
      const last = { name, kind: message.kind ?? "video", lasted_ms: message.lasted_ms ?? 0 };
      return { ...state, gaps: { count: state.gaps.count + 1, last } };
    }
    case "chat": {
      const { type: _, ...line } = message;
      return { ...state, chat: [...state.chat, line].slice(-MAX_CHAT) };
    }
    default: return state;
  }
}

/** Something is missing that was meant to be there: not a muted microphone, and not a quiet one that sends nothing. */
export function isHole(event: RecordingEvent): boolean {
  if (event.event !== "gap" || ["muted", "ended", "consent"].includes(event.reason ?? "")) return false;
  return event.kind !== "audio" || event.reason !== "silence";
}

export function myself(state: RoomState): Participant | undefined {
  return state.participants.find((one) => one.id === state.me);
}

/** Whether somebody's screen is on: a share that ended stays listed as muted. */
export function hasLive(participant: Participant, source: string, kind: string): boolean {
  return participant.tracks.some((track) => track.source === source && track.kind === kind && !track.muted);
}

function fromJoined(before: RoomState | null, message: Extract<ServerMessage, { type: "joined" }>): RoomState {
  // After a resume the snapshot may list people in another order; those who were here keep their places.
  const order = new Map((before?.participants ?? []).map((one, index) => [one.id, index]));
  const place = (id: string): number => order.get(id) ?? Number.MAX_SAFE_INTEGER;
  const participants = [...message.participants].sort((a, b) => place(a.id) - place(b.id));
  return {
    room: message.room,
    me: message.participant,
    grants: message.grants,
    participants,
    recording: message.recording,
    gaps: before?.recording.id === message.recording.id ? (before?.gaps ?? NO_GAPS) : NO_GAPS,
    chat: message.chat,
    watchers: message.watchers,
    speaking: [],
    version: message.version,
  };
}

function put(participants: Participant[], one: Participant): Participant[] {
  const index = participants.findIndex((other) => other.id === one.id);
  return index < 0 ? [...participants, one] : participants.with(index, one);
}

const NO_GAPS: Gaps = { count: 0, last: null };
const MAX_CHAT = 500;
