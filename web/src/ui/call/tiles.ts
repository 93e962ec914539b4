// The tiles of a call, from what is known of the room and of this computer.
import type { Call } from "../../client/call.ts";
import type { Participant, Source } from "../../client/protocol.ts";
import { hasLive } from "../../client/room-state.ts";
import type { TileState } from "./tile.ts";

export interface TileContext {
  pinned: string | null;
  rings: ReadonlySet<string>;
}

/** One tile per person and one per screen of somebody else, in the order of coming. */
export function tilesOf(call: Call, context: TileContext): TileState[] {
  const { room } = call;
  if (room === null) return [];
  const isRecording = room.recording.state !== "off" && room.recording.state !== "waiting";
  return room.participants.flatMap((who) => {
    const isSelf = who.id === room.me;
    const base = {
      participant: who.id,
      name: who.name,
      isSelf,
      isHost: who.host,
      canModerate: room.grants.moderate && !isSelf,
      isUnrecorded: isRecording && !who.recorded,
      figures: () => call.figures(who.id),
      isAway: who.away && !isSelf,
      quality: isSelf ? ("good" as const) : (call.quality.get(who.id) ?? "good"),
    };
    const camera: TileState = { ...base, ...cameraOf(call, who, isSelf), key: `${who.id}/camera`, isScreen: false, isSpeaking: context.rings.has(who.id), isPinned: context.pinned === `${who.id}/camera` };
    const screens = isSelf ? [] : SCREENS.filter((source) => hasLive(who, source, "video")).map((source): TileState => ({
      ...base,
      key: `${who.id}/${source}`,
      isScreen: true,
      hasPicture: true,
      track: call.subscriber?.track(who.id, source, "video") ?? null,
      isMuted: false,
      isSpeaking: false,
      isPinned: context.pinned === `${who.id}/${source}`,
      isUnrecorded: false,
    }));
    return [camera, ...screens];
  });
}

function cameraOf(call: Call, who: Participant, isSelf: boolean): Pick<TileState, "hasPicture" | "track" | "isMuted"> {
  const { local } = call.options;
  if (isSelf && local) {
    return {
      hasPicture: local.camera.isWanted && local.camera.track !== null,
      track: local.camera.track,
      isMuted: !local.microphone.isWanted || local.microphone.track === null,
    };
  }
  return {
    hasPicture: hasLive(who, "camera", "video"),
    track: call.subscriber?.track(who.id, "camera", "video") ?? null,
    isMuted: !hasLive(who, "camera", "audio"),
  };
}

const SCREENS: Source[] = ["screen1", "screen2", "screen3"];
