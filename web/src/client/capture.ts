// Opens a device, and reads from the browser's error what is in the way.
import { choices, person } from "./memory.ts";
import type { Kind } from "./protocol.ts";
import { syntheticCamera, syntheticMicrophone } from "./synthetic.ts";
import type { PictureSize } from "./synthetic.ts";

export type DeviceProblem = "blocked" | "blocked-by-system" | "none" | "in-use" | "insecure" | "failed";

/** The device that is our own picture or tone. */
export const TEST_DEVICE = "test-picture";

/** One stream with what is named; `""` is the browser's own choice. */
export async function openDevice(ids: Partial<Record<Kind, string>>, testSize: PictureSize): Promise<MediaStream> {
  if (ids.video === TEST_DEVICE || ids.audio === TEST_DEVICE) return testStream(ids, testSize);
  if (!navigator.mediaDevices) throw new DOMException("not a secure page", "SecurityError");
  try {
    return await navigator.mediaDevices.getUserMedia(constraints(ids));
  } catch (error) {
    const isOtherDevice = nameOf(error) === "OverconstrainedError" || nameOf(error) === "NotFoundError";
    const isChosen = Object.values(ids).some((id) => id !== "");
    if (!isOtherDevice || !isChosen) throw error;
    // The device of the last visit is not here today.
    const any = Object.fromEntries(Object.keys(ids).map((kind) => [kind, ""]));
    return navigator.mediaDevices.getUserMedia(constraints(any));
  }
}

/** What a failed request means for the person in front of the page. */
export function problemOf(error: unknown): DeviceProblem {
  switch (nameOf(error)) {
    case "NotAllowedError": return /system/i.test(messageOf(error)) ? "blocked-by-system" : "blocked";
    case "SecurityError": return "insecure";
    case "NotFoundError":
    case "OverconstrainedError": return "none";
    case "NotReadableError":
    case "AbortError":
    case "TrackStartError": return "in-use";
    default: return "failed";
  }
}

function constraints(ids: Partial<Record<Kind, string>>): MediaStreamConstraints {
  const exact = (id: string): { deviceId?: ConstrainDOMString } => (id === "" ? {} : { deviceId: { exact: id } });
  const isOriginal = choices().originalSound;
  return {
    audio: ids.audio !== undefined && {
      ...exact(ids.audio),
      echoCancellation: !isOriginal,
      noiseSuppression: !isOriginal,
      autoGainControl: !isOriginal,
      ...(isOriginal ? { channelCount: { ideal: 2 } } : {}),
    },
    video: ids.video !== undefined && {
      ...exact(ids.video),
      width: { ideal: 1280 },
      height: { ideal: 720 },
      frameRate: { ideal: 30, max: 30 },
    },
  };
}

async function testStream(ids: Partial<Record<Kind, string>>, size: PictureSize): Promise<MediaStream> {
  const stream = new MediaStream();
  if (ids.video !== undefined) stream.addTrack(syntheticCamera(size, person().slice(0, 4)));
  if (ids.audio !== undefined) stream.addTrack(syntheticMicrophone(440));
  return stream;
}

function nameOf(error: unknown): string {
  return error instanceof Error || error instanceof DOMException ? error.name : "";
}

function messageOf(error: unknown): string {
  return error instanceof Error || error instanceof DOMException ? error.message : "";
}
