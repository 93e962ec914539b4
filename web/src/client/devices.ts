// Microphone and camera of this computer: what state each is in, in words a person can act on, and the tracks they give.
// Nothing here is asked for before somebody wants it.
import { openDevice, problemOf, TEST_DEVICE } from "./capture.ts";
import type { DeviceProblem } from "./capture.ts";
import { Emitter } from "./emitter.ts";
import { choices, rememberChoices } from "./memory.ts";
import type { Kind } from "./protocol.ts";

export type DeviceState = "off" | "asking" | "starting" | "on" | DeviceProblem;

export interface Device {
  kind: Kind;
  state: DeviceState;
  /** What its owner wants: seen, or heard. */
  isWanted: boolean;
  /** From the device; runs on while the microphone is muted, so that the page can say so. */
  track: MediaStreamTrack | null;
  deviceId: string;
  label: string;
  /** The system or a switch on the device keeps it quiet. */
  isSystemMuted: boolean;
  isSilent: boolean;
}

type LocalEvents = {
  change: undefined;
  /** What is sent is another track now. */
  tracks: undefined;
  gone: { kind: Kind; label: string; now: string };
};

export class LocalMedia extends Emitter<LocalEvents> {
  microphone: Device;
  camera: Device;
  devices: MediaDeviceInfo[] = [];
  private readonly testSize: { width: number; height: number };
  private sent: MediaStreamTrack | null = null;
  private readonly life = new AbortController();
  private readonly turns: Record<Kind, number> = { audio: 0, video: 0 };
  private readonly permissions = new Map<Kind, PermissionState>();
  private quietSince: number | null = null;

  /** `test`: a picture and a tone of our own instead of devices. */
  constructor(test?: { width: number; height: number }) {
    super();
    const kept = choices();
    this.testSize = test ?? { width: 1280, height: 720 };
    this.microphone = fresh("audio", kept.microphone, test ? TEST_DEVICE : kept.microphoneId);
    this.camera = fresh("video", kept.camera, test ? TEST_DEVICE : kept.cameraId);
    const signal = this.life.signal;
    navigator.mediaDevices?.addEventListener("devicechange", () => void this.onDeviceChange(), { signal });
    addEventListener("focus", () => void this.lookAgain(), { signal });
  }

  /** True when opening them would not make the browser ask. */
  async isGranted(): Promise<boolean> {
    await this.watchPermissions();
    const needed = ([["audio", this.microphone], ["video", this.camera]] as const).filter(([, device]) => device.isWanted && device.deviceId !== TEST_DEVICE);
    return needed.length === 0 ? this.microphone.deviceId === TEST_DEVICE : needed.every(([kind]) => this.permissions.get(kind) === "granted");
  }

  /** Opens what is wanted; asks for both in one prompt. */
  async open(): Promise<void> {
    await this.watchPermissions();
    const wanted = [this.microphone, this.camera].filter((device) => device.isWanted && device.track === null);
    if (wanted.length === 2 && wanted.every((device) => device.deviceId !== TEST_DEVICE)) await this.openBoth();
    else await Promise.all(wanted.map((device) => this.start(device.kind)));
    await this.listDevices();
  }

  /** For a moment (hold to talk), or until further notice. */
  async setMicrophone(on: boolean, lasting: "moment" | "kept" = "kept"): Promise<void> {
    if (lasting === "kept") rememberChoices({ microphone: on });
    this.put("audio", { isWanted: on });
    if (this.sent) this.sent.enabled = on;
    if (on && this.microphone.track === null) await this.start("audio");
    this.emit("tracks", undefined);
  }

  /** The click on "turn on camera and microphone". */
  async wantBoth(): Promise<void> {
    this.put("audio", { isWanted: true });
    this.put("video", { isWanted: true });
    await this.open();
  }

  async setCamera(on: boolean): Promise<void> {
    rememberChoices({ camera: on });
    this.put("video", { isWanted: on });
    if (!on) this.release("video", "off");
    else if (this.camera.track === null) await this.start("video");
  }

