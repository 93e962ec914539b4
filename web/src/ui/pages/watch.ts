// `/watch/{room}`: the live call without joining. Waits by itself, leads to the recording when it is over.
import { html, nothing } from "lit";
import type { PropertyValues, TemplateResult } from "lit";
import { ApiError } from "../../client/api.ts";
import { Call } from "../../client/call.ts";
import { isEmbedded, serverUrl } from "../../client/server.ts";
import { recordings } from "../../client/library.ts";
import { roomName } from "../../client/protocol.ts";
import { list } from "../../words/format.ts";
import { announce } from "../announce.ts";
import { base, ReElement } from "../base.ts";
import "../call/rec-pill.ts";
import "../call/sounds.ts";
import type { ReSounds } from "../call/sounds.ts";
import "../call/stage.ts";
import type { TileWish } from "../call/tile.ts";
import { tilesOf } from "../call/tiles.ts";
import "../elements/empty.ts";
import { icon } from "../elements/icon.ts";
import "../elements/notice.ts";
import { stylesOfWatch } from "../elements/watch-style.ts";
import { paths } from "../route.ts";

const CHROME_MS = 2_000;
const RETRY_MS = 3_000;
const RINGS_MS = 250;
/** Before there is so much, there is nothing to look back at. */
const LEAST_MS = 10_000;
/** Refusals that may pass by themselves. */
const PASSING: ReadonlySet<string> = new Set(["offline", "overloaded", "room-not-found", "too-fast"]);

export class RePageWatch extends ReElement {
  static override properties = {
    room: {}, call: { state: true }, version: { state: true }, isMuted: { state: true }, isSoundHeld: { state: true },
    pinned: { state: true }, mayReplay: { state: true }, isIdle: { type: Boolean, reflect: true, attribute: "idle" }, back: { state: true },
  };
  declare room: string;
  declare private call: Call | null;
  declare private version: number;
  declare private isMuted: boolean;
  declare private isSoundHeld: boolean;
  declare private isIdle: boolean;
  /** The recording that is looked back into, and from where; `null` at the live edge. */
  declare private back: { id: string; from: number } | null;
  declare private pinned: string | null;
  /** The recording that this visitor may see, as the server answered. */
  declare private mayReplay: string | null;
  private asked = "";
  private stay = new AbortController();
  private entered = "";
  private idleTimer = 0;
  private hadPeople = false;

  constructor() {
    super();
    this.room = "";
    this.call = null;
    this.version = 0;
    this.isMuted = false;
    this.isSoundHeld = false;
    this.isIdle = false;
    this.back = null;
    this.pinned = null;
    this.mayReplay = null;
  }

  override connectedCallback(): void {
    super.connectedCallback();
    for (const sign of ["pointermove", "pointerdown", "keydown", "focusin"]) this.addEventListener(sign, () => this.stir(), { signal: this.connected });
    this.stir();
  }

  override disconnectedCallback(): void {
    clearTimeout(this.idleTimer);
    this.leave();
    super.disconnectedCallback();
  }

  override willUpdate(changed: PropertyValues): void {
    if (changed.has("room") && this.room !== this.entered) this.enter();
  }

  private leave(): void {
    this.stay.abort();
    this.stay = new AbortController();
    this.call?.leave();
    this.call = null;
    this.entered = "";
  }

  private enter(): void {
    this.leave();
    this.entered = this.room;
    const room = roomName(this.room);
    if (room === null) return;
    const { signal } = this.stay;
    const call = new Call({ room, name: "", role: "watch", consent: "not-asked", wording: "", local: null });
    this.call = call;
    this.hadPeople = false;
    const redraw = (): void => this.onChange(call);
    call.on("change", redraw, signal);
    call.on("tracks", redraw, signal);
    const rings = setInterval(() => { if (call.speakers.isBusy) redraw(); }, RINGS_MS);
    signal.addEventListener("abort", () => clearInterval(rings));
    call.start();
  }

  private onChange(call: Call): void {
    if (call !== this.call) return;
    const isThere = (call.room?.participants.length ?? 0) > 0;
    if (isThere && !this.hadPeople) announce(this.words.watch.live);
    this.hadPeople ||= isThere;
    this.version += 1;
    this.ask(call.saved?.id ?? call.room?.recording.id);
    const { phase } = call;
    const mayPass = phase.name === "lost" || (phase.name === "refused" && PASSING.has(phase.code)) || (phase.name === "closed" && phase.reason === "dropped");
    if (!mayPass) return;
    const again = window.setTimeout(() => { if (this.call === call) this.enter(); }, RETRY_MS);
    this.stay.signal.addEventListener("abort", () => clearTimeout(again));
  }

