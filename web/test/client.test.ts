import { expect, it } from "vitest";
import { problemOf } from "../src/client/capture.ts";
import { levelOf } from "../src/client/levels.ts";
import { newsOf } from "../src/client/news.ts";
import type { Joined, Participant, ServerMessage } from "../src/client/protocol.ts";
import { reduce } from "../src/client/room-state.ts";
import type { RoomState } from "../src/client/room-state.ts";
import { withStereo } from "../src/client/sdp.ts";
import { clockBits, readClock } from "../src/client/synthetic.ts";

const someone = (id: string, name = id): Participant => ({ id, name, host: false, consent: "not-asked", recorded: false, away: false, tracks: [] });
const joined = (ids: string[]): Joined => ({
  type: "joined",
  room: "r",
  participant: "me",
  role: "join",
  grants: { join: true, publish: true, subscribe: true, watch: true, record: true, replay: true, download: true, delete: true, moderate: false, admin: false },
  resumed: false,
  resume: "t",
  participants: ids.map((id) => someone(id)),
  recording: { state: "off", duration_ms: 0, behind_ms: 0, consent_required: false },
  chat: [],
  watchers: 0,
  ice_servers: [],
  version: "0",
});

function play(messages: ServerMessage[]): { state: RoomState | null; news: string[] } {
  let state: RoomState | null = null;
  const news: string[] = [];
  for (const message of messages) {
    const after = reduce(state, message);
    news.push(...newsOf(state, after, message).map((one) => one.type));
    state = after;
  }
  return { state, news };
}

it("people keep their places, also after a resume", () => {
  const { state, news } = play([
    joined(["me", "a"]),
    { type: "participant-joined", participant: someone("b") },
    { type: "participant-updated", participant: someone("a", "Ana") },
    joined(["b", "me", "a", "c"]),
    { type: "participant-left", participant: "me", reason: "lost" },
  ]);
  expect(state?.participants.map((one) => one.id)).toEqual(["a", "b", "c"]);
  expect(news).toEqual(["came"]);
});

it("counts what is missing of the recording that runs, and not what was switched off", () => {
  const recording = (change: object): ServerMessage => ({ type: "recording", state: "recording", id: "r1", duration_ms: 0, behind_ms: 0, consent_required: false, ...change });
  const gap = (change: object): ServerMessage => ({ type: "recording-event", event: "gap", id: "r1", t_ms: 9000, at: "", participant: "a", kind: "video", reason: "loss", lasted_ms: 2500, ...change });
  const before = [joined(["me", "a"]), recording({}), recording({ duration_ms: 1000 })];
  const holes = [gap({}), gap({ kind: "audio", reason: "muted" }), gap({ kind: "audio", reason: "silence" }), gap({ reason: "ended" }), gap({ reason: "silence", participant: "gone" })];
  const { state, news } = play([...before, ...holes, recording({ state: "paused" })]);
  expect(state?.gaps).toEqual({ count: 2, last: { name: "", kind: "video", lasted_ms: 2500 } });
  expect(news.filter((one) => one === "recording-gap").length).toBe(2);
  expect(play([...before, gap({}), joined(["me", "a"])]).state?.gaps.count).toBe(0);
  expect(play([...before, gap({}), recording({ state: "off", id: undefined }), recording({ id: "r2" })]).state?.gaps.count).toBe(0);
});

it("a recording makes news when its state changes, not each second", () => {
  const at = (change: object): ServerMessage => ({ type: "recording", state: "recording", duration_ms: 0, behind_ms: 0, consent_required: false, ...change });
  const { news } = play([
    joined(["me"]),
    at({ state: "waiting" }),
    at({ duration_ms: 200 }),
    at({ duration_ms: 1200 }),
    at({ behind_ms: 4000 }),
    at({ behind_ms: 5000 }),
    at({ state: "interrupted", reason: "disk-full" }),
    at({}),
    at({ state: "off", id: "x" }),
  ]);
  expect(news).toEqual(["recording-started", "recording-behind", "recording-trouble", "recording-resumed", "recording-stopped"]);
});

it("browser errors become what a person can act on", () => {
  const check = (name: string, message: string, expected: string) => expect(problemOf(new DOMException(message, name))).toBe(expected);
  check("NotAllowedError", "Permission denied", "blocked");
  check("NotAllowedError", "Permission denied by system", "blocked-by-system");
  check("NotFoundError", "", "none");
  check("NotReadableError", "", "in-use");
  check("SecurityError", "", "insecure");
  check("UnknownError", "", "failed");
});

it("stereo is asked for in the audio sections named, and only once", () => {
  const audio = "m=audio 9 X 111\r\na=mid:0\r\na=rtpmap:111 opus/48000/2\r\na=fmtp:111 minptime=10;useinbandfec=1\r\n";
  const video = "m=video 9 X 96\r\na=mid:1\r\na=rtpmap:96 VP8/90000\r\n";
  const other = audio.replace("mid:0", "mid:2").replace("a=fmtp:111 minptime=10;useinbandfec=1\r\n", "");
  const sdp = `v=0\r\n${audio}${video}${other}`;
  expect(withStereo(sdp, new Set(["0"]))).toBe(sdp.replace("useinbandfec=1", "useinbandfec=1;stereo=1"));
  expect(withStereo(sdp)).toContain("a=rtpmap:111 opus/48000/2\r\na=fmtp:111 stereo=1\r\n");
  expect(withStereo(withStereo(sdp))).toBe(withStereo(sdp));
});

it("the clock in the test picture reads back at any size", () => {
  for (const [width, height] of [[1280, 720], [320, 180]] as const) {
    const now = 1_795_167_890_123;
    const pixels = new Uint8ClampedArray(width * height * 4);
    const block = width / 40;
    clockBits(now).forEach((bit, i) => {
      for (let x = Math.floor(i * block); x < (i + 1) * block; x += 1) {
        for (let y = Math.floor(height - block); y < height; y += 1) pixels[(y * width + x) * 4 + 1] = bit ? 230 : 20;
      }
    });
    expect(readClock(pixels, width, height)).toBe(now % 2 ** 32);
    pixels[(Math.floor(height - block / 2) * width + Math.floor(block / 2)) * 4 + 1] = 0;
    expect(readClock(pixels, width, height)).not.toBe(now % 2 ** 32);
  }
});

it("loudness is silent, full and clipped", () => {
  expect(levelOf(new Float32Array(64))).toEqual({ level: 0, isClipped: false });
  expect(levelOf(new Float32Array(64).fill(1))).toEqual({ level: 1, isClipped: true });
  const quiet = levelOf(new Float32Array(64).fill(0.01));
  expect(quiet.level).toBeGreaterThan(0.2);
  expect(quiet.level).toBeLessThan(0.6);
});
