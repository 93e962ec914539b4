// A recording as the replay page reads it: the manifest's shape, and what follows from it.
// Pure; times are milliseconds since the recording began.

export type Status = "waiting" | "recording" | "paused" | "repairing" | "complete" | "recovered" | "interrupted" | "failed";

/** A hole in one half of a file, on the clock of the file. */
export interface Gap {
  kind: "audio" | "video";
  from_ms: number;
  to_ms: number;
  cause: string;
}

/** Time that was cut out of all files. */
export interface Pause {
  at_ms: number;
  lasted_ms?: number | null;
}

/** A file over time: for each step bytes of picture and sound, pictures, milliseconds of silence put in, pictures put in. */
export interface FileReport {
  step_ms: number;
  steps: { v: number; a: number; f: number; s?: number; b?: number }[];
  /** Each change of size: time, width, height. */
  sizes?: [number, number, number][];
}

export interface ManifestFile {
  file: string;
  participant: string;
  person?: string;
  name: string;
  source: string;
  open?: boolean;
  offset_ms: number;
  duration_ms: number;
  video: { codec: string; width?: number; height?: number } | null;
  audio: { codec: string; channels?: number } | null;
  bytes: number;
  sha256?: string | null;
  closed_at?: string | null;
  close_reason?: string | null;
  sync?: string | null;
  gaps?: Gap[];
  counters?: Record<string, number>;
  report?: FileReport | null;
}

export interface ManifestPerson {
  id: string;
  person?: string;
  name: string;
  recorded?: boolean;
  joined_ms?: number;
  left_ms?: number | null;
}

export interface MediaUrls {
  url: string;
  download_url?: string;
  clip_url?: string;
  index_url?: string;
  thumb_url?: string;
}

/** Captions in one language. */
export interface CaptionsUrl {
  /** As in BCP 47. */
  language: string;
  url: string;
  /** The captions themselves, where they came along. */
  text?: string;
}

/** How much of a recording is missing. */
export interface Quality {
  mark: "whole" | "gaps" | "poor";
  missing_ms: number;
}

/** Where in a recording what was searched for is said. */
export interface Said {
  t_ms: number;
  who: string;
  text: string;
  language: string;
}

/** What a list entry and a manifest have in common. */
export interface Summary {
  version: number;
  id: string;
  room: string;
  title?: string;
  tags?: string[];
  keep?: boolean;
  state: Status;
  reason?: string | null;
  started_at: string;
  ended_at?: string | null;
  duration_ms: number;
  participants: ManifestPerson[];
  files_count?: number;
  size_bytes?: number;
  poster?: { file: string; t_ms: number; duration_ms: number };
  poster_url?: string | null;
  preview_url?: string | null;
  quality?: Quality;
  /** Only in answers to a search. */
  said?: Said;
}

export interface Manifest extends Summary {
  files: ManifestFile[];
  pauses?: Pause[];
  media?: Record<string, MediaUrls>;
  captions?: CaptionsUrl[];
  /** All of it as one ZIP; only for those who may download. */
  export_url?: string;
  /** Where links to a span are made; only for those who may download. */
  share_url?: string;
  /** Where markers are added; missing for who may not. */
  markers_url?: string;
}

/** A line of `events.jsonl`. */
export interface RecordedEvent {
  t_ms: number;
  at?: string;
  type: string;
  person?: string;
  participant?: string;
  participants?: string[];
  name?: string;
  text?: string;
  muted?: boolean;
  source?: string;
  kind?: string;
  /** Of a marker, for taking it back. */
  mark?: string;
}

/** The newest layout that these pages know. */
export const VERSION = 1;

/** One row of the stage and the timeline: a person's camera, or a screen of theirs. */
export interface Lane {
  id: string;
  person: string;
  name: string;
  source: string;
  files: ManifestFile[];
}

/** A stretch of time in a lane. */
export interface Span {
  from: number;
  to: number;
}

/**
 * What the health strip marks in a lane: a hole in the sound, a picture that stands still, a camera or microphone
 * that its owner had switched off, a person who did not agree to be recorded, a spot that was repaired.
 */
export interface Spot extends Span {
  what: "gap" | "freeze" | "off" | "consent" | "repaired";
  kind: "audio" | "video";
  cause: string;
  file: string;
  name: string;
}

export function endOf(file: ManifestFile): number {
  return file.offset_ms + file.duration_ms;
}

/** True while files of it still grow. */
export function isGrowing(state: Status): boolean {
  return state === "recording" || state === "paused" || state === "waiting";
}

/** People's cameras in the order in which they came, each followed by their screens. */
export function lanes(files: readonly ManifestFile[]): Lane[] {
  const byId = new Map<string, Lane>();
  for (const file of files.toSorted((a, b) => a.offset_ms - b.offset_ms || a.file.localeCompare(b.file))) {
    const person = file.person ?? file.participant;
    const id = `${person}/${file.source}`;
    const lane = byId.get(id) ?? { id, person, name: file.name, source: file.source, files: [] };
    lane.files.push(file);
    // The last name holds: people mend typing errors in it.
    lane.name = file.name || lane.name;
    byId.set(id, lane);
  }
  const order = new Map<string, number>();
  for (const lane of byId.values()) {
    if (!order.has(lane.person)) order.set(lane.person, order.size);
  }
  const rank = (lane: Lane): number => (order.get(lane.person) ?? 0) * 10 + (lane.source === "camera" ? 0 : 1);
  return [...byId.values()].toSorted((a, b) => rank(a) - rank(b) || a.source.localeCompare(b.source));
}

