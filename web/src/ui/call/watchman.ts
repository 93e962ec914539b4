// Looks after what only time tells in a call: rings that fade, talk into a muted microphone, a recording left alone.
import type { Call } from "../../client/call.ts";
import { measure } from "../../client/levels.ts";

export class Watchman {
  isTalkingMuted = false;
  isLeftAlone = false;
  /** Since when the recording is not saved. */
  troubleSince: number | null = null;
  private readonly call: Call;
  private readonly redraw: () => void;
  private measuring: AbortController | null = null;
  private measured: MediaStreamTrack | null = null;
  private loudFor = 0;
  private talkedAt = 0;
  private hadCompany = false;
  private aloneSince: number | null = null;
  private isKept = false;
  private drawn = "";

  constructor(call: Call, redraw: () => void, signal: AbortSignal) {
    this.call = call;
    this.redraw = redraw;
    const timer = setInterval(() => this.look(Date.now()), LOOK_MS);
    signal.addEventListener("abort", () => {
      clearInterval(timer);
      this.measuring?.abort();
    });
  }

  keepRecording(): void {
    this.isKept = true;
    this.look(Date.now());
  }

  private look(now: number): void {
    this.lookAtMicrophone(now);
    this.lookAtRecording(now);
    const { call } = this;
    const minute = Math.floor(now / 60_000);
    const isAway = call.phase.name === "away" && now - call.phase.since > 2_000;
    const state = [...call.speakers.rings(now), call.speakers.main(now), minute, isAway, this.isTalkingMuted, this.isLeftAlone, this.troubleSince].join(" ");
    if (state === this.drawn) return;
    this.drawn = state;
    this.redraw();
  }

  private lookAtMicrophone(now: number): void {
    const microphone = this.call.options.local?.microphone;
    const track = microphone?.track ?? null;
    if (track !== this.measured) {
      this.measuring?.abort();
      this.measured = track;
      this.measuring = new AbortController();
      if (track) measure(track, ({ level }) => this.onLevel(level), this.measuring.signal);
    }
    const isMuted = microphone !== undefined && !microphone.isWanted && track !== null;
    if (!isMuted) this.talkedAt = 0;
    this.isTalkingMuted = isMuted && this.talkedAt > 0 && now - this.talkedAt < REMIND_MS;
  }

  private onLevel(level: number): void {
    const { local } = this.call.options;
    local?.onLevel(level, Date.now());
    this.loudFor = level > TALK_LEVEL ? this.loudFor + 1 : 0;
    if (this.loudFor >= TALK_TICKS && local && !local.microphone.isWanted) this.talkedAt = Date.now();
  }

  private lookAtRecording(now: number): void {
    const room = this.call.room;
    if (!room) return;
    if (room.recording.state === "interrupted") this.troubleSince ??= now;
    else this.troubleSince = null;
    const isAlone = room.participants.length <= 1;
    if (!isAlone) this.hadCompany = true;
    const isRunning = room.recording.state === "recording" || room.recording.state === "paused";
    if (!isAlone || !isRunning || !this.hadCompany) {
      this.aloneSince = null;
      this.isKept = false;
    } else this.aloneSince ??= now;
    this.isLeftAlone = this.aloneSince !== null && !this.isKept && room.grants.record;
    if (this.isLeftAlone && this.aloneSince !== null && now - this.aloneSince >= ALONE_MS && this.call.wish === null) this.call.record("stop");
  }
}

const LOOK_MS = 200;
const TALK_LEVEL = 0.5;
const TALK_TICKS = 8;
const REMIND_MS = 5_000;
const ALONE_MS = 5 * 60_000;
