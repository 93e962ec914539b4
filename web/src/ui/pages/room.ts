// `/r/{room}`: the lobby, then the call, then what remains of it.
import { css, html } from "lit";
import { accessToken, mayPublish, nameInToken } from "../../client/access.ts";
import { api, ApiError, isLockedOut } from "../../client/api.ts";
import type { Config, LiveRoom } from "../../client/api.ts";
import { Call } from "../../client/call.ts";
import { LocalMedia } from "../../client/devices.ts";
import { rememberedName, rememberedSeat, rememberName } from "../../client/memory.ts";
import { roomName } from "../../client/protocol.ts";
import type { Consent } from "../../client/protocol.ts";
import { Siblings } from "../../client/siblings.ts";
import { language } from "../../words/index.ts";
import { base, ReElement } from "../base.ts";
import { paths } from "../route.ts";
import "../call/call.ts";
import "../call/lobby.ts";
import type { JoinWish } from "../call/lobby.ts";
import "../call/over.ts";

const LOOK_MS = 4_000;
/** Raised when the sentence that people agree to changes. */
const WORDING = 1;

class RePageRoom extends ReElement {
  static override properties = {
    room: {},
    call: { state: true },
    live: { state: true },
    config: { state: true },
    refusal: { state: true },
    isComingBack: { state: true },
    isQuiet: { state: true },
    isToAsk: { state: true },
  };
  declare room: string;
  declare private call: Call | null;
  declare private live: LiveRoom | null;
  declare private config: Config | null;
  declare private refusal: { code: string; message: string } | null;
  declare private isComingBack: boolean;
  /** Another window of this browser is in the room: the sound stays off here. */
  declare private isQuiet: boolean;
  /** The browser would ask for the devices, so the lobby says so first. */
  declare private isToAsk: boolean;
  private local: LocalMedia | null = null;
  private siblings: Siblings | null = null;
  private entered = "";
  /** Who this browser was in the window that took over, while it is being taken back. */
  private replaced: string | null = null;
  /** Ends when another room, or another page, is opened. */
  private stay = new AbortController();

  constructor() {
    super();
    this.room = "";
    this.call = null;
    this.live = null;
    this.config = null;
    this.refusal = null;
    this.isComingBack = false;
    this.isQuiet = false;
    this.isToAsk = false;
  }

  override disconnectedCallback(): void {
    this.close();
    super.disconnectedCallback();
  }

  override willUpdate(changed: Map<string, unknown>): void {
    if (changed.has("room") && this.room !== this.entered) this.enter();
  }

  private close(): void {
    this.stay.abort();
    this.stay = new AbortController();
    this.call?.leave();
    this.call = null;
    this.local?.close();
    this.local = null;
    this.siblings?.close();
    this.siblings = null;
    this.entered = "";
  }

  private enter(): void {
    this.close();
    this.entered = this.room;
    this.refusal = null;
    const name = roomName(this.room);
    if (name === null) return;
    this.local = new LocalMedia(testSize(location.search));
    this.siblings = new Siblings((participant) => {
      if (this.call?.room?.me === participant) this.call.giveWay();
    });
    const seat = rememberedSeat(name, Date.now());
    if (seat !== null) {
      this.isComingBack = true;
      if (this.mayPublish) void this.local.open();
      void this.start({ name: seat.name, consent: "not-asked" }, seat.token);
    } else if (this.mayPublish) void this.openIfGranted(this.local);
    this.look();
    const timer = setInterval(() => this.look(), LOOK_MS);
    this.stay.signal.addEventListener("abort", () => clearInterval(timer));
  }

  /** A link that only listens needs no device, and shows none. */
  private get mayPublish(): boolean {
    return mayPublish(accessToken());
  }

  private async openIfGranted(local: LocalMedia): Promise<void> {
    this.isToAsk = !(await local.isGranted());
    if (!this.isToAsk) await local.open();
  }

  // What the lobby shows: who is there, and whether it is recorded.
  private look(): void {
    const name = roomName(this.room) ?? "";
    const { signal } = this.stay;
    if (this.config === null) {
      api.config(signal).then((config) => {
        this.config = config;
        this.look();
      }, () => undefined);
      return;
    }
    if (this.call !== null) return;
    if (isLockedOut(this.config)) {
      this.refusal ??= { code: "unauthorized", message: "" };
      return;
    }
    if (this.refusal?.code === "unauthorized" && this.refusal.message === "") this.refusal = null;
    // From the list: a room that does not exist yet is no error.
    api.rooms(signal).then(
      (rooms) => (this.live = rooms.find((one) => one.room === name) ?? null),
      (error) => { if (error instanceof ApiError) this.live = null; },
    );
  }

