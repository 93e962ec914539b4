// What the browser remembers between visits: who one is, and one's choices.
export interface Choices {
  microphone: boolean;
  camera: boolean;
  microphoneId: string;
  cameraId: string;
  speakerId: string;
  /** No echo cancelling, no noise suppression, stereo. */
  originalSound: boolean;
  /** Keys without Ctrl act in the call. */
  singleKeys: boolean;
  selfView: boolean;
}

const NAME = "reelay.name";
const PERSON = "reelay.person";
const CHOICES = "reelay.choices";
const DEFAULTS: Choices = {
  microphone: true,
  camera: true,
  microphoneId: "",
  cameraId: "",
  speakerId: "",
  originalSound: false,
  singleKeys: false,
  selfView: true,
};

export function rememberedName(): string {
  return read(NAME) ?? "";
}

export function rememberName(name: string): void {
  write(NAME, name);
}

/** A random key of this browser, so that a replay knows the person again. */
export function person(): string {
  const known = read(PERSON);
  if (known !== null && /^[0-9a-f]{32}$/.test(known)) return known;
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  const fresh = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  write(PERSON, fresh);
  return fresh;
}

export function choices(): Choices {
  try {
    const stored: unknown = JSON.parse(read(CHOICES) ?? "{}");
    return typeof stored === "object" && stored !== null ? { ...DEFAULTS, ...stored } : { ...DEFAULTS };
  } catch {
    return { ...DEFAULTS };
  }
}

export function rememberChoices(change: Partial<Choices>): void {
  write(CHOICES, JSON.stringify({ ...choices(), ...change }));
}

/** The way back into a call after a reload: kept for this tab only, and only as long as the server keeps the seat. */
export interface Seat {
  room: string;
  token: string;
  participant: string;
  name: string;
  at: number;
}

const SEAT = "reelay.seat";

export function rememberSeat(seat: Seat | null): void {
  try {
    if (seat === null) sessionStorage.removeItem(SEAT);
    else sessionStorage.setItem(SEAT, JSON.stringify(seat));
  } catch {
    // Without storage a reload means joining anew.
  }
}

export function rememberedSeat(room: string, now: number): Seat | null {
  try {
    const seat: unknown = JSON.parse(sessionStorage.getItem(SEAT) ?? "null");
    if (typeof seat !== "object" || seat === null) return null;
    const { room: where, token, participant, name, at } = seat as Partial<Seat>;
    const isWhole = typeof token === "string" && typeof participant === "string" && typeof name === "string" && typeof at === "number";
    if (!isWhole || where !== room || now - at > SEAT_MS) return null;
    return { room, token, participant, name, at };
  } catch {
    return null;
  }
}

/** The server keeps a seat for 30 s after the socket went. */
export const SEAT_MS = 30_000;

function read(key: string): string | null {
  try {
    return localStorage.getItem(key);
  } catch {
    return null;
  }
}

function write(key: string, value: string): void {
  try {
    localStorage.setItem(key, value);
  } catch {
    // A browser without storage forgets.
  }
}