  // Watching live and seeing the recording are different rights; the server knows.
  private ask(id: string | undefined): void {
    if (id === undefined || id === this.asked) return;
    this.asked = id;
    const { signal } = this.stay;
    recordings.manifest(id, signal).then(
      () => (this.mayReplay = id),
      (error) => {
        // A recording that just began may not be listed yet.
        const isEarly = error instanceof ApiError && error.code === "recording-not-found" && !signal.aborted;
        if (isEarly) setTimeout(() => { this.asked = ""; }, RETRY_MS);
      },
    );
  }

  private onTile(event: CustomEvent<TileWish>): void {
    const { what, tile } = event.detail;
    if (what === "pin") this.pinned = tile.key;
    else if (what === "unpin") this.pinned = null;
  }

  /** The picture comes first: what lies over it goes when nobody needs it. */
  private stir(): void {
    this.isIdle = false;
    clearTimeout(this.idleTimer);
    this.idleTimer = window.setTimeout(() => {
      const isUsed = this.renderRoot.querySelector(".over :focus-visible, .over:hover") !== null;
      if (isUsed) this.stir();
      else this.isIdle = true;
    }, CHROME_MS);
  }

  private get sounds(): ReSounds | null {
    return this.renderRoot.querySelector("re-sounds");
  }

  private toggleSound(): void {
    if (this.isSoundHeld) {
      this.isSoundHeld = false;
      this.isMuted = false;
      this.sounds?.wake();
    } else this.isMuted = !this.isMuted;
  }

  private fullScreen(): void {
    if (document.fullscreenElement) void document.exitFullscreen();
    else void this.requestFullscreen().catch(() => undefined);
  }

  private async look(): Promise<void> {
    const recording = this.call?.room?.recording;
    if (!recording?.id) return;
    const { BACK_MS } = await import("../player/look-back.ts");
    this.back = { id: recording.id, from: Math.max(0, recording.duration_ms - BACK_MS) };
  }

  private toLive(): void {
    this.back = null;
  }

  // --- Drawing -------------------------------------------------------------------------------------------------

  override render() {
    const w = this.words.watch;
    const { call } = this;
    if (roomName(this.room) === null) return this.card(w.badRoom, "", nothing);
    if (!call) return nothing;
    const { phase, room } = call;
    switch (phase.name) {
      case "refused": return this.refused(phase.code, phase.message);
      case "closed": return this.over(phase.reason, phase.by);
      case "lost": return this.card(w.offline, "", nothing);
      case "left":
      case "joining": return html`<main class="stage"><h1 class="unseen">${w.title(this.room)}</h1><p class="quiet" role="status">${w.connecting}</p></main>`;
      case "in":
      case "away": break;
      default: phase satisfies never;
    }
    if (room === null) return nothing;
    if (room.participants.length === 0 && !this.back) return this.hadPeople ? this.over("ended", null) : this.waiting();
    return this.live(call, phase.name === "away");
  }

