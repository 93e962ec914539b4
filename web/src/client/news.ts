// What happened between two states of a room that is worth a sentence.
import type { ChatLine, Kind, LeaveReason, ServerMessage } from "./protocol.ts";
import type { RoomState } from "./room-state.ts";

export type News =
  | { type: "came"; name: string }
  | { type: "went"; name: string; reason: LeaveReason }
  | { type: "chat"; line: ChatLine; isMine: boolean }
  | { type: "recording-started"; by: string | null }
  | { type: "recording-paused"; by: string | null }
  | { type: "recording-resumed" }
  | { type: "recording-stopped"; id: string | null; duration_ms: number }
  | { type: "recording-trouble"; reason: string | null; since_ms: number }
  | { type: "recording-behind"; behind_ms: number }
  | { type: "recording-gap"; name: string; kind: Kind; lasted_ms: number }
  | { type: "screen-on"; name: string; isMine: boolean }
  | { type: "screen-off"; name: string; isMine: boolean }
  | { type: "muted-by"; by: string; kind: Kind }
  | { type: "device-gone"; kind: Kind; label: string; now: string }
  | { type: "refused"; code: string; message: string };

export function newsOf(before: RoomState | null, after: RoomState | null, message: ServerMessage): News[] {
  if (before === null || after === null) return [];
  switch (message.type) {
    case "participant-joined": return [{ type: "came", name: message.participant.name }];
    case "participant-left": {
      const name = before.participants.find((one) => one.id === message.participant)?.name;
      return name === undefined || message.participant === before.me ? [] : [{ type: "went", name, reason: message.reason }];
    }
    case "participant-updated": return screens(before, after, message.participant.id);
    case "chat": {
      const { type: _, ...line } = message;
      return [{ type: "chat", line, isMine: message.participant === after.me }];
    }
    case "recording": return recording(before, after);
    case "recording-event": return after.gaps.last && after.gaps !== before.gaps ? [{ type: "recording-gap", ...after.gaps.last }] : [];
    default: return [];
  }
}

function screens(before: RoomState, after: RoomState, id: string): News[] {
  const isOn = (state: RoomState): boolean =>
    state.participants.some((one) => one.id === id && one.tracks.some((t) => t.source !== "camera" && t.kind === "video" && !t.muted));
  const [was, is] = [isOn(before), isOn(after)];
  const name = after.participants.find((one) => one.id === id)?.name ?? "";
  return was === is ? [] : [{ type: is ? "screen-on" : "screen-off", name, isMine: id === after.me }];
}

function recording(before: RoomState, after: RoomState): News[] {
  const [was, is] = [before.recording, after.recording];
  if (was.state !== is.state) {
    switch (is.state) {
      case "recording":
        if (was.state === "paused" || was.state === "interrupted") return [{ type: "recording-resumed" }];
        return [{ type: "recording-started", by: is.by ?? null }];
      case "paused": return [{ type: "recording-paused", by: is.by ?? null }];
      case "interrupted": return [{ type: "recording-trouble", reason: is.reason ?? null, since_ms: is.duration_ms }];
      case "off": return was.state === "waiting" ? [] : [{ type: "recording-stopped", id: is.id ?? was.id ?? null, duration_ms: is.duration_ms || was.duration_ms }];
      case "waiting": return [];
    }
  }
  const isLate = (ms: number): boolean => ms > BEHIND_MS;
  return isLate(is.behind_ms) && !isLate(was.behind_ms) ? [{ type: "recording-behind", behind_ms: is.behind_ms }] : [];
}

/** From here on the recording is behind. */
export const BEHIND_MS = 2_000;