/** Everybody who is in the recording, once. */
export function peopleOf(manifest: Pick<Manifest, "participants">): ManifestPerson[] {
  const all = manifest.participants.filter((one) => one.recorded !== false);
  return all.filter((one, i) => all.findIndex((other) => (other.person ?? other.id) === (one.person ?? one.id)) === i);
}

/** The file of a lane that plays at `t`; the later one where two overlap. */
export function fileAt(lane: Lane, t: number): ManifestFile | null {
  return lane.files.findLast((file) => file.offset_ms <= t && t < endOf(file)) ?? null;
}

/** How long the whole thing is: what the manifest says, or more if a file says more. */
export function lengthOf(manifest: Manifest): number {
  return Math.max(manifest.duration_ms, ...manifest.files.map(endOf), 0);
}

/** Holes and marks of a file on the clock of the recording. */
export function spots(file: ManifestFile): Spot[] {
  const found = (file.gaps ?? []).map((gap): Spot => {
    const from = Math.min(endOf(file), file.offset_ms + gap.from_ms);
    const to = Math.min(endOf(file), file.offset_ms + gap.to_ms);
    return { what: whatOf(gap), kind: gap.kind, cause: gap.cause, from, to: Math.max(from, to), file: file.file, name: file.name };
  });
  if (file.close_reason === "repaired") {
    found.push({ what: "repaired", kind: "video", cause: "repaired", from: endOf(file), to: endOf(file), file: file.file, name: file.name });
  }
  return found;
}

function whatOf(gap: Gap): Spot["what"] {
  if (gap.cause === "consent") return "consent";
  if (gap.cause === "muted" || gap.cause === "ended") return "off";
  // Sound without packets is what a microphone sends in a quiet room; a picture without them stands still.
  if (gap.kind === "audio") return gap.cause === "silence" ? "off" : "gap";
  return "freeze";
}

export type VerdictKind = "growing" | "whole" | "repaired" | "gaps" | "early" | "failed";

/** One sentence's worth of truth about the whole recording. */
export interface Verdict {
  kind: VerdictKind;
  holes: number;
  missing_ms: number;
  /** Whose files have holes; one name can be said. */
  names: string[];
  kinds: Spot["kind"][];
}

export function verdict(manifest: Manifest): Verdict {
  const holes = manifest.files.flatMap(spots).filter((spot) => spot.what === "gap" || spot.what === "freeze");
  const missing_ms = holes.reduce((sum, spot) => sum + spot.to - spot.from, 0);
  const names = [...new Set(holes.map((spot) => spot.name))];
  const kinds = [...new Set(holes.map((spot) => spot.kind))];
  const found = { holes: holes.length, missing_ms, names, kinds };
  if (isGrowing(manifest.state) || manifest.state === "repairing") return { kind: "growing", ...found };
  if (manifest.state === "failed") return { kind: "failed", ...found };
  if (manifest.state === "interrupted") return { kind: "early", ...found };
  if (manifest.state === "recovered") return { kind: "repaired", ...found };
  return { kind: holes.length > 0 ? "gaps" : "whole", ...found };
}

/** Where arrows and Shift+arrows stop: everything that happened, in order, without twins. */
export function stops(events: readonly RecordedEvent[], marks: readonly Spot[]): number[] {
  const told = events.filter((event) => event.type !== "speaking" && event.type !== "layer").map((event) => event.t_ms);
  return [...new Set([...told, ...marks.map((mark) => mark.from)])].toSorted((a, b) => a - b);
}

/** What was written in the last moments before `at`, the latest last: what is shown over the picture. */
export function chatAt(events: readonly RecordedEvent[], at: number, lasts = 8_000, most = 3): RecordedEvent[] {
  return events.filter((event) => event.type === "chat" && event.t_ms <= at && at - event.t_ms < lasts).slice(-most);
}

/** Who speaks at which times, from `speaking` events: each one holds until the next. */
export function speech(events: readonly RecordedEvent[], length: number): Map<string, Span[]> {
  const spans = new Map<string, Span[]>();
  const open = new Map<string, number>();
  const close = (who: string, to: number): void => {
    const from = open.get(who);
    open.delete(who);
    if (from === undefined || to <= from) return;
    const list = spans.get(who) ?? [];
    const last = list.at(-1);
    // Breathing between two sentences is not worth a hole of a pixel.
    if (last && from - last.to < 400) last.to = to;
    else list.push({ from, to });
    spans.set(who, list);
  };
  for (const event of events) {
    if (event.type !== "speaking") continue;
    const now = new Set(event.participants ?? []);
    for (const who of open.keys()) {
      if (!now.has(who)) close(who, event.t_ms);
    }
    for (const who of now) {
      if (!open.has(who)) open.set(who, event.t_ms);
    }
  }
  for (const who of open.keys()) close(who, length);
  return spans;
}

/** The loudest speaker at `t`, by the last `speaking` event before it. */
export function speakerAt(events: readonly RecordedEvent[], t: number): string | null {
  const last = events.findLast((event) => event.type === "speaking" && event.t_ms <= t && (event.participants ?? []).length > 0);
  return last?.participants?.[0] ?? null;
}

/** Stretches longer than `least` in which nobody spoke, for "skip silence". Empty when nobody's speech is known. */
export function silences(events: readonly RecordedEvent[], length: number, least = 2_000): Span[] {
  const all = [...speech(events, length).values()].flat().toSorted((a, b) => a.from - b.from);
  if (all.length === 0) return [];
  const found: Span[] = [];
  let until = 0;
  for (const span of all) {
    if (span.from - until >= least) found.push({ from: until + 300, to: span.from - 300 });
    until = Math.max(until, span.to);
  }
  if (length - until >= least) found.push({ from: until + 300, to: length });
  return found;
}
