// A stay in a room: the session, both connections, what is known of the room, and news about it.
// Elements subscribe to it and draw; it lives as long as the stay, not as long as an element.
import { accessToken } from "./access.ts";
import type { LocalMedia } from "./devices.ts";
import { Emitter } from "./emitter.ts";
import { choices, person, rememberSeat } from "./memory.ts";
import type { Seat } from "./memory.ts";
import { newsOf } from "./news.ts";
import type { News } from "./news.ts";
import type { Consent, Joined, Kind, RecordingAction, Role, RoomRecording, ServerMessage, Source } from "./protocol.ts";
import { Publisher } from "./publisher.ts";
import { hasLive, myself, reduce } from "./room-state.ts";
import type { RoomState } from "./room-state.ts";
import { serverPlace } from "./server.ts";
import { Session, signalUrl } from "./session.ts";
import type { SessionPhase } from "./session.ts";
import { Speakers } from "./speakers.ts";
import { ownTrouble, QualityJudge, samplesOf } from "./stats.ts";
import type { Figures, OwnTrouble, Quality } from "./stats.ts";
import { Subscriber } from "./subscriber.ts";
import type { SubscriberOptions } from "./subscriber.ts";

export interface CallOptions {
  room: string;
  name: string;
  role: Role;
  consent: Consent;
  /** The version of the words that were shown for the consent. */
  wording: string;
  /** What this computer gives; `null` for who only watches. */
  local: LocalMedia | null;
  /** A resume token from before a reload. */
  seat?: string;
}

/** A line of one's own that the server has not sent back yet. */
export interface PendingLine {
  text: string;
  at: number;
}

type CallEvents = {
  /** Something to be drawn anew. */
  change: undefined;
  /** Media of the others came or went. */
  tracks: undefined;
  news: News;
};

export class Call extends Emitter<CallEvents> {
  readonly options: CallOptions;
  readonly session: Session;
  room: RoomState | null = null;
  phase: SessionPhase = { name: "joining" };
  publisher: Publisher | null = null;
  subscriber: Subscriber | null = null;
  screen: MediaStream | null = null;
  quality: ReadonlyMap<string, Quality> = new Map();
  own: OwnTrouble = "none";
  /** Somebody wants to record and this person has not answered. */
  asked: { by: string | null } | null = null;
  pending: PendingLine[] = [];
  /** What was asked of the recording and is not yet so. */
  wish: RecordingAction | null = null;
  /** The recording that ended last during this stay. */
  saved: { id: string; duration_ms: number } | null = null;
  readonly speakers = new Speakers();
  /** The token ends soon, and the call with it unless its owner opens a new link. */
  isExpiring = false;
  /** True when no path for media was found in good time. */
  hasNoPath = false;
  private visible: ReadonlySet<string> = new Set();
  private readonly judges = new Map<string, QualityJudge>();
  private readonly said = new Map<string, boolean>();
  private readonly life = new AbortController();
  private wiring: SubscriberOptions | null = null;
  private pathTimer: ReturnType<typeof setTimeout> | undefined;
  private ownSince = 0;
  private seat: Seat | null = null;

  constructor(options: CallOptions) {
    super();
    this.options = options;
    const token = accessToken();
    this.session = new Session({
      url: signalUrl(serverPlace()),
      join: {
        type: "join",
        room: options.room,
        name: options.name,
        role: options.role,
        person: person(),
        consent: options.consent,
        wording: options.wording,
        ...(token === null ? {} : { token }),
      },
      ...(options.seat === undefined ? {} : { seat: options.seat }),
      onToken: (joined) => this.keepSeat(joined),
    });
    const signal = this.life.signal;
    this.session.on("message", (message) => this.onMessage(message), signal);
    this.session.on("phase", (phase) => this.onPhase(phase));
    options.local?.on("tracks", () => void this.onLocalTracks(), signal);
    options.local?.on("change", () => this.sayMutes(), signal);
    options.local?.on("gone", (gone) => this.emit("news", { type: "device-gone", ...gone }), signal);
    const timer = setInterval(() => void this.takeStats(), STATS_MS);
    signal.addEventListener("abort", () => clearInterval(timer));
    addEventListener("hashchange", () => this.renew(), { signal });
    addEventListener("pagehide", () => this.refreshSeat(), { signal });
  }

