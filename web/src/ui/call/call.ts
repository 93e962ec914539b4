// `<re-call>`: the call itself. Puts the parts together, turns news into words and keys into actions.
import { css, html, nothing } from "lit";
import type { Config } from "../../client/api.ts";
import type { Call } from "../../client/call.ts";
import { choices, rememberChoices } from "../../client/memory.ts";
import { base, ReElement } from "../base.ts";
import { clock } from "../../words/format.ts";
import { icon } from "../elements/icon.ts";
import type { BarAction, ReCallBar } from "./bar.ts";
import type { DialogName } from "./dialogs.ts";
import { keyAction } from "./keys.ts";
import type { KeyAction } from "./keys.ts";
import { noticesOf } from "./notices.ts";
import type { PanelTab } from "./panel.ts";
import { Reporter } from "./reporter.ts";
import type { ReSounds } from "./sounds.ts";
import type { StageMode } from "./stage.ts";
import type { TileWish } from "./tile.ts";
import { tilesOf } from "./tiles.ts";
import { stayAwake } from "./wake.ts";
import { Watchman } from "./watchman.ts";
import "./bar.ts";
import "./dialogs.ts";
import "./invite.ts";
import "./panel.ts";
import "./rec-pill.ts";
import "./sounds.ts";
import "./stage.ts";

export class ReCall extends ReElement {
  static override properties = {
    call: { attribute: false },
    config: { attribute: false },
    isQuiet: { attribute: false },
    panel: { state: true },
    dialog: { state: true },
    mode: { state: true },
    pinned: { state: true },
    hasSelfView: { state: true },
    isSoundHeld: { state: true },
    back: { state: true },
    unread: { state: true },
    version: { state: true },
    isIdle: { type: Boolean, reflect: true, attribute: "idle" },
  };
  declare call: Call | null;
  declare config: Config | null;
  /** The sound is off because another window plays it. */
  declare isQuiet: boolean;
  declare private panel: PanelTab | null;
  declare private dialog: DialogName | null;
  declare private mode: StageMode;
  declare private pinned: string | null;
  declare private hasSelfView: boolean;
  declare private isSoundHeld: boolean;
  /** The recording that is looked back into, and from where. */
  declare private back: { id: string; from: number } | null;
  declare private unread: number;
  declare private version: number;
  declare private isIdle: boolean;
  private speakerId = choices().speakerId;
  private watchman: Watchman | null = null;
  private isTalking = false;
  private idleTimer: ReturnType<typeof setTimeout> | undefined;

  constructor() {
    super();
    this.call = null;
    this.config = null;
    this.isQuiet = false;
    this.panel = null;
    this.dialog = null;
    this.mode = "auto";
    this.pinned = null;
    this.hasSelfView = choices().selfView;
    this.isSoundHeld = false;
    this.back = null;
    this.unread = 0;
    this.version = 0;
    this.isIdle = false;
  }

  override connectedCallback(): void {
    super.connectedCallback();
    const signal = this.connected;
    stayAwake(signal);
    addEventListener("keydown", (event) => this.onKey(event), { signal });
    addEventListener("keyup", (event) => { if (event.code === "Space") this.talk(false); }, { signal });
    addEventListener("blur", () => this.talk(false), { signal });
    for (const sign of ["pointermove", "pointerdown", "keydown", "focusin"]) this.addEventListener(sign, () => this.stir(), { signal });
    this.stir();
    this.attach();
  }

  override willUpdate(changed: Map<string, unknown>): void {
    if (changed.has("call") && changed.get("call") !== undefined) this.attach();
  }

  private attached: Call | null = null;

  private attach(): void {
    const { call } = this;
    if (!call || call === this.attached) return;
    this.attached = call;
    const signal = this.connected;
    const redraw = (): void => void (this.version += 1);
    call.on("change", redraw, signal);
    call.on("tracks", redraw, signal);
    call.options.local?.on("change", redraw, signal);
    const reporter = new Reporter();
    call.on("news", (news) => {
      reporter.report(news);
      if (news.type === "chat" && !news.isMine && this.panel !== "chat") this.unread += 1;
    }, signal);
    this.watchman = new Watchman(call, redraw, signal);
  }

  override disconnectedCallback(): void {
    clearTimeout(this.idleTimer);
    this.attached = null;
    super.disconnectedCallback();
  }

  override firstUpdated(): void {
    // The lobby went and took the focus with it.
    this.renderRoot.querySelector("h1")?.focus();
  }

  // On a low screen the bar lies over the picture and goes away while nobody needs it.
  private stir(): void {
    clearTimeout(this.idleTimer);
    if (this.isIdle) this.isIdle = false;
    this.idleTimer = setTimeout(() => {
      const foot = this.renderRoot.querySelector(".foot");
      this.isIdle = !foot?.matches(":focus-within") && foot?.querySelector("[open]") === null;
    }, IDLE_MS);
  }

