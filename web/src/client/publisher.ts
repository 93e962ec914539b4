// The connection that sends: microphone and camera are declared from the first offer on, with or without a track;
// a screen adds two m-lines once and uses them again. One offer is in flight at a time.
import { Mender } from "./mender.ts";
import type { ClientMessage, IceServer, Kind, PublishTrack, Source } from "./protocol.ts";
import { withStereo } from "./sdp.ts";

export interface PublisherOptions {
  iceServers: IceServer[];
  /** The camera in three sizes at once. */
  simulcast: boolean;
  send: (message: ClientMessage) => void;
  /** At each change of `connectionState`. */
  onState: (state: RTCPeerConnectionState) => void;
  /** A message was sent that the server must answer. */
  onAsked: () => void;
}

interface Line {
  source: Source;
  kind: Kind;
  transceiver: RTCRtpTransceiver;
}

export class Publisher {
  connection: RTCPeerConnection;
  private readonly options: PublisherOptions;
  private lines: Line[] = [];
  private stereo = false;
  private isPending = false;
  private isRestarting = false;
  private wanted: "nothing" | "offer" | "restart" = "nothing";
  private hasOffered = false;
  /** The server has answered an offer of this connection. */
  private isKnown = false;
  /** Each offer has a number, so that an answer to another one is known as such. */
  private offers = 0;
  private early: ClientMessage[] = [];
  private remoteEarly: RTCIceCandidateInit[] = [];
  private readonly mender = new Mender((cure) => (cure === "replace" ? this.replace() : this.restart()));
  private sizeTimer: ReturnType<typeof setTimeout> | undefined;

  constructor(options: PublisherOptions) {
    this.options = options;
    this.connection = this.open();
  }

  /** The first offer: microphone and camera, whatever is on. */
  start(audio: MediaStreamTrack | null, video: MediaStreamTrack | null, stereo: boolean): void {
    this.stereo = stereo;
    this.add("camera", "audio", audio);
    this.add("camera", "video", video);
    this.negotiate("offer");
  }

  /** Other device, or none: no negotiation. */
  async setTrack(source: Source, kind: Kind, track: MediaStreamTrack | null): Promise<void> {
    const line = this.lines.find((one) => one.source === source && one.kind === kind);
    if (line && line.transceiver.sender.track !== track) await line.transceiver.sender.replaceTrack(track);
  }

  /** Stereo or not: changes what the answer allows, so it takes a round. */
  setStereo(stereo: boolean): void {
    if (this.stereo === stereo) return;
    this.stereo = stereo;
    const sender = this.lines.find((line) => line.source === "camera" && line.kind === "audio")?.transceiver.sender;
    const parameters = sender?.getParameters();
    const [first] = parameters?.encodings ?? [];
    if (sender && parameters && first) {
      first.maxBitrate = stereo ? MUSIC_BPS : VOICE_BPS;
      void sender.setParameters(parameters).catch(() => undefined);
    }
    this.negotiate("offer");
  }

  /** Puts a screen and its sound on the air. */
  async share(video: MediaStreamTrack, audio: MediaStreamTrack | null): Promise<void> {
    const known = this.lines.filter((line) => line.source === "screen1");
    if (known.length === 0) {
      this.add("screen1", "video", video);
      this.add("screen1", "audio", audio);
    } else {
      for (const line of known) line.transceiver.direction = "sendonly";
      await this.setTrack("screen1", "video", video);
      await this.setTrack("screen1", "audio", audio);
    }
    this.negotiate("offer");
  }

  async unshare(): Promise<void> {
    for (const line of this.lines.filter((one) => one.source === "screen1")) {
      await line.transceiver.sender.replaceTrack(null);
      line.transceiver.direction = "inactive";
    }
    this.negotiate("offer");
  }

