// The self-test: one step after another, each with a verdict and a sentence. Joins a room of its own, sees itself
// through the server, records five seconds, plays them back and deletes them.
import { api, request } from "./api.ts";
import { Call } from "./call.ts";
import { LocalMedia } from "./devices.ts";
import type { Device } from "./devices.ts";
import { measure } from "./levels.ts";
import type { Manifest } from "./replay/model.ts";

export const STEPS = ["browser", "secure", "microphone", "camera", "socket", "udp", "tcp", "recording"] as const;
export type StepName = (typeof STEPS)[number];
export type StepState = "waiting" | "running" | "passed" | "failed" | "skipped";

/** Why, as a key of the page's words, with what belongs into the sentence. */
export type Why =
  | { says: "noWebRtc" | "noVp8" | "insecure" | "denied" | "missing" | "inUse" | "silent" | "still" | "dark" | "noSocket" | "noMedia" | "tcpLater" | "recordingOff" | "noRecording" | "notPlayable" | "needsBefore" | "testPicture" }
  | { says: "refused" | "device"; text: string }
  | { says: "recorded"; ms: number }
  | { says: "media"; ms: number; kind: string };

export interface Step {
  name: StepName;
  state: StepState;
  why: Why | null;
}

type Outcome = [StepState, Why | null];

const LISTEN_MS = 3_000;
const LOOK_MS = 2_500;
const SOCKET_MS = 8_000;
const MEDIA_MS = 10_000;
const WRITE_MS = 15_000;
const RECORD_MS = 5_000;
const PLAY_MS = 6_000;
const HEARD = 0.02;
const LOOK_AGAIN_MS = 100;

export class SelfTest {
  readonly steps: Step[] = STEPS.map((name) => ({ name, state: "waiting", why: null }));
  private local: LocalMedia | null = null;
  private calls: Call[] = [];
  private recording: string | null = null;
  private readonly onChange: () => void;
  private readonly signal: AbortSignal;
  private isSynthetic = false;

  /** Calls back at each change; ends early, and cleans up, when `signal` does. */
  constructor(onChange: () => void, signal: AbortSignal) {
    this.onChange = onChange;
    this.signal = signal;
  }

  async run(): Promise<void> {
    try {
      const hasRtc = await this.step("browser", () => this.browser());
      const isSecure = await this.step("secure", () => Promise.resolve<Outcome>(isSecureContext ? ["passed", null] : ["failed", { says: "insecure" }]));
      if (hasRtc && isSecure) await this.devices();
      else this.skip("microphone", "camera");
      const isIn = hasRtc && (await this.step("socket", () => this.socket()));
      const hasMedia = isIn && (await this.step("udp", () => this.media()));
      if (!isIn) this.skip(...(hasRtc ? [] : (["socket"] as const)), "udp");
      await this.step("tcp", () => Promise.resolve<Outcome>(["skipped", { says: "tcpLater" }]));
      if (hasMedia) await this.step("recording", () => this.record());
      else this.skip("recording");
    } finally {
      await this.clean();
    }
  }

  private async step(name: StepName, work: () => Promise<Outcome>): Promise<boolean> {
    this.signal.throwIfAborted();
    this.put(name, "running", null);
    let outcome: Outcome;
    try {
      outcome = await work();
    } catch (error) {
      this.signal.throwIfAborted();
      outcome = ["failed", { says: "refused", text: error instanceof Error ? error.message : String(error) }];
    }
    this.signal.throwIfAborted();
    this.put(name, ...outcome);
    return outcome[0] === "passed";
  }

  private skip(...names: StepName[]): void {
    for (const name of names) this.put(name, "skipped", { says: "needsBefore" });
  }

  private put(name: StepName, state: StepState, why: Why | null): void {
    const step = this.steps.find((one) => one.name === name);
    if (step) Object.assign(step, { state, why });
    this.onChange();
  }

