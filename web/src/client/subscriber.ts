// The connection that receives: the server offers, we answer. What an m-line carries is known by its mid alone.
import { Emitter } from "./emitter.ts";
import { Mender } from "./mender.ts";
import type { Cure } from "./mender.ts";
import type { ClientMessage, IceServer, Kind, Source, SubscribeTrack } from "./protocol.ts";
import { withStereo } from "./sdp.ts";

export interface SubscriberOptions {
  iceServers: IceServer[];
  send: (message: ClientMessage) => void;
  onState: (state: RTCPeerConnectionState) => void;
  onAsked: () => void;
}

type SubscriberEvents = { tracks: undefined };

export class Subscriber extends Emitter<SubscriberEvents> {
  readonly connection: RTCPeerConnection;
  wasOffered = false;
  private readonly options: SubscriberOptions;
  private slots = new Map<string, SubscribeTrack>();
  private tracks = new Map<string, MediaStreamTrack>();
  private work: Promise<void> = Promise.resolve();
  private early: RTCIceCandidateInit[] = [];
  private visible: ReadonlySet<string> | null = null;
  private asked = "";
  private readonly mender = new Mender((cure) => this.restart(cure));
  private lastRestart = 0;

  constructor(options: SubscriberOptions) {
    super();
    this.options = options;
    const connection = new RTCPeerConnection({ iceServers: options.iceServers, bundlePolicy: "max-bundle" });
    this.connection = connection;
    connection.ontrack = ({ transceiver, track }) => this.onTrack(transceiver.mid, track);
    connection.onicecandidate = ({ candidate }) =>
      options.send({ type: "candidate", target: "subscribe", candidate: candidate?.candidate ?? "", mid: candidate?.sdpMid ?? null });
    connection.onconnectionstatechange = () => this.onState();
  }

  /** Offers are answered one after another. */
  onOffer(id: number, sdp: string, tracks: SubscribeTrack[]): void {
    this.wasOffered = true;
    this.work = this.work.then(() => this.answer(id, sdp, tracks)).catch(() => this.restart());
  }

  async onCandidate(candidate: string, mid: string | null): Promise<void> {
    const init: RTCIceCandidateInit = mid === null ? { candidate, sdpMLineIndex: 0 } : { candidate, sdpMid: mid };
    if (this.connection.remoteDescription === null) this.early.push(init);
    else await this.addCandidate(init);
  }

  /** The track of somebody's camera, microphone or screen, if it is there. */
  track(participant: string, source: Source, kind: Kind): MediaStreamTrack | null {
    const mid = this.mid(participant, source, kind);
    return mid === null ? null : (this.tracks.get(mid) ?? null);
  }

  mid(participant: string, source: Source, kind: Kind): string | null {
    for (const slot of this.slots.values()) {
      if (slot.participant === participant && slot.source === source && slot.kind === kind) return slot.mid;
    }
    return null;
  }

  /** All sounds of the others, by m-line. */
  sounds(): { mid: string; participant: string; track: MediaStreamTrack }[] {
    return [...this.slots.values()].flatMap(({ mid, participant, kind }) => {
      const track = this.tracks.get(mid);
      return kind === "audio" && track ? [{ mid, participant, track }] : [];
    });
  }

  /** Who is behind an m-line. */
  slot(mid: string): SubscribeTrack | undefined {
    return this.slots.get(mid);
  }

  /** Which pictures are on screen, as `participant/source`; the others are not sent. Sound always is. */
  show(visible: ReadonlySet<string>): void {
    this.visible = visible;
    this.want();
  }

  /** After a resume the server may have forgotten what we want to see. */
  onResumed(): void {
    this.asked = "";
    this.want();
  }

  /** The server offers anew; to replace this connection its offer has id 1, and whoever made this object makes another. */
  restart(cure: Cure = "restart"): void {
    const now = Date.now();
    const isReplaced = cure === "replace" || this.connection.connectionState === "failed";
    if ((now - this.lastRestart < RESTART_GAP_MS && cure === "restart") || this.connection.signalingState === "closed") return;
    this.lastRestart = now;
    this.options.send(isReplaced ? { type: "restart", media: "new" } : { type: "restart" });
    this.options.onAsked();
  }

  close(): void {
    this.mender.stop();
    this.connection.ontrack = null;
    this.connection.onicecandidate = null;
    this.connection.onconnectionstatechange = null;
    this.connection.close();
    this.slots.clear();
    this.tracks.clear();
  }

  private async answer(id: number, sdp: string, tracks: SubscribeTrack[]): Promise<void> {
    if (this.connection.signalingState === "closed") return;
    this.slots = new Map(tracks.map((track) => [track.mid, track]));
    await this.connection.setRemoteDescription({ type: "offer", sdp });
    for (const candidate of this.early.splice(0)) await this.addCandidate(candidate);
    const answer = await this.connection.createAnswer();
    await this.setAnswer(answer);
    this.options.send({ type: "answer", id, sdp: this.connection.localDescription?.sdp ?? answer.sdp ?? "" });
    this.want();
    this.emit("tracks", undefined);
  }

  private async setAnswer(answer: RTCSessionDescriptionInit): Promise<void> {
    try {
      // Chromium decodes Opus to mono unless the answer asks for stereo.
      await this.connection.setLocalDescription({ type: "answer", sdp: withStereo(answer.sdp ?? "") });
    } catch {
      await this.connection.setLocalDescription(answer);
    }
  }

  private onTrack(mid: string | null, track: MediaStreamTrack): void {
    if (mid === null || this.tracks.get(mid) === track) return;
    this.tracks.set(mid, track);
    track.onended = () => {
      if (this.tracks.get(mid) === track) this.tracks.delete(mid);
      this.emit("tracks", undefined);
    };
    this.emit("tracks", undefined);
  }

  private want(): void {
    if (this.visible === null || this.connection.remoteDescription === null) return;
    const visible = this.visible;
    const want = [...this.slots.values()]
      .filter((slot) => slot.kind === "audio" || visible.has(`${slot.participant}/${slot.source}`))
      .map((slot) => slot.mid);
    const text = want.join(" ");
    if (text === this.asked) return;
    this.asked = text;
    this.options.send({ type: "subscribe", want });
  }

  private onState(): void {
    const state = this.connection.connectionState;
    this.mender.onState(state);
    this.options.onState(state);
  }

  private async addCandidate(candidate: RTCIceCandidateInit): Promise<void> {
    try {
      await this.connection.addIceCandidate(candidate);
    } catch {
      // A candidate of an earlier generation, or one this browser cannot use.
    }
  }
}

const RESTART_GAP_MS = 3_000;