  async choose(kind: Kind, deviceId: string): Promise<void> {
    rememberChoices(kind === "audio" ? { microphoneId: keep(deviceId) } : { cameraId: keep(deviceId) });
    this.put(kind, { deviceId });
    if (kind === "video") this.put(kind, { isWanted: true });
    await this.start(kind);
  }

  /** Other constraints: the microphone is opened anew. */
  async setOriginalSound(on: boolean): Promise<void> {
    rememberChoices({ originalSound: on });
    if (this.microphone.track !== null) await this.start("audio");
  }

  /** Whoever goes in without a device goes in with it off. */
  settle(): void {
    if (this.microphone.track === null) this.put("audio", { isWanted: false });
    if (this.camera.track === null) this.put("video", { isWanted: false });
  }

  /** Tries again after a failure. */
  async retry(kind: Kind): Promise<void> {
    await this.watchPermissions();
    await this.start(kind);
    await this.listDevices();
  }

  /** What goes to the others: the microphone's own copy, so that muting leaves the meter alive. */
  outgoing(kind: Kind): MediaStreamTrack | null {
    return kind === "audio" ? this.sent : this.camera.track;
  }

  /** The meter reports here; a microphone that gives nothing for a while is worth a word. */
  onLevel(level: number, now: number): void {
    const isQuiet = level < SILENCE;
    if (!isQuiet) this.quietSince = null;
    else this.quietSince ??= now;
    const isSilent = this.quietSince !== null && now - this.quietSince > SILENT_MS;
    if (isSilent !== this.microphone.isSilent) this.put("audio", { isSilent });
  }

  list(kind: MediaDeviceKind): MediaDeviceInfo[] {
    return this.devices.filter((device) => device.kind === kind && device.deviceId !== "");
  }

  close(): void {
    this.life.abort();
    this.release("audio", "off");
    this.release("video", "off");
  }

  private async openBoth(): Promise<void> {
    const turns = { audio: ++this.turns.audio, video: ++this.turns.video };
    this.waitFor("audio");
    this.waitFor("video");
    try {
      const stream = await openDevice({ audio: this.microphone.deviceId, video: this.camera.deviceId }, this.testSize);
      for (const track of stream.getTracks()) this.adopt(track.kind as Kind, turns[track.kind as Kind], track);
    } catch {
      // One of the two is in the way: each alone says which.
      await this.start("audio");
      await this.start("video");
    }
  }

  private async start(kind: Kind): Promise<void> {
    const turn = ++this.turns[kind];
    const deviceId = kind === "audio" ? this.microphone.deviceId : this.camera.deviceId;
    this.waitFor(kind);
    try {
      const stream = await openDevice({ [kind]: deviceId }, this.testSize);
      const track = stream.getTracks()[0];
      if (track) this.adopt(kind, turn, track);
    } catch (error) {
      if (turn !== this.turns[kind]) return;
      this.release(kind, problemOf(error));
    }
  }

  private waitFor(kind: Kind): void {
    const device = kind === "audio" ? this.microphone : this.camera;
    if (device.track !== null) return;
    const isKnown = this.permissions.get(kind) === "granted" || device.deviceId === TEST_DEVICE;
    this.put(kind, { state: isKnown ? "starting" : "asking" });
  }

  private adopt(kind: Kind, turn: number, track: MediaStreamTrack): void {
    if (turn !== this.turns[kind] || this.life.signal.aborted) return track.stop();
    const before = kind === "audio" ? this.microphone.track : this.camera.track;
    const isTest = (kind === "audio" ? this.microphone : this.camera).deviceId === TEST_DEVICE;
    track.onended = () => void this.onEnded(kind, track);
    track.onmute = () => this.put(kind, { isSystemMuted: true });
    track.onunmute = () => this.put(kind, { isSystemMuted: false });
    const deviceId = isTest ? TEST_DEVICE : (track.getSettings().deviceId ?? "");
    if (kind === "audio") {
      this.sent?.stop();
      this.sent = track.clone();
      this.sent.enabled = this.microphone.isWanted;
      this.quietSince = null;
    } else track.contentHint = "motion";
    this.put(kind, { state: "on", track, deviceId, label: track.label, isSystemMuted: track.muted && !isTest, isSilent: false });
    if (before !== track) before?.stop();
    this.permissions.set(kind, "granted");
    this.emit("tracks", undefined);
  }

