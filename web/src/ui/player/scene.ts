// What the stage shows at a moment: who is there, why somebody has no picture, and where the tiles go. Pure.
import { endOf, fileAt, speakerAt, spots } from "../../client/replay/model.ts";
import type { Lane, ManifestFile, RecordedEvent } from "../../client/replay/model.ts";
import { place, shapeFor, withStrip } from "../layout.ts";
import type { Box, Size } from "../layout.ts";

/** `screen`: a shared screen is large while there is one, else all are alike. */
export type Layout = "screen" | "grid" | "speaker" | "pinned";
export const LAYOUTS: readonly Layout[] = ["screen", "grid", "speaker", "pinned"];

/** One tile at one moment. */
export interface Face {
  id: string;
  isScreen: boolean;
  /** The file that plays for it, if one does. */
  file: string | null;
  /** Why there is no picture; `null` when there is one. */
  why: "camera-off" | "sound-only" | "away" | null;
  muted: boolean;
  speaks: boolean;
  loudest: boolean;
}

/** Somebody who comes back within this time keeps their place meanwhile. */
const SHORT_ABSENCE = 10_000;
const SOON = 1_000;

/** The tiles of a moment, in the order of the lanes. Before anybody came, everybody is shown. */
export function people(lanes: readonly Lane[], events: readonly RecordedEvent[], at: number): Face[] {
  const speaking = lastSpeaking(events, at);
  const loudest = speakerAt(events, at);
  const isBeforeAll = lanes.every((lane) => lane.files.every((file) => file.offset_ms > at));
  const faces = lanes.flatMap((lane): Face[] => {
    const file = fileAt(lane, at) ?? (isBeforeAll ? comingAt(lane, at) : null);
    const isScreen = lane.source !== "camera";
    if (!file && (isScreen || !isBetween(lane, at))) return [];
    const holes = file ? spots(file).filter((spot) => spot.from <= at && at < spot.to) : [];
    const isOff = holes.some((spot) => spot.kind === "video" && (spot.what === "off" || spot.what === "consent"));
    const ids = lane.files.map((one) => one.participant);
    return [{
      id: lane.id,
      isScreen,
      file: file?.file ?? null,
      why: !file ? "away" : !file.video ? "sound-only" : isOff ? "camera-off" : null,
      muted: holes.some((spot) => spot.kind === "audio" && spot.cause === "muted"),
      speaks: !isScreen && ids.some((id) => speaking.has(id)),
      loudest: !isScreen && loudest !== null && ids.includes(loudest),
    }];
  });
  if (faces.length > 0) return faces;
  return lanes.filter((lane) => lane.source === "camera").map((lane) => ({ id: lane.id, isScreen: false, file: null, why: "away", muted: false, speaks: false, loudest: false }));
}

/** Who comes within the second is shown already while nobody is there: time 0 lies a little before the first picture. */
function comingAt(lane: Lane, at: number): ManifestFile | null {
  return lane.files.find((file) => file.offset_ms > at && file.offset_ms - at <= SOON) ?? null;
}

function lastSpeaking(events: readonly RecordedEvent[], at: number): Set<string> {
  const last = events.findLast((event) => event.type === "speaking" && event.t_ms <= at);
  return new Set(last?.participants ?? []);
}

function isBetween(lane: Lane, at: number): boolean {
  const before = lane.files.findLast((file) => endOf(file) <= at);
  const after = lane.files.find((file) => file.offset_ms > at);
  return before !== undefined && after !== undefined && after.offset_ms - endOf(before) <= SHORT_ABSENCE;
}

export interface Scene {
  boxes: Map<string, Box>;
  /** Of the grid, to keep its shape; undefined while one tile is large. */
  columns: number | undefined;
}

/** Places for `ids`; `main` is large, if it is one of them. Beside it `loud` always has a place, whoever has none. */
export function arrange(ids: readonly string[], main: string | null, size: Size, columns: number | undefined, loud: string | null = null): Scene {
  const boxes = new Map<string, Box>();
  if (size.width === 0 || size.height === 0 || ids.length === 0) return { boxes, columns };
  const gap = size.width < 720 ? 8 : 12;
  if (main !== null && ids.includes(main)) {
    const others = ids.filter((id) => id !== main);
    const found = withStrip(others.length, size, gap);
    const last = found.strip.length - 1;
    if (loud !== null && last >= 0 && others.indexOf(loud) > last) others[last] = loud;
    boxes.set(main, whole(found.main));
    for (const [i, box] of found.strip.entries()) {
      const id = others[i];
      if (id !== undefined) boxes.set(id, whole(box));
    }
    return { boxes, columns: undefined };
  }
  const shape = shapeFor(ids.length, size, gap, columns);
  for (const [i, box] of place(ids.length, shape, size, gap).entries()) {
    const id = ids[i];
    if (id !== undefined) boxes.set(id, whole(box));
  }
  return { boxes, columns: shape.columns };
}

// Half pixels blur text.
function whole(box: Box): Box {
  return { x: Math.round(box.x), y: Math.round(box.y), width: Math.floor(box.width), height: Math.floor(box.height) };
}