  private browser(): Promise<Outcome> {
    if (typeof RTCPeerConnection === "undefined" || typeof WebSocket === "undefined") return Promise.resolve(["failed", { says: "noWebRtc" }]);
    const codecs = RTCRtpReceiver.getCapabilities?.("video")?.codecs ?? [];
    const canPlay = document.createElement("video").canPlayType('video/webm; codecs="vp8, opus"') !== "";
    const hasVp8 = codecs.some((codec) => codec.mimeType.toLowerCase() === "video/vp8") && canPlay;
    return Promise.resolve(hasVp8 ? ["passed", null] : ["failed", { says: "noVp8" }]);
  }

  // --- Devices -------------------------------------------------------------------------------------------------

  private async devices(): Promise<void> {
    this.put("microphone", "running", null);
    this.put("camera", "running", null);
    const local = new LocalMedia();
    this.local = local;
    await local.wantBoth();
    await this.step("microphone", () => this.hear(local));
    await this.step("camera", () => this.see(local));
  }

  private async hear(local: LocalMedia): Promise<Outcome> {
    const { track } = local.microphone;
    if (!track) return ["failed", problemOf(local.microphone)];
    const life = new AbortController();
    let loudest = 0;
    measure(track, ({ level }) => (loudest = Math.max(loudest, level)), life.signal);
    const isHeard = await this.until(() => loudest > HEARD, LISTEN_MS);
    life.abort();
    return isHeard ? ["passed", { says: "device", text: local.microphone.label }] : ["failed", { says: "silent" }];
  }

  private async see(local: LocalMedia): Promise<Outcome> {
    const { track } = local.camera;
    if (!track) return ["failed", problemOf(local.camera)];
    const eye = new Eye(track);
    const isMoving = await this.until(() => eye.look(), LOOK_MS);
    const hasPicture = eye.hasPicture;
    eye.close();
    if (!hasPicture) return ["failed", { says: "dark" }];
    return isMoving ? ["passed", { says: "device", text: local.camera.label }] : ["failed", { says: "still" }];
  }

  // --- Network -------------------------------------------------------------------------------------------------

  private async socket(): Promise<Outcome> {
    const room = `self-test-${crypto.randomUUID().slice(0, 8)}`;
    // What is missing is replaced, so that the network can be judged all the same.
    if (!this.local?.camera.track) {
      this.local?.close();
      this.local = new LocalMedia({ width: 640, height: 360 });
      this.isSynthetic = true;
      await this.local.wantBoth();
    }
    const call = this.join(room, "join");
    await this.until(() => call.phase.name !== "joining", SOCKET_MS);
    if (call.phase.name === "refused") return ["failed", { says: "refused", text: call.phase.message }];
    return call.phase.name === "in" ? ["passed", this.isSynthetic ? { says: "testPicture" } : null] : ["failed", { says: "noSocket" }];
  }

  /** A second visitor watches what the first one sends: both ways are tried at once. */
  private async media(): Promise<Outcome> {
    const [call] = this.calls;
    if (!call) return ["skipped", { says: "needsBefore" }];
    const began = performance.now();
    const viewer = this.join(call.options.room, "watch");
    viewer.show(new Set([`${call.room?.me}/camera`]));
    let eye: Eye | null = null;
    const isThere = await this.until(() => {
      const track = viewer.subscriber?.track(call.room?.me ?? "", "camera", "video");
      if (track && !eye) eye = new Eye(track);
      return eye?.look() ?? false;
    }, MEDIA_MS);
    const took = Math.round(performance.now() - began);
    const kind = viewer.subscriber ? await pathOf(viewer.subscriber.connection) : "";
    (eye as Eye | null)?.close();
    return isThere ? ["passed", { says: "media", ms: took, kind }] : ["failed", { says: "noMedia" }];
  }

  private join(room: string, role: "join" | "watch"): Call {
    const call = new Call({ room, name: "Self-test", role, consent: "agreed", wording: "self-test", local: role === "join" ? this.local : null });
    this.calls.push(call);
    call.start();
    return call;
  }

  // --- Recording -----------------------------------------------------------------------------------------------