  start(): void {
    this.session.start();
  }

  /** Which pictures are on screen, as `participant/source`. */
  show(visible: ReadonlySet<string>): void {
    this.visible = visible;
    this.subscriber?.show(visible);
  }

  /** A link with a new token was opened in this tab. */
  private renew(): void {
    const token = accessToken();
    if (token !== null) this.session.send({ type: "renew", token });
  }

  record(action: RecordingAction): void {
    this.wish = action;
    this.emit("change", undefined);
    this.session.send({ type: "recording", action, ref: "recording" });
  }

  answerConsent(answer: Consent): void {
    this.asked = null;
    this.session.send({ type: "consent", answer, wording: this.options.wording });
    this.emit("change", undefined);
  }

  say(text: string): void {
    const line = text.trim().slice(0, MAX_CHAT_CHARS);
    if (line === "") return;
    this.pending = [...this.pending, { text: line, at: Date.now() }];
    this.session.send({ type: "chat", text: line, ref: "chat" });
    this.emit("change", undefined);
  }

  mute(participant: string, source: Source, kind: Kind): void {
    this.session.send({ type: "moderate", action: "mute", participant, source, kind });
  }

  remove(participant: string): void {
    this.session.send({ type: "moderate", action: "remove", participant });
  }

  endForAll(): void {
    this.session.send({ type: "moderate", action: "end" });
  }

  /** Puts a screen on the air; it ends with the browser's own "stop sharing" too. */
  async share(stream: MediaStream): Promise<void> {
    const [video] = stream.getVideoTracks();
    if (!video || !this.publisher) return;
    video.contentHint = "detail";
    this.screen = stream;
    video.addEventListener("ended", () => void this.unshare(), { once: true });
    this.emit("change", undefined);
    await this.publisher.share(video, stream.getAudioTracks()[0] ?? null);
    this.sayMutes();
  }

  async unshare(): Promise<void> {
    const stream = this.screen;
    if (!stream) return;
    this.screen = null;
    for (const track of stream.getTracks()) track.stop();
    this.sayMutes();
    this.emit("change", undefined);
    await this.publisher?.unshare();
  }

  setStereo(on: boolean): void {
    this.publisher?.setStereo(on);
  }

  leave(): void {
    this.session.leave();
  }

  /** Another window of this browser takes over. */
  giveWay(): void {
    this.session.leave({ name: "closed", reason: "replaced", by: null });
  }

  /** What stands behind the quality of one person just now. */
  figures(participant: string): Figures | null {
    return this.judges.get(participant)?.figures() ?? null;
  }

  private onMessage(message: ServerMessage): void {
    const before = this.room;
    this.room = reduce(before, message);
    switch (message.type) {
      case "joined": this.onJoined(message); break;
      case "published": this.publisher?.onPublished(message.sdp, message.ref).catch(() => this.publisher?.restart()); break;
      case "offer":
        // The first offer of a connection: the server has made a new one, so the old one is of no use.
        if (message.id === 1 && this.subscriber?.wasOffered) this.openSubscriber();
        this.subscriber?.onOffer(message.id, message.sdp, message.tracks);
        break;
      case "candidate": {
        const connection = message.target === "publish" ? this.publisher : this.subscriber;
        void connection?.onCandidate(message.candidate, message.mid);
        break;
      }
      case "consent-requested": this.asked = { by: message.by }; break;
      case "recording": this.onRecording(before, message); break;
      case "speaking": this.speakers.hear(message.participants, Date.now()); break;
      case "chat": this.onChat(message.participant, message.text); break;
      case "mute-requested": this.onMuteRequested(message.source, message.kind, message.by); break;
      case "participant-updated": if (message.participant.id === this.room?.me) this.sayMutes(); break;
      case "expiring": this.isExpiring = true; break;
      case "renewed": this.isExpiring = false; break;
      case "error": this.onError(message.code, message.message, message.ref); break;
    }
    for (const news of newsOf(before, this.room, message)) this.emit("news", news);
    this.emit("change", undefined);
  }

