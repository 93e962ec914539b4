import { describe, expect, it } from "vitest";
import type { ClientMessage } from "../src/client/protocol.ts";
import { parseServerMessage, roomName } from "../src/client/protocol.ts";

// One example per message, read by the server's tests too.
const GOLDEN = import.meta.glob<string>("../../signaling/messages/**/*.json", { query: "?raw", import: "default", eager: true });

function golden(): { path: string; text: string }[] {
  const entries = Object.entries(GOLDEN).map(([path, text]) => ({ path: path.replace(/^.*\/messages\//, ""), text }));
  return entries.sort((a, b) => a.path.localeCompare(b.path));
}

describe("messages of the server", () => {
  for (const { path, text } of golden().filter(({ path }) => path.startsWith("server"))) {
    it(`${path} is known`, () => {
      expect(parseServerMessage(text)).toEqual(JSON.parse(text));
    });
  }

  it("every message of the client has an example of the same shape", () => {
    const shapes = golden().filter(({ path }) => path.startsWith("client")).map(({ text }) => (JSON.parse(text) as ClientMessage).type);
    const known: Record<ClientMessage["type"], true> = {
      join: true, resume: true, publish: true, candidate: true, answer: true, restart: true, subscribe: true,
      mute: true, recording: true, consent: true, chat: true, moderate: true, renew: true, leave: true,
    };
    if (shapes.length > 0) expect([...new Set(shapes)].sort()).toEqual(Object.keys(known).sort());
  });

  it("unknown and broken ones are ignored", () => {
    for (const text of ["", "{", "null", "[]", "3", '{"type":"later"}', '{"kind":"joined"}']) {
      expect(parseServerMessage(text)).toBeNull();
    }
  });
});

describe("room names", () => {
  it("follow the server's rule", () => {
    const check = (raw: string, expected: string | null) => expect(roomName(raw), raw).toBe(expected);
    check("Team-1", "team-1");
    check(" e\u0301tude ", "étude");
    check("会议室", "会议室");
    check("हिन्दी", "हिन्दी");
    for (const bad of ["", ".hidden", "..", "a/b", "a b", "a\0b", "<b>", "a%2fb", "x".repeat(65)]) check(bad, null);
    check("x".repeat(64), "x".repeat(64));
  });
});
