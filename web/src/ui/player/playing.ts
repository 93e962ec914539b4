// One file of a recording and the element that plays it.
import type { ManifestFile } from "../../client/replay/model.ts";
import type { Growing } from "./growing.ts";

/** One file and the element that plays it. */
export interface Part {
  file: ManifestFile;
  url: string;
  media: HTMLMediaElement;
  /** Where its clusters are listed while it grows; null for a closed file. */
  indexUrl: string | null;
  /** Never heard: its sound comes from another element. */
  isSilent: boolean;
}

/** The same while it is on the stage. */
export interface Playing extends Part {
  /** The element has the file's address. */
  isLoaded: boolean;
  /** The file cannot be played at all. */
  isBroken: boolean;
  /** The server was not there; tried again at this time. */
  retryAt: number | null;
  /** It was started at its first frame and has not been looked at since. */
  isFresh: boolean;
  /** Feeds the element while the file grows. */
  growing: Growing | null;
  life: AbortController;
}

/** Tells an element from all others of the group. */
export function keyOf(part: Playing): string {
  return `${part.file.file}/${part.media.localName}`;
}

/** On the clock of the recording, in milliseconds. */
export function positionOf(part: Playing): number {
  return part.file.offset_ms + part.media.currentTime * 1000;
}

/** It has data to go on and is where it was sent. */
export function isReady(part: Playing): boolean {
  return part.isLoaded && !part.media.seeking && part.media.readyState >= 3 && !part.media.ended;
}

/** Sends it to a time of the recording. */
export function place(part: Playing, at: number): void {
  const seconds = Math.max(0, (at - part.file.offset_ms) / 1000);
  if (part.growing) part.growing.seek(seconds);
  else part.media.currentTime = seconds;
}

/** A rate that differs from 1 by less is bent with its pitch, for a second at most: a semitone. */
const SLIGHT = 0.06;

/** Chromium loses some 10 ms at each end of a bend that keeps the pitch, is bent again for that, and so on for ever. */
export function bend({ media }: Playing, rate: number, plain: number): void {
  media.preservesPitch = plain !== 1 || rate === 1 || Math.abs(rate - 1) > SLIGHT;
  media.playbackRate = rate;
}

/** Lets go of all that is loaded. */
export function unload(part: Playing): void {
  part.isLoaded = false;
  part.retryAt = null;
  part.growing?.close();
  part.growing = null;
  part.media.pause();
  part.media.removeAttribute("src");
  part.media.load();
}