  private onJoined(joined: Joined): void {
    // Whoever comes into, or back to, a recording that asks everybody, is asked.
    const { recording } = joined;
    const isAsked = recording.consent_required && recording.state !== "off" && this.me?.consent === "not-asked";
    this.asked = isAsked ? { by: recording.by ?? null } : null;
    if (this.subscriber !== null) {
      void this.publisher?.onResumed();
      this.subscriber.onResumed();
      // What was said into a line that had dropped may be lost: say all of it again.
      for (const [key, muted] of this.said) this.said.set(key, !muted);
      this.sayMutes();
      return;
    }
    const common = {
      iceServers: joined.ice_servers,
      send: this.session.send.bind(this.session),
      onState: () => this.onConnection(),
      onAsked: () => this.session.expectAnswer(),
    };
    this.wiring = common;
    this.openSubscriber();
    const { local } = this.options;
    if (local === null || !joined.grants.publish) return;
    this.publisher = new Publisher({ ...common, simulcast: joined.simulcast ?? false });
    this.sayMutes();
    this.publisher.start(local.outgoing("audio"), local.outgoing("video"), choices().originalSound);
    this.pathTimer = setTimeout(() => {
      this.hasNoPath = true;
      this.emit("change", undefined);
    }, PATH_MS);
  }

  private openSubscriber(): void {
    if (this.wiring === null) return;
    this.subscriber?.close();
    this.subscriber = new Subscriber(this.wiring);
    this.subscriber.on("tracks", () => this.emit("tracks", undefined), this.life.signal);
    this.subscriber.show(this.visible);
  }

  private onRecording(before: RoomState | null, now: RoomRecording): void {
    if (before?.recording.state !== now.state) this.wish = null;
    const id = now.id ?? before?.recording.id;
    const wasOn = before !== null && before.recording.state !== "off" && before.recording.state !== "waiting";
    if (now.state === "off" && wasOn && id !== undefined) this.saved = { id, duration_ms: now.duration_ms || before.recording.duration_ms };
    if (now.state === "off") this.asked = null;
  }

  private onChat(participant: string, text: string): void {
    if (participant !== this.room?.me) return;
    const index = this.pending.findIndex((line) => line.text === text);
    if (index >= 0) this.pending = this.pending.toSpliced(index, 1);
  }

  private onMuteRequested(source: Source, kind: Kind, by: string): void {
    if (source !== "camera") void this.unshare();
    else if (kind === "audio") void this.options.local?.setMicrophone(false, "moment");
    else void this.options.local?.setCamera(false);
    this.emit("news", { type: "muted-by", by, kind });
  }

  private onError(code: string, message: string, ref: string | undefined): void {
    // The server's side of the receiving connection is gone; asking for new credentials makes a new one.
    if (code === "session-not-found" && ref === undefined) return this.subscriber?.restart();
    if (ref === "recording") this.wish = null;
    if (ref?.startsWith("publish")) void this.publisher?.onRefused(ref);
    if (ref === "chat") this.pending = this.pending.slice(1);
    this.emit("news", { type: "refused", code, message });
  }

  private onPhase(phase: SessionPhase): void {
    this.phase = phase;
    const isOver = phase.name !== "joining" && phase.name !== "in" && phase.name !== "away";
    if (isOver) this.end();
    this.emit("change", undefined);
  }

  private end(): void {
    this.life.abort();
    clearTimeout(this.pathTimer);
    rememberSeat(null);
    for (const track of this.screen?.getTracks() ?? []) track.stop();
    this.screen = null;
    this.publisher?.close();
    this.subscriber?.close();
    this.emit("tracks", undefined);
  }