  private onKey(event: KeyboardEvent): void {
    const [target] = event.composedPath();
    const element = target instanceof Element ? target : null;
    const isInMenu = event.composedPath().some((node) => node instanceof Element && node.matches("dialog, re-menu[open]"));
    const focus = {
      isText: element?.matches("input:not([type=checkbox]), textarea, select, [contenteditable]") ?? false,
      isControl: element?.matches("button, a, input, summary, [role=tab], [tabindex='0']") ?? false,
      isInMenu,
    };
    if (event.key === "Escape") return this.onEscape(event);
    const action = keyAction(event, focus, choices().singleKeys);
    if (action === null) return;
    event.preventDefault();
    if (!event.repeat) this.do(action);
  }

  private onEscape(event: KeyboardEvent): void {
    this.talk(false);
    if (event.defaultPrevented || this.dialog !== null) return;
    if (this.panel !== null) this.panel = null;
    else this.back = null;
  }

  private do(action: KeyAction): void {
    const { local } = this.call?.options ?? {};
    switch (action) {
      case "help": this.dialog = "keys"; return;
      case "microphone": return void (local && local.setMicrophone(!(local.microphone.isWanted && local.microphone.track !== null)));
      case "camera": return void (local && local.setCamera(!(local.camera.isWanted && local.camera.track !== null)));
      case "bar": this.stir(); return this.renderRoot.querySelector<ReCallBar>("re-call-bar")?.focusFirst();
      case "talk": return this.talk(true);
      case "share": return this.onBar("share");
      case "chat": return this.show("chat");
      case "people": return this.show("people");
      case "record": return this.onBar("record");
      case "layout": return this.onBar("layout");
      case "full-screen": return void (document.fullscreenElement ? document.exitFullscreen() : this.requestFullscreen().catch(() => undefined));
    }
  }

  // Hold Space to talk while muted.
  private talk(isDown: boolean): void {
    const { local } = this.call?.options ?? {};
    if (!local || isDown === this.isTalking) return;
    if (isDown && (local.microphone.isWanted || local.microphone.track === null)) return;
    this.isTalking = isDown;
    void local.setMicrophone(isDown, "moment");
  }

  private onBar(action: BarAction): void {
    const { call } = this;
    const state = call?.room?.recording.state ?? "off";
    if (!call) return;
    switch (action) {
      case "share": return void (call.screen ? call.unshare() : this.share(call));
      case "record": return call.room?.grants.record ? call.record(state === "off" ? "start" : "stop") : undefined;
      case "pause": return call.record(state === "paused" ? "resume" : "pause");
      case "agree": return call.answerConsent("agreed");
      case "decline": return call.answerConsent("declined");
      case "look-back": return void this.lookBack();
      case "leave": return call.leave();
      case "layout": this.mode = this.mode === "speaker" ? "auto" : "speaker"; return;
      case "self-view":
        this.hasSelfView = !this.hasSelfView;
        return rememberChoices({ selfView: this.hasSelfView });
      case "settings": case "keys": case "details": case "end": this.dialog = action;
    }
  }

  /** What was said a moment ago; the call goes on, and the others still see and hear this person. */
  private async lookBack(): Promise<void> {
    const { id, duration_ms } = this.call?.room?.recording ?? {};
    if (id === undefined || duration_ms === undefined) return;
    const { BACK_MS } = await import("../player/look-back.ts");
    this.back = { id, from: Math.max(0, duration_ms - BACK_MS) };
  }

  private async share(call: Call): Promise<void> {
    try {
      const stream = await navigator.mediaDevices.getDisplayMedia({ video: { frameRate: { max: 30 } }, audio: { echoCancellation: false, noiseSuppression: false, autoGainControl: false } });
      await call.share(stream);
    } catch {
      // Whoever cancels the picker wanted to.
    }
  }

  private show(tab: PanelTab): void {
    this.panel = this.panel === tab ? null : tab;
    if (this.panel === "chat") this.unread = 0;
  }

  private onTile({ what, tile }: TileWish): void {
    const source = tile.key.slice(tile.key.indexOf("/") + 1) as "camera" | "screen1";
    switch (what) {
      case "pin": this.pinned = tile.key; return;
      case "unpin": this.pinned = null; return;
      case "mute": return this.call?.mute(tile.participant, source, "audio");
      case "stop-camera": return this.call?.mute(tile.participant, source, "video");
      case "remove": return this.call?.remove(tile.participant);
    }
  }