  private async record(): Promise<Outcome> {
    const [call] = this.calls;
    const config = await api.config(this.signal);
    if (!call || config.recording.start === "off" || call.room?.grants.record === false) return ["skipped", { says: "recordingOff" }];
    const now = () => call.room?.recording;
    if (now()?.state !== "recording") call.record("start");
    const isWritten = await this.until(() => now()?.state === "recording" && (now()?.duration_ms ?? 0) >= RECORD_MS, WRITE_MS);
    this.recording = now()?.id ?? null;
    if (!isWritten || this.recording === null) return ["failed", { says: "noRecording" }];
    const stopped = performance.now();
    call.record("stop");
    await this.until(() => now()?.state === "off", RECORD_MS);
    const id = this.recording;
    const manifest = await request<Manifest>(`/api/recordings/${id}`, { signal: this.signal });
    const url = Object.values(manifest.media ?? {})[0]?.url;
    const isPlayed = url !== undefined && (await this.plays(url));
    return isPlayed ? ["passed", { says: "recorded", ms: Math.round(performance.now() - stopped) }] : ["failed", { says: "notPlayable" }];
  }

  private async plays(url: string): Promise<boolean> {
    const video = document.createElement("video");
    video.muted = true;
    video.playsInline = true;
    video.src = url;
    try {
      await video.play();
    } catch {
      return false;
    }
    const isMoving = await this.until(() => video.currentTime > 0.3 && video.videoWidth > 0, PLAY_MS);
    video.removeAttribute("src");
    video.load();
    return isMoving;
  }

  private async clean(): Promise<void> {
    // The server may still be closing files when the room ends; the recording goes last.
    for (const call of this.calls) call.leave();
    this.calls = [];
    this.local?.close();
    this.local = null;
    if (this.recording === null) return;
    const id = this.recording;
    this.recording = null;
    await request(`/api/recordings/${id}`, { method: "DELETE" }).catch(() => undefined);
  }

  /** Looks ten times a second until something is so, or time is up. */
  private until(isSo: () => boolean, within: number): Promise<boolean> {
    return new Promise((resolve) => {
      const began = performance.now();
      const timer = setInterval(() => {
        const found = !this.signal.aborted && isSo();
        if (!found && !this.signal.aborted && performance.now() - began < within) return;
        clearInterval(timer);
        resolve(found);
      }, LOOK_AGAIN_MS);
    });
  }
}

/** Sees whether a picture moves: two looks that differ. */
class Eye {
  hasPicture = false;
  private readonly video = document.createElement("video");
  private readonly canvas = document.createElement("canvas");
  private before: Uint8ClampedArray | null = null;

  constructor(track: MediaStreamTrack) {
    this.video.muted = true;
    this.video.playsInline = true;
    this.video.srcObject = new MediaStream([track]);
    this.canvas.width = 64;
    this.canvas.height = 36;
    void this.video.play().catch(() => undefined);
  }

  look(): boolean {
    const context = this.canvas.getContext("2d", { willReadFrequently: true });
    if (!context || this.video.readyState < 2) return false;
    context.drawImage(this.video, 0, 0, this.canvas.width, this.canvas.height);
    const { data } = context.getImageData(0, 0, this.canvas.width, this.canvas.height);
    const { before } = this;
    this.before = data;
    this.hasPicture ||= data.some((value, i) => i % 4 !== 3 && value > 16);
    return before !== null && this.hasPicture && data.some((value, i) => Math.abs(value - (before[i] ?? 0)) > 4);
  }

  close(): void {
    this.video.srcObject = null;
  }
}

function problemOf(device: Device): Why {
  switch (device.state) {
    case "blocked": return { says: "denied" };
    case "none": return { says: "missing" };
    case "in-use": return { says: "inUse" };
    default: return { says: "refused", text: device.state };
  }
}

/** `udp, host` and the like: how the packets really go. */
async function pathOf(connection: RTCPeerConnection): Promise<string> {
  const report = await connection.getStats();
  const all = new Map<string, Record<string, unknown>>();
  report.forEach((entry: Record<string, unknown>, id: string) => all.set(id, entry));
  const pair = [...all.values()].find((entry) => entry["type"] === "candidate-pair" && entry["state"] === "succeeded" && (entry["nominated"] === true || entry["selected"] === true));
  const remote = all.get(String(pair?.["remoteCandidateId"]));
  return remote ? `${String(remote["protocol"])} ${String(remote["candidateType"])}` : "udp";
}