  private async start({ name, consent }: { name: string; consent: Consent }, seat?: string): Promise<void> {
    const room = roomName(this.room);
    const { local, siblings } = this;
    if (room === null || !local || !siblings) return;
    this.refusal = null;
    if (seat === undefined) {
      rememberName(name);
      local.settle();
    }
    const call = new Call({
      room,
      name,
      role: "join",
      consent,
      wording: `${language()}-${WORDING}`,
      local: this.mayPublish ? local : null,
      ...(seat === undefined ? {} : { seat }),
    });
    this.call = call;
    call.on("change", () => this.onCall(call), this.stay.signal);
    call.start();
    // Joining takes longer than asking around.
    this.isQuiet = await siblings.isAnotherIn(room);
    siblings.enter(room);
  }

  private onCall(call: Call): void {
    if (call !== this.call) return;
    if (call.phase.name === "in") {
      this.isComingBack = false;
      if (this.replaced !== null) this.siblings?.takeOver(call.options.room, this.replaced);
      this.replaced = null;
    }
    // Nothing looks or listens once the call is over.
    const isOver = !["joining", "in", "away"].includes(call.phase.name);
    if (isOver && call.room !== null) {
      this.local?.close();
      this.local = null;
    }
    // Refused at the door: the lobby says why. Refused later: there is a call to look back at.
    if (call.phase.name === "refused" && call.room === null) {
      this.refusal = { code: call.phase.code, message: call.phase.message };
      if (call.phase.code === "offline") void this.explainSilence();
      this.isComingBack = false;
      this.call = null;
    }
    this.requestUpdate();
  }

  // The page came and the socket does not: a phone that was told to open the page in spite of its certificate.
  private async explainSilence(): Promise<void> {
    try {
      await api.config(this.stay.signal);
      if (this.refusal?.code === "offline") this.refusal = { code: "socket-blocked", message: "" };
    } catch {
      // The server is away altogether: that is what the page says already.
    }
  }

  private rejoin(how: "plain" | "take-over"): void {
    const before = this.call;
    if (!before) return;
    const me = before.me;
    // The other window goes when this one is in: the room is never empty in between.
    this.replaced = how === "take-over" ? (before.room?.me ?? null) : null;
    this.local ??= new LocalMedia(testSize(location.search));
    if (this.mayPublish) void this.local.open();
    void this.start({ name: before.options.name, consent: me?.consent ?? before.options.consent });
  }

  override render() {
    const w = this.words;
    if (roomName(this.room) === null) {
      return html`<re-header></re-header><main><re-empty .heading=${w.home.roomBad}><a slot="action" href=${paths.home}>${w.common.toHome}</a></re-empty></main>`;
    }
    const phase = this.call?.phase.name;
    if (this.call && (phase === "in" || phase === "away")) return html`<re-call .call=${this.call} .config=${this.config} .isQuiet=${this.isQuiet}></re-call>`;
    if (this.call && phase !== "joining") {
      return html`<re-header></re-header><re-over .call=${this.call} @re-rejoin=${(event: CustomEvent<"plain" | "take-over">) => this.rejoin(event.detail)}></re-over>`;
    }
    if (this.isComingBack) return html`<main class="back"><p class="second">${w.lobby.comingBack}</p></main>`;
    return html`<re-header></re-header>
      <re-lobby .room=${roomName(this.room) ?? ""} .name=${nameInToken(accessToken()) || rememberedName()} .isNameFixed=${nameInToken(accessToken()) !== ""} .canPublish=${this.mayPublish} .isToAsk=${this.isToAsk} .local=${this.local} .live=${this.live} .config=${this.config} .refusal=${this.refusal}
        .isJoining=${phase === "joining"} @re-join=${(event: CustomEvent<JoinWish>) => void this.start(event.detail)}></re-lobby>`;
  }

  static override styles = [
    base,
    css`
      :host { display: block; }
      .back { display: grid; place-content: center; min-height: 100dvh; }
    `,
  ];
}

/** `?media=synthetic`, with `&size=640x360` if 720p is too much for this computer. */
function testSize(search: string): { width: number; height: number } | undefined {
  const query = new URLSearchParams(search);
  if (query.get("media") !== "synthetic") return undefined;
  const [, width, height] = /^(\d{2,4})x(\d{2,4})$/.exec(query.get("size") ?? "") ?? [];
  return { width: Number(width ?? 1280), height: Number(height ?? 720) };
}

customElements.define("re-page-room", RePageRoom);