  private turnSoundOn(): void {
    this.isQuiet = false;
    this.isSoundHeld = false;
    this.renderRoot.querySelector<ReSounds>("re-sounds")?.wake();
  }

  override render() {
    const { call } = this;
    const room = call?.room;
    if (!call || !room) return nothing;
    const now = Date.now();
    const w = this.words.call;
    const tiles = tilesOf(call, { pinned: this.pinned, rings: call.speakers.rings(now) });
    const isAlone = room.participants.length <= 1;
    const notices = noticesOf(call, {
      isSoundHeld: this.isSoundHeld,
      isQuiet: this.isQuiet,
      isTalkingMuted: this.watchman?.isTalkingMuted ?? false,
      isLeftAlone: this.watchman?.isLeftAlone ?? false,
      troubleSince: this.watchman?.troubleSince ?? null,
      turnSoundOn: () => this.turnSoundOn(),
      showDetails: () => (this.dialog = "details"),
      keepRecording: () => this.watchman?.keepRecording(),
    });
    return html`<div class="call ${this.panel ? "with-panel" : ""}" @re-speaker=${(event: CustomEvent<string>) => { this.speakerId = event.detail === "default" ? "" : event.detail; this.version += 1; }}
        @re-original-sound=${(event: CustomEvent<boolean>) => call.setStereo(event.detail)}>
      <header>${this.top(call)}</header>
      <main>
        <h1 class="unseen" tabindex="-1">${room.room}</h1>
        <re-stage .tiles=${tiles} mode=${this.mode} .mainSpeaker=${call.speakers.main(now)} .recent=${call.speakers.recent(now)} .hasSelfView=${this.hasSelfView}
          @re-visible=${(event: CustomEvent<string[]>) => call.show(new Set(event.detail))} @re-tile-do=${(event: CustomEvent<TileWish>) => this.onTile(event.detail)}>
          ${isAlone ? html`<div class="alone"><re-invite large .room=${room.room} .config=${this.config}></re-invite></div>` : nothing}
        </re-stage>
        ${this.back ? html`<re-look-back .recording=${this.back.id} .from=${this.back.from} .saved=${room.recording.duration_ms} .note=${w.lookingBack} @re-live=${() => (this.back = null)}></re-look-back>` : nothing}
        <div class="notices">${notices}</div>
      </main>
      <footer class="foot"><re-call-bar .call=${call} .config=${this.config} mode=${this.mode} .hasSelfView=${this.hasSelfView} .version=${this.version}
        @re-bar=${(event: CustomEvent<BarAction>) => this.onBar(event.detail)}></re-call-bar></footer>
      ${this.panel ? html`<aside aria-label=${w.sidePanel}><re-panel .call=${call} tab=${this.panel} .version=${this.version}
        @re-panel=${(event: CustomEvent<PanelTab>) => { this.panel = event.detail; if (event.detail === "chat") this.unread = 0; }} @re-panel-close=${() => (this.panel = null)}></re-panel></aside>` : nothing}
      <re-sounds .call=${call} .isOff=${this.isQuiet || this.back !== null} .speakerId=${this.speakerId} @re-sound-held=${(event: CustomEvent<boolean>) => (this.isSoundHeld = event.detail)}></re-sounds>
      <re-call-dialogs .call=${call} .config=${this.config} .open=${this.dialog} .version=${this.version} @re-dialog-close=${() => (this.dialog = null)}></re-call-dialogs>
    </div>`;
  }

  private top(call: Call) {
    const w = this.words.call;
    const room = call.room;
    if (!room) return nothing;
    const isAway = call.phase.name === "away" && Date.now() - call.phase.since >= AWAY_CHIP_MS;
    const count = room.participants.length;
    return html`<re-rec-pill .recording=${room.recording} .gaps=${room.gaps} .wish=${call.wish}></re-rec-pill>
      <span class="name">${room.room}</span>
      ${isAway ? html`<span class="away">${w.reconnecting}</span>` : nothing}
      <span class="gap"></span>
      ${room.watchers > 0 ? html`<span class="watchers" role="img" title=${this.words.home.watching(room.watchers)} aria-label=${this.words.home.watching(room.watchers)}>${icon("eye", 18)}<span class="numbers">${room.watchers}</span></span>` : nothing}
      <span class="clock numbers">${clock(Date.now())}</span>
      <button class="quiet top" aria-pressed=${this.panel === "people"} aria-label=${this.words.common.people(count)} title=${this.words.panel.people(count)} @click=${() => this.show("people")}>${icon("people")}<span class="numbers">${count}</span></button>
      <button class="quiet top" aria-pressed=${this.panel === "chat"} aria-label=${this.unread > 0 ? w.chatUnread(this.unread) : this.words.panel.chat} title=${this.words.panel.chat} @click=${() => this.show("chat")}>${icon("chat")}${this.unread > 0 ? html`<span class="count numbers" aria-hidden="true">${this.unread}</span>` : nothing}</button>
      <button class="quiet top" aria-label=${w.invite} title=${w.invite} @click=${() => (this.dialog = "invite")}>${icon("link")}<span class="word" aria-hidden="true">${w.invite}</span></button>`;
  }