  /** The server's answer. */
  async onPublished(sdp: string, ref: string | undefined): Promise<void> {
    if (this.connection.signalingState !== "have-local-offer" || ref !== this.ref) return;
    this.isKnown = true;
    const microphone = this.lines.find((line) => line.source === "camera" && line.kind === "audio")?.transceiver.mid;
    const screen = this.lines.find((line) => line.source === "screen1" && line.kind === "audio")?.transceiver.mid;
    const mids = new Set([this.stereo ? microphone : null, screen].filter((mid) => typeof mid === "string"));
    try {
      await this.connection.setRemoteDescription({ type: "answer", sdp: withStereo(sdp, mids) });
    } catch {
      // An answer that the browser refuses must not be the last: take the offer back, the mender makes the next.
      await this.onRefused(ref);
      return;
    }
    this.isPending = false;
    if (this.sizeTimer === undefined) this.holdSize();
    for (const candidate of this.remoteEarly.splice(0)) await this.addCandidate(candidate);
    this.flush();
  }

  async onCandidate(candidate: string, mid: string | null): Promise<void> {
    const init: RTCIceCandidateInit = mid === null ? { candidate, sdpMLineIndex: 0 } : { candidate, sdpMid: mid };
    if (this.connection.remoteDescription === null) this.remoteEarly.push(init);
    else await this.addCandidate(init);
  }

  /** An offer that was in flight when the socket dropped may never be answered: take it back and offer anew. */
  async onResumed(): Promise<void> {
    if (!this.isPending) return;
    if (this.connection.signalingState === "have-local-offer") await this.connection.setLocalDescription({ type: "rollback" });
    this.isPending = false;
    this.negotiate(this.isRestarting ? "restart" : "offer");
  }

  /** The publish was refused; a later change may try again. */
  async onRefused(ref: string): Promise<void> {
    if (ref !== this.ref) return;
    if (this.connection.signalingState === "have-local-offer") await this.connection.setLocalDescription({ type: "rollback" });
    this.isPending = false;
    this.wanted = "nothing";
  }

  /** New ICE credentials on the same connection. */
  restart(): void {
    // One that is on its way has new credentials already.
    if (!(this.isPending && this.isRestarting)) this.negotiate("restart");
  }

  close(): void {
    this.mender.stop();
    clearTimeout(this.sizeTimer);
    shut(this.connection);
  }

  private open(): RTCPeerConnection {
    const connection = new RTCPeerConnection({ iceServers: this.options.iceServers, bundlePolicy: "max-bundle" });
    connection.onicecandidate = ({ candidate }) => this.onLocalCandidate(candidate);
    connection.onconnectionstatechange = () => this.onState();
    return connection;
  }

  /** Another connection with the same tracks takes the place of one that has failed. */
  private replace(): void {
    const [failed, lines] = [this.connection, this.lines];
    this.connection = this.open();
    this.lines = [];
    for (const { source, kind, transceiver } of lines) {
      const line = this.add(source, kind, transceiver.sender.track);
      if (transceiver.direction === "inactive") line.transceiver.direction = "inactive";
    }
    shut(failed);
    clearTimeout(this.sizeTimer);
    this.sizeTimer = undefined;
    this.isKnown = false;
    this.isPending = false;
    this.wanted = "nothing";
    this.early = [];
    this.remoteEarly = [];
    this.negotiate("offer");
  }

  private get ref(): string {
    return `publish ${this.offers}`;
  }

  private add(source: Source, kind: Kind, track: MediaStreamTrack | null): Line {
    const transceiver = this.connection.addTransceiver(track ?? kind, {
      direction: "sendonly",
      sendEncodings: this.encodings(source, kind),
    });
    prefer(transceiver, kind);
    const line = { source, kind, transceiver };
    this.lines.push(line);
    return line;
  }

  /** A camera in 720p30 at most; a screen may take more for its text. */
  private encodings(source: Source, kind: Kind): RTCRtpEncodingParameters[] {
    if (kind === "audio") return [{ maxBitrate: source === "camera" && !this.stereo ? VOICE_BPS : MUSIC_BPS }];
    if (source !== "camera") return [{ maxBitrate: 2_500_000, maxFramerate: 30 }];
    return (this.options.simulcast ? LAYERS : [{ maxBitrate: CAMERA_BPS }]).map((layer) => ({ ...layer, maxFramerate: 30 }));
  }