  private release(kind: Kind, state: DeviceState): void {
    this.turns[kind] += 1;
    const device = kind === "audio" ? this.microphone : this.camera;
    if (device.track) device.track.onended = null;
    device.track?.stop();
    if (kind === "audio") {
      this.sent?.stop();
      this.sent = null;
    }
    this.put(kind, { state, track: null, isSystemMuted: false, isSilent: false });
    this.emit("tracks", undefined);
  }

  // Unplugged, or taken away by the system: the next device takes over.
  private async onEnded(kind: Kind, track: MediaStreamTrack): Promise<void> {
    const device = kind === "audio" ? this.microphone : this.camera;
    if (device.track !== track) return;
    const label = device.label;
    this.release(kind, "off");
    this.put(kind, { deviceId: "" });
    await this.start(kind);
    const next = kind === "audio" ? this.microphone : this.camera;
    if (next.state === "on") this.emit("gone", { kind, label, now: next.label });
  }

  private async onDeviceChange(): Promise<void> {
    await this.listDevices();
    for (const device of [this.microphone, this.camera]) {
      const isThere = this.list(device.kind === "audio" ? "audioinput" : "videoinput").length > 0;
      if (device.state === "none" && isThere && device.kind === "audio") await this.start("audio");
      else if (device.state === "none" && isThere) this.put("video", { state: "off" });
    }
  }

  // The way back from "blocked" is outside the page: look when it has the focus again.
  private async lookAgain(): Promise<void> {
    await this.watchPermissions();
    for (const kind of ["audio", "video"] as const) this.onPermission(kind);
  }

  private onPermission(kind: Kind): void {
    const device = kind === "audio" ? this.microphone : this.camera;
    if (device.state === "blocked" && this.permissions.get(kind) === "granted") void this.start(kind);
    else if (device.state === "blocked" && this.permissions.get(kind) === "prompt") this.put(kind, { state: "off" });
    else if (this.permissions.get(kind) === "denied" && device.state === "on" && device.deviceId !== TEST_DEVICE) this.release(kind, "blocked");
  }

  private async watchPermissions(): Promise<void> {
    for (const [kind, name] of [["audio", "microphone"], ["video", "camera"]] as const) {
      try {
        const status = await navigator.permissions.query({ name: name as PermissionName });
        this.permissions.set(kind, status.state);
        status.onchange = () => {
          if (this.life.signal.aborted) return;
          this.permissions.set(kind, status.state);
          this.onPermission(kind);
        };
      } catch {
        // This browser tells by the outcome of the request only.
      }
    }
  }

  private async listDevices(): Promise<void> {
    try {
      this.devices = (await navigator.mediaDevices?.enumerateDevices()) ?? [];
    } catch {
      this.devices = [];
    }
    this.emit("change", undefined);
  }

  private put(kind: Kind, change: Partial<Device>): void {
    if (kind === "audio") this.microphone = { ...this.microphone, ...change };
    else this.camera = { ...this.camera, ...change };
    this.emit("change", undefined);
  }
}

function fresh(kind: Kind, isWanted: boolean, deviceId: string): Device {
  return { kind, state: "off", isWanted, track: null, deviceId, label: "", isSystemMuted: false, isSilent: false };
}

// The test picture is for now, not for the next call.
function keep(deviceId: string): string {
  return deviceId === TEST_DEVICE ? "" : deviceId;
}

const SILENCE = 0.0005;
const SILENT_MS = 8_000;