  static override styles = [
    base,
    css`
      :host { display: block; position: fixed; inset: 0; container-type: size; color-scheme: dark; background: var(--sunken); color: var(--text); }
      .call {
        display: grid; grid-template: auto minmax(0, 1fr) auto / minmax(0, 1fr); height: 100%;
        padding: env(safe-area-inset-top) env(safe-area-inset-right) 0 env(safe-area-inset-left);
      }
      .with-panel { grid-template-columns: minmax(0, 1fr) 320px; }
      header { position: relative; grid-column: 1 / -1; display: flex; align-items: center; gap: var(--s3); min-width: 0; min-height: 52px; padding: var(--s1) var(--s3); font-size: var(--t2); }
      .name { min-width: 0; overflow: hidden; color: var(--text); font-weight: 600; text-overflow: ellipsis; white-space: nowrap; }
      .gap { flex: 1; }
      .clock { color: var(--text-2); }
      .watchers { display: inline-flex; align-items: center; gap: 6px; color: var(--text-2); }
      .top { gap: 6px; padding: 0 var(--s2); color: var(--text); font-size: var(--t2); }
      .top:hover, .top[aria-pressed="true"] { background: var(--ctl); }
      .count { min-width: 18px; padding: 0 5px; border-radius: var(--round); background: var(--accent); color: var(--on-accent); font: 600 var(--t1)/18px var(--font); }
      .away { padding: var(--s1) var(--s3); border-radius: var(--round); background: var(--warn-bg); color: var(--warn); font-weight: 600; }
      main { position: relative; display: grid; grid-column: 1; min-width: 0; min-height: 0; padding: 0 12px; }
      .notices { position: absolute; inset: var(--s2) var(--s5) auto; z-index: 10; display: grid; gap: var(--s2); justify-items: center; pointer-events: none; }
      .notices re-notice { max-width: 560px; border: 1px solid var(--line); box-shadow: var(--float); pointer-events: auto; }
      .notices re-notice[kind="info"] { background: var(--raised); }
      re-look-back { position: absolute; inset: 0; z-index: 8; max-width: none; padding: var(--s2) var(--s4); background: var(--sunken); }
      .alone { position: absolute; inset: 0; z-index: 1; display: grid; place-content: center; grid-template-columns: minmax(0, 480px); padding: var(--s4); pointer-events: none; }
      .alone > * { pointer-events: auto; }
      .foot { grid-column: 1; min-width: 0; padding: var(--s3) var(--s2) calc(var(--s3) + env(safe-area-inset-bottom)); }
      aside { grid-row: 2 / -1; grid-column: 2; display: grid; min-height: 0; }
      @container (max-width: 719px) {
        main { padding: 0 8px; }
        header { gap: var(--s2); padding: var(--s1) var(--s2); }
        .clock, .watchers, .top .word { display: none; }
        .away { position: absolute; top: calc(100% + var(--s1)); left: 50%; z-index: 11; width: max-content; max-width: calc(100vw - 24px); translate: -50%; border-radius: var(--r2); box-shadow: var(--float); }
        .with-panel { grid-template-columns: minmax(0, 1fr); }
        aside { position: absolute; inset: 20% 0 0; z-index: 20; grid-column: 1; overflow: hidden; border-radius: var(--r3) var(--r3) 0 0; box-shadow: var(--float); }
      }
      /* Two letters of a name tell nothing; the page's title has all of it. */
      @container (max-width: 479px) { .name { display: none; } }
      @container (max-width: 359px) {
        header { gap: 2px; padding: var(--s1); }
        .top { min-width: 40px; padding: 0 var(--s1); }
      }
      @container (max-height: 399px) {
        .foot { position: absolute; inset: auto 0 0; z-index: 6; transition: opacity var(--fast); pointer-events: none; }
        .with-panel .foot { right: 320px; }
        re-call-bar { width: max-content; margin: 0 auto; padding: 4px; border-radius: var(--round); background: var(--scrim); pointer-events: auto; }
        :host([idle]) .foot:not(:focus-within) { opacity: 0; }
        :host([idle]) .foot:not(:focus-within) re-call-bar { pointer-events: none; }
      }
    `,
  ];
}

const IDLE_MS = 4_000;
const AWAY_CHIP_MS = 2_000;

customElements.define("re-call", ReCall);