  /** Left to itself Chromium begins small and grows for longer than people wait: full size first, the network's measure later. */
  private holdSize(): void {
    const sender = this.lines.find((line) => line.source === "camera" && line.kind === "video")?.transceiver.sender;
    if (!sender) return;
    void degrade(sender, "maintain-resolution");
    this.sizeTimer = setTimeout(() => void degrade(sender, "balanced"), FULL_SIZE_FIRST_MS);
  }

  private negotiate(what: "offer" | "restart"): void {
    if (this.wanted !== "restart") this.wanted = what;
    this.flush();
  }

  private flush(): void {
    if (this.isPending || this.wanted === "nothing" || this.connection.signalingState === "closed") return;
    this.isPending = true;
    const isRestart = this.wanted === "restart";
    this.wanted = "nothing";
    const { connection } = this;
    this.offer(isRestart).catch(() => {
      if (connection === this.connection) this.isPending = false;
    });
  }

  private async offer(iceRestart: boolean): Promise<void> {
    const { connection } = this;
    this.hasOffered = false;
    this.isRestarting = iceRestart;
    const offer = await connection.createOffer({ iceRestart });
    await connection.setLocalDescription(offer);
    if (connection !== this.connection) return;
    const sdp = connection.localDescription?.sdp ?? offer.sdp ?? "";
    const tracks = this.lines.flatMap(({ source, kind, transceiver }): PublishTrack[] =>
      transceiver.mid === null ? [] : [{ mid: transceiver.mid, source, kind }],
    );
    this.offers += 1;
    this.options.send({ type: "publish", sdp, tracks, media: this.isKnown ? "kept" : "new", ref: this.ref });
    this.options.onAsked();
    this.hasOffered = true;
    for (const message of this.early.splice(0)) this.options.send(message);
  }

  private onLocalCandidate(candidate: RTCIceCandidate | null): void {
    const message: ClientMessage = {
      type: "candidate",
      target: "publish",
      candidate: candidate?.candidate ?? "",
      mid: candidate?.sdpMid ?? null,
    };
    if (this.hasOffered) this.options.send(message);
    else this.early.push(message);
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

function shut(connection: RTCPeerConnection): void {
  connection.onicecandidate = null;
  connection.onconnectionstatechange = null;
  connection.close();
}

async function degrade(sender: RTCRtpSender, degradationPreference: RTCDegradationPreference): Promise<void> {
  try {
    await sender.setParameters({ ...sender.getParameters(), degradationPreference });
  } catch {
    // A browser without the setting keeps its own way.
  }
}

/** VP8 and Opus first; RED, and what the server cannot record, out. */
function prefer(transceiver: RTCRtpTransceiver, kind: Kind): void {
  const all = RTCRtpSender.getCapabilities?.(kind)?.codecs ?? [];
  const rank = (mime: string): number => PREFERRED[kind].indexOf(mime.toLowerCase());
  const kept = all.filter(({ mimeType }) => rank(mimeType) >= 0).sort((a, b) => rank(a.mimeType) - rank(b.mimeType));
  if (kept.length === 0) return;
  try {
    transceiver.setCodecPreferences(kept);
  } catch {
    // The browser's own order is taken then.
  }
}

const PREFERRED: Record<Kind, string[]> = {
  audio: ["audio/opus", "audio/telephone-event"],
  video: ["video/vp8", "video/vp9", "video/av1", "video/rtx"],
};
const CAMERA_BPS = 1_700_000;
/** The smallest first, as the specification wants them. */
const LAYERS: RTCRtpEncodingParameters[] = [
  { rid: "q", scaleResolutionDownBy: 4, maxBitrate: 150_000 },
  { rid: "h", scaleResolutionDownBy: 2, maxBitrate: 500_000 },
  { rid: "f", scaleResolutionDownBy: 1, maxBitrate: CAMERA_BPS },
];
const FULL_SIZE_FIRST_MS = 20_000;
const VOICE_BPS = 48_000;
const MUSIC_BPS = 128_000;
