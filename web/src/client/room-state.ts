// What is known about the room, as a pure function of the server's messages.
import type { ChatLine, Grants, Participant, RoomRecording, ServerMessage } from "./protocol.ts";

export interface RoomState {
  room: string;
  me: string;
  grants: Grants;
  /** In the order in which they came; who stays keeps the place. */
  participants: Participant[];
  recording: RoomRecording;
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
      return { ...state, recording };
    }
    case "chat": {
      const { type: _, ...line } = message;
      return { ...state, chat: [...state.chat, line].slice(-MAX_CHAT) };
    }
    default: return state;
  }
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

const MAX_CHAT = 500;