  private live(call: Call, isAway: boolean): TemplateResult {
    const w = this.words.watch;
    const { room } = call;
    const now = Date.now();
    const tiles = tilesOf(call, { pinned: this.pinned, rings: call.speakers.rings(now) });
    const canLookBack = room?.recording.id !== undefined && room.recording.state === "recording" && room.recording.id === this.mayReplay && room.recording.duration_ms > LEAST_MS;
    const soundLabel = this.isMuted || this.isSoundHeld ? w.soundOn : w.soundOff;
    return html`<main><div class="stage" ?data-back=${this.back !== null}>
        <re-stage .tiles=${tiles} mode="auto" .mainSpeaker=${call.speakers.main(now)} .recent=${call.speakers.recent(now)} .hasSelfView=${false}
          @re-tile-do=${this.onTile} @re-visible=${(event: CustomEvent<string[]>) => call.show(new Set(event.detail))} ?hidden=${this.back !== null}></re-stage>
        <re-sounds .call=${call} .isOff=${this.isMuted || this.back !== null} @re-sound-held=${(event: CustomEvent<boolean>) => (this.isSoundHeld = event.detail)}></re-sounds>
        ${this.back ? html`<re-look-back class="past" .recording=${this.back.id} .from=${this.back.from} .saved=${room?.recording.duration_ms ?? 0} @re-live=${this.toLive}></re-look-back>` : nothing}
        ${isAway ? html`<p class="chip over" role="status">${w.reconnecting}</p>` : nothing}
        ${this.isSoundHeld && !this.back ? html`<button class="main big" @click=${this.toggleSound}>${icon("sound")}${w.soundOn}</button>` : nothing}
        ${call.hasNoPath ? html`<re-notice class="over" kind="bad">${w.noPath}</re-notice>` : nothing}
      </div>
      <div class="over top">
        <re-rec-pill .recording=${room?.recording ?? null} .wish=${null}></re-rec-pill>
        <h1><bdi>${this.room}</bdi></h1>
        <span class="counts numbers">${icon("people", 16)}<span class="unseen">${w.people(room?.participants.length ?? 0)}</span><span aria-hidden="true">${room?.participants.length ?? 0}</span>
          ${icon("eye", 16)}<span class="unseen">${w.watchers(room?.watchers ?? 0)}</span><span aria-hidden="true">${room?.watchers ?? 0}</span></span>
      </div>
      <div class="over bottom" role="toolbar" aria-label=${w.controls}>
        ${this.back
          ? nothing
          : html`<span class="live on"><span class="dot"></span>${w.live}</span>${canLookBack ? html`<button class="plain" @click=${this.look}>${icon("left")}<span class="word">${w.goBack}</span></button>` : nothing}`}
        <span class="gap"></span>
        <a class="button plain" target=${this.target} href=${serverUrl(paths.room(this.room))}>${w.join}</a>
        <button class="plain icon" aria-label=${soundLabel} title=${soundLabel} @click=${this.toggleSound}>${icon(this.isMuted || this.isSoundHeld ? "sound-off" : "sound")}</button>
        <button class="plain icon" aria-label=${w.fullScreen} title=${w.fullScreen} @click=${this.fullScreen}>${icon("full-screen")}</button>
      </div></main>`;
  }

  /** On a page of somebody else our links open beside it. */
  private get target(): string | typeof nothing {
    return isEmbedded() ? "_blank" : nothing;
  }

  private waiting(): TemplateResult {
    const w = this.words.watch;
    return this.card(w.waiting, w.waitingText, html`<a slot="action" class="button" target=${this.target} href=${serverUrl(paths.room(this.room))}>${w.join}</a>`);
  }

  private over(reason: string, by: string | null): TemplateResult {
    const w = this.words.watch;
    const { call } = this;
    const recording = call?.room?.recording;
    const id = call?.saved?.id ?? recording?.id;
    const heading = reason === "stopping" ? w.stopping : reason === "dropped" ? w.dropped : reason === "ended" && by ? w.endedBy(by) : reason === "expired" ? w.locked : w.ended;
    return this.card(heading, id ? "" : w.endedText, id && id === this.mayReplay
      ? html`<a slot="action" class="button main" target=${this.target} href=${serverUrl(paths.replay(id))}>${w.watchRecording}</a>`
      : html`<a slot="action" class="button" target=${this.target} href=${serverUrl(paths.home)}>${this.words.common.toHome}</a>`);
  }

  private refused(code: string, message: string): TemplateResult {
    const w = this.words.watch;
    const join = html`<a slot="action" class="button" target=${this.target} href=${serverUrl(paths.room(this.room))}>${w.join}</a>`;
    switch (code) {
      case "watch-off": return this.card(w.off, w.offText, join);
      case "unauthorized":
      case "token-expired":
      case "forbidden": return this.card(w.locked, "", html`<a slot="action" class="button" target=${this.target} href=${serverUrl(paths.home)}>${this.words.common.toHome}</a>`);
      case "limit-reached":
      case "room-full": return this.card(w.full, "", html`<button slot="action" @click=${this.enter}>${this.words.common.tryAgain}</button>`);
      case "room-not-found": return this.waiting();
      case "offline":
      case "overloaded": return this.card(w.offline, "", nothing);
      default: return this.card(w.refused(message), "", html`<button slot="action" @click=${this.enter}>${this.words.common.tryAgain}</button>`);
    }
  }

  private card(heading: string, text: string, actions: TemplateResult | typeof nothing): TemplateResult {
    const names = this.call?.room?.participants.map((one) => one.name) ?? [];
    return html`${isEmbedded() ? nothing : html`<re-header></re-header>`}<main class="card">
      <re-empty main .heading=${heading}><p>${text}</p>${names.length > 0 ? html`<p>${list(names)}</p>` : nothing}${actions}</re-empty></main>`;
  }

  static override styles = [base, stylesOfWatch];
}

customElements.define("re-page-watch", RePageWatch);