  private onConnection(): void {
    if (this.publisher?.connection.connectionState === "connected") {
      clearTimeout(this.pathTimer);
      this.hasNoPath = false;
    } else if (this.publisher?.connection.connectionState === "failed") this.hasNoPath = true;
    this.emit("change", undefined);
  }

  private async onLocalTracks(): Promise<void> {
    const { local } = this.options;
    if (!local || !this.publisher) return;
    await this.publisher.setTrack("camera", "audio", local.outgoing("audio"));
    await this.publisher.setTrack("camera", "video", local.outgoing("video"));
    this.sayMutes();
  }

  /** Tells the server what is off, when that differs from what it knows. */
  private sayMutes(): void {
    const { local } = this.options;
    if (!local || !this.publisher) return;
    const isHeard = local.microphone.isWanted && local.outgoing("audio") !== null;
    const isSeen = local.camera.isWanted && local.outgoing("video") !== null;
    this.sayMute("camera", "audio", !isHeard);
    this.sayMute("camera", "video", !isSeen);
    this.sayMute("screen1", "video", this.screen === null);
    this.sayMute("screen1", "audio", (this.screen?.getAudioTracks().length ?? 0) === 0);
  }

  private sayMute(source: Source, kind: Kind, muted: boolean): void {
    const key = `${source}/${kind}`;
    // A screen that was never shared has nothing to be muted.
    if (source !== "camera" && muted && !this.said.has(key)) return;
    // Until told otherwise the server takes everything for on.
    const isKnown = (this.said.get(key) ?? false) === muted;
    this.said.set(key, muted);
    if (isKnown) return;
    this.session.send({ type: "mute", source, kind, muted });
  }

  private async takeStats(): Promise<void> {
    const { room, subscriber } = this;
    if (room === null || subscriber === null || this.phase.name !== "in") return;
    const report = await subscriber.connection.getStats();
    const samples = samplesOf(entries(report), (mid) => this.ownerOf(mid), Date.now());
    let isNew = false;
    for (const [participant, sample] of samples) {
      const judge = this.judges.get(participant) ?? new QualityJudge();
      this.judges.set(participant, judge);
      const before = judge.quality;
      isNew = judge.add(sample) !== before || isNew;
    }
    if (isNew) this.quality = new Map([...this.judges].map(([id, judge]) => [id, judge.quality]));
    const own = this.publisher ? ownTrouble(entries(await this.publisher.connection.getStats())) : "none";
    // The start of every call is slow: only what lasts is worth a word.
    this.ownSince = own === "none" ? 0 : this.ownSince || Date.now();
    const lasting = own !== "none" && Date.now() - this.ownSince >= OWN_MS ? own : "none";
    if (isNew || lasting !== this.own) {
      this.own = lasting;
      this.emit("change", undefined);
    }
  }

  private ownerOf(mid: string): { participant: string; isExpected: boolean } | null {
    const slot = this.subscriber?.slot(mid);
    const who = slot && this.room?.participants.find((one) => one.id === slot.participant);
    if (!slot || !who) return null;
    const isOn = hasLive(who, slot.source, slot.kind);
    const isShown = slot.kind === "audio" || this.visible.has(`${slot.participant}/${slot.source}`);
    return { participant: slot.participant, isExpected: isOn && isShown };
  }

  private keepSeat(joined: Joined): void {
    if (this.options.role !== "join") return;
    const { resume: token, room, participant } = joined;
    this.seat = { room, token, participant, name: this.options.name, at: Date.now() };
    rememberSeat(this.seat);
  }

  private refreshSeat(): void {
    if (this.seat) rememberSeat({ ...this.seat, at: Date.now() });
  }

  /** This person, as the others see them. */
  get me() {
    return this.room ? myself(this.room) : undefined;
  }
}

function entries(report: RTCStatsReport): Iterable<readonly [string, Record<string, unknown>]> {
  return report as unknown as Iterable<readonly [string, Record<string, unknown>]>;
}

const STATS_MS = 1_000;
const PATH_MS = 10_000;
const OWN_MS = 8_000;
const MAX_CHAT_CHARS = 2_000;
