import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { backoff, Session, signalUrl } from "../src/client/session.ts";
import type { SessionPhase } from "../src/client/session.ts";

class FakeSocket {
  static all: FakeSocket[] = [];
  readyState = 0;
  sent: Record<string, unknown>[] = [];
  onopen: (() => void) | null = null;
  onclose: (() => void) | null = null;
  onmessage: ((event: { data: string }) => void) | null = null;

  constructor() {
    FakeSocket.all.push(this);
  }

  send(text: string): void {
    this.sent.push(JSON.parse(text) as Record<string, unknown>);
  }

  close(): void {
    this.readyState = 3;
  }

  open(): void {
    this.readyState = 1;
    this.onopen?.();
  }

  drop(): void {
    this.readyState = 3;
    this.onclose?.();
  }

  say(message: unknown): void {
    this.onmessage?.({ data: JSON.stringify(message) });
  }
}

function start(seat?: string): { session: Session; phases: string[]; last: () => FakeSocket } {
  const session = new Session({
    url: "ws://x/signal",
    join: { type: "join", room: "r" },
    ...(seat === undefined ? {} : { seat }),
    openSocket: () => new FakeSocket() as unknown as WebSocket,
  });
  const phases: string[] = [];
  session.on("phase", (phase: SessionPhase) => phases.push(phase.name));
  session.start();
  return { session, phases, last: () => FakeSocket.all.at(-1) as FakeSocket };
}

const joined = (resume: string) => ({ type: "joined", resume, participants: [] });

beforeEach(() => {
  FakeSocket.all = [];
  vi.useFakeTimers();
});
afterEach(() => vi.useRealTimers());

it("joins, and comes back with the newest token after a drop", () => {
  const { phases, last } = start();
  last().open();
  expect(last().sent).toEqual([{ type: "join", room: "r" }]);
  last().say(joined("one"));
  last().drop();
  expect(phases).toEqual(["in", "away"]);
  vi.advanceTimersByTime(400);
  last().open();
  expect(last().sent).toEqual([{ type: "resume", token: "one", media: "kept" }]);
  last().say(joined("two"));
  last().drop();
  vi.advanceTimersByTime(400);
  last().open();
  expect(last().sent[0]).toMatchObject({ token: "two" });
});

it("keeps what is said while away and says it after the resume", () => {
  const { session, last } = start();
  last().open();
  last().say(joined("one"));
  last().drop();
  session.send({ type: "chat", text: "still here" });
  vi.advanceTimersByTime(400);
  last().open();
  last().say(joined("two"));
  expect(last().sent.map((one) => one["type"])).toEqual(["resume", "chat"]);
});

it("is lost after 30 s away", () => {
  const { phases, last } = start();
  last().open();
  last().say(joined("one"));
  last().drop();
  vi.advanceTimersByTime(29_000);
  expect(phases.at(-1)).toBe("away");
  vi.advanceTimersByTime(2_000);
  expect(phases.at(-1)).toBe("lost");
  const tries = FakeSocket.all.length;
  vi.advanceTimersByTime(60_000);
  expect(FakeSocket.all.length).toBe(tries);
});

it("a reload resumes with new media, and joins anew when the seat is gone", () => {
  const { phases, last } = start("old");
  last().open();
  expect(last().sent).toEqual([{ type: "resume", token: "old", media: "new" }]);
  last().say({ type: "error", code: "resume-expired", message: "" });
  last().open();
  expect(last().sent).toEqual([{ type: "join", room: "r" }]);
  last().say(joined("new"));
  expect(phases).toEqual(["in"]);
});

it("says why it was refused and tries no more", () => {
  const { session, last } = start();
  last().open();
  last().say({ type: "error", code: "room-full", message: "12" });
  expect(session.phase).toEqual({ name: "refused", code: "room-full", message: "12" });
  vi.advanceTimersByTime(60_000);
  expect(FakeSocket.all.length).toBe(1);
});

it("gives up on a server that is not there", () => {
  const { session, last } = start();
  for (let i = 0; i < 4; i += 1) {
    last().drop();
    vi.advanceTimersByTime(5_000);
  }
  expect(session.phase).toMatchObject({ name: "refused", code: "offline" });
});

it("a silent line is dropped when an answer is due", () => {
  const { session, phases, last } = start();
  last().open();
  last().say(joined("one"));
  session.expectAnswer();
  vi.advanceTimersByTime(4_000);
  last().say({ type: "watchers", count: 1 });
  vi.advanceTimersByTime(4_000);
  expect(phases).toEqual(["in"]);
  session.expectAnswer();
  vi.advanceTimersByTime(5_100);
  expect(phases.at(-1)).toBe("away");
});

it("an old socket says nothing more", () => {
  const { phases, last } = start();
  last().open();
  last().say(joined("one"));
  const old = last();
  old.drop();
  old.say({ type: "closed", reason: "ended", by: null });
  expect(phases).toEqual(["in", "away"]);
});

it("comes back to its place when it was too slow, and ends when the server says so", () => {
  const { phases, last } = start();
  last().open();
  last().say(joined("one"));
  last().say({ type: "closed", reason: "dropped", by: null });
  expect(phases).toEqual(["in", "away"]);
  vi.advanceTimersByTime(1_000);
  last().open();
  expect(last().sent).toEqual([{ type: "resume", token: "one", media: "kept" }]);
  last().say(joined("two"));
  last().say({ type: "closed", reason: "expired", by: null });
  expect(phases).toEqual(["in", "away", "in", "closed"]);
});

it("waits longer each time, up to about 4 s", () => {
  expect([0, 1, 2, 9].map((n) => backoff(n, () => 0.5))).toEqual([250, 500, 1000, 4000]);
  expect(signalUrl({ protocol: "https:", host: "a:1" })).toBe("wss://a:1/signal");
});
