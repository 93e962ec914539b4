// The socket: joins, comes back with the resume token when the line drops, and says in words where it stands.
import { Emitter } from "./emitter.ts";
import { SEAT_MS } from "./memory.ts";
import { parseServerMessage, SUBPROTOCOL } from "./protocol.ts";
import type { ClientMessage, ClosedReason, Join, Joined, ServerMessage } from "./protocol.ts";

export type SessionPhase =
  | { name: "joining" }
  | { name: "in" }
  /** The line dropped and the seat is still kept. */
  | { name: "away"; since: number }
  /** Away for too long; the seat is gone. */
  | { name: "lost" }
  /** The server did not let us in. */
  | { name: "refused"; code: string; message: string }
  /** The server ended it. */
  | { name: "closed"; reason: ClosedReason; by: string | null }
  | { name: "left" };

type SessionEvents = { message: ServerMessage; phase: SessionPhase };

export interface SessionOptions {
  url: string;
  join: Join;
  /** A seat from before a reload. */
  seat?: string;
  /** Told at each `joined`, to be kept for a reload. */
  onToken?: (joined: Joined) => void;
  openSocket?: (url: string) => WebSocket;
}

export class Session extends Emitter<SessionEvents> {
  phase: SessionPhase = { name: "joining" };
  private socket: WebSocket | null = null;
  private token: string | null;
  private media: "kept" | "new";
  private waiting: ClientMessage[] = [];
  private tries = 0;
  private retry: ReturnType<typeof setTimeout> | undefined;
  private deadline: ReturnType<typeof setTimeout> | undefined;
  private doubt: ReturnType<typeof setTimeout> | undefined;
  private readonly options: SessionOptions;
  private readonly life = new AbortController();

  constructor(options: SessionOptions) {
    super();
    this.options = options;
    this.token = options.seat ?? null;
    this.media = "new";
  }

  start(): void {
    const signal = this.life.signal;
    globalThis.addEventListener?.("online", () => this.connectNow(), { signal });
    globalThis.addEventListener?.("offline", () => this.drop(), { signal });
    this.connect();
  }

  /** Sends now, or as soon as we are in again. */
  send(message: ClientMessage): void {
    if (this.phase.name === "in" && this.socket?.readyState === OPEN) this.write(message);
    else if (this.isAlive() && this.waiting.length < MAX_WAITING) this.waiting.push(message);
  }

  /** Something that must be answered was sent: without any message soon, the line is dead, whatever the socket says. */
  expectAnswer(): void {
    if (this.phase.name !== "in" || this.doubt !== undefined) return;
    this.doubt = setTimeout(() => this.drop(), DOUBT_MS);
  }

  /** Gives the seat back, and says how this ended. */
  leave(as: SessionPhase = { name: "left" }): void {
    if (!this.isAlive()) return;
    if (this.socket?.readyState === OPEN) this.write({ type: "leave" });
    this.end(as);
  }

  private isAlive(): boolean {
    return this.phase.name === "joining" || this.phase.name === "in" || this.phase.name === "away";
  }

  private connectNow(): void {
    if (this.phase.name !== "away" || this.socket !== null) return;
    clearTimeout(this.retry);
    this.connect();
  }

  private connect(): void {
    const open = this.options.openSocket ?? ((url: string) => new WebSocket(url, SUBPROTOCOL));
    let socket: WebSocket;
    try {
      socket = open(this.options.url);
    } catch {
      this.onGone();
      return;
    }
    this.socket = socket;
    const isMine = (): boolean => this.socket === socket;
    // A connection that hangs while the network changes would otherwise take the browser's own minute.
    const patience = setTimeout(() => isMine() && this.drop(), CONNECT_MS);
    socket.onopen = () => isMine() && this.write(this.hello());
    socket.onmessage = (event: MessageEvent) => {
      clearTimeout(patience);
      if (isMine()) this.onText(String(event.data));
    };
    socket.onclose = () => {
      clearTimeout(patience);
      if (isMine()) this.onGone();
    };
  }

  private hello(): ClientMessage {
    return this.token === null ? this.options.join : { type: "resume", token: this.token, media: this.media };
  }

  private onText(text: string): void {
    clearTimeout(this.doubt);
    this.doubt = undefined;
    const message = parseServerMessage(text);
    if (message === null) return;
    switch (message.type) {
      case "joined": return this.onJoined(message);
      case "closed":
        // Too slow to read what the server had to say: the place is kept, so come back to it.
        if (message.reason === "dropped" && this.phase.name === "in") return this.drop();
        return this.end({ name: "closed", reason: message.reason, by: message.by });
      case "error":
        if (this.phase.name !== "in") return this.onRefused(message.code, message.message);
    }
    this.emit("message", message);
  }

  private onJoined(joined: Joined): void {
    clearTimeout(this.deadline);
    this.tries = 0;
    this.token = joined.resume;
    this.media = "kept";
    this.options.onToken?.(joined);
    this.set({ name: "in" });
    this.emit("message", joined);
    for (const message of this.waiting.splice(0)) this.write(message);
  }

  private onRefused(code: string, message: string): void {
    if (code === "resume-expired" && this.phase.name === "joining") {
      // The seat from before a reload is gone: come in as somebody new.
      this.token = null;
      this.closeSocket();
      this.connect();
    } else if (this.phase.name === "away") this.end(code === "resume-expired" ? { name: "lost" } : { name: "refused", code, message });
    else this.end({ name: "refused", code, message });
  }

  private drop(): void {
    if (!this.isAlive() || this.socket === null) return;
    this.closeSocket();
    this.onGone();
  }

  private onGone(): void {
    this.closeSocket();
    clearTimeout(this.doubt);
    this.doubt = undefined;
    if (this.phase.name === "in") {
      this.set({ name: "away", since: Date.now() });
      this.deadline = setTimeout(() => this.end({ name: "lost" }), SEAT_MS);
    }
    if (!this.isAlive()) return;
    if (this.phase.name === "joining" && this.tries >= MAX_FIRST_TRIES) {
      this.end({ name: "refused", code: "offline", message: "" });
      return;
    }
    this.retry = setTimeout(() => this.connect(), backoff(this.tries));
    this.tries += 1;
  }

  private write(message: ClientMessage): void {
    this.socket?.send(JSON.stringify(message));
  }

  private set(phase: SessionPhase): void {
    this.phase = phase;
    this.emit("phase", phase);
  }

  private end(phase: SessionPhase): void {
    clearTimeout(this.retry);
    clearTimeout(this.deadline);
    clearTimeout(this.doubt);
    this.life.abort();
    this.waiting = [];
    this.closeSocket();
    this.set(phase);
  }

  private closeSocket(): void {
    const socket = this.socket;
    this.socket = null;
    socket?.close();
  }
}

/** The wait before try number `tries`: doubling from 250 ms to 4 s, with a quarter of chance so that clients spread. */
export function backoff(tries: number, random: () => number = Math.random): number {
  return Math.min(4_000, 250 * 2 ** tries) * (0.75 + random() / 2);
}

/** Where the socket of this page's server is. */
export function signalUrl(base: { protocol: string; host: string }): string {
  return `${base.protocol === "https:" ? "wss" : "ws"}://${base.host}/signal`;
}

const OPEN = 1;
const MAX_WAITING = 200;
const MAX_FIRST_TRIES = 3;
const CONNECT_MS = 6_000;
const DOUBT_MS = 5_000;
