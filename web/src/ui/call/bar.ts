// The call bar: microphone, camera, share, record, more, and apart from them leave.
import { css, html, nothing } from "lit";
import { withAccess } from "../../client/access.ts";
import type { Config } from "../../client/api.ts";
import type { Call } from "../../client/call.ts";
import type { RoomState } from "../../client/room-state.ts";
import { duration } from "../../words/format.ts";
import { base, ReElement } from "../base.ts";
import { icon } from "../elements/icon.ts";
import { menuItems } from "../elements/menu.ts";
import { paths } from "../route.ts";
import type { StageMode } from "./stage.ts";
import "../devices/device-button.ts";
import "../elements/menu.ts";

/** `re-bar`: what was pressed. */
export type BarAction = "share" | "record" | "pause" | "leave" | "end" | "self-view" | "settings" | "keys" | "details" | "layout" | "agree" | "decline" | "look-back";

export class ReCallBar extends ReElement {
  static override properties = {
    call: { attribute: false },
    config: { attribute: false },
    mode: {},
    hasSelfView: { attribute: false },
    version: { attribute: false },
  };
  declare call: Call | null;
  declare config: Config | null;
  declare mode: StageMode;
  declare hasSelfView: boolean;
  /** Any new value draws anew. */
  declare version: number;

  constructor() {
    super();
    this.call = null;
    this.config = null;
    this.mode = "auto";
    this.hasSelfView = true;
    this.version = 0;
  }

  /** F2 comes here. */
  focusFirst(): void {
    this.buttons()[0]?.focus();
  }

  private buttons(): HTMLElement[] {
    const inside = (root: ParentNode): HTMLElement[] =>
      [...root.querySelectorAll<HTMLElement>("button, re-device-button")].flatMap((one) =>
        one.shadowRoot ? inside(one.shadowRoot) : one.closest("re-menu") && one.slot !== "trigger" ? [] : [one],
      );
    return inside(this.renderRoot).filter((one) => one.offsetParent !== null);
  }

  private onKey(event: KeyboardEvent): void {
    const step = event.key === "ArrowRight" ? 1 : event.key === "ArrowLeft" ? -1 : 0;
    if (step === 0 || event.ctrlKey || event.metaKey || event.altKey) return;
    const buttons = this.buttons();
    const at = buttons.findIndex((one) => one === event.composedPath()[0]);
    if (at < 0) return;
    event.preventDefault();
    buttons.at((at + step) % buttons.length)?.focus();
  }

  private tell(action: BarAction): void {
    this.dispatchEvent(new CustomEvent<BarAction>("re-bar", { detail: action }));
  }

  override render() {
    const { call } = this;
    const room = call?.room;
    if (!call || !room) return nothing;
    const w = this.words.bar;
    const isSharing = call.screen !== null;
    const canShare = room.grants.publish && typeof navigator.mediaDevices?.getDisplayMedia === "function";
    return html`<div class="bar" role="group" aria-label=${w.title} @keydown=${this.onKey}>
      ${call.options.local && room.grants.publish ? html`
        <re-device-button compact kind="audio" align="start" .local=${call.options.local}></re-device-button>
        <re-device-button compact kind="video" align="center" .local=${call.options.local}></re-device-button>` : nothing}
      ${canShare ? html`<button class="ctl ${isSharing ? "active" : ""}" aria-label=${isSharing ? w.stopShare : w.share} title=${isSharing ? w.stopShare : w.share} @click=${() => this.tell("share")}>
        ${icon("screen")}<span class="word" aria-hidden="true">${isSharing ? w.sharing : w.shareShort}</span></button>` : nothing}
      ${this.record(call)}
      ${this.more(call)}
      <button class="ctl leave" aria-label=${w.leave} title=${w.leave} @click=${() => this.tell("leave")}>${icon("leave")}<span class="word" aria-hidden="true">${w.leaveShort}</span></button>
    </div>`;
  }

  private record(call: Call) {
    const w = this.words.bar;
    if (!call.room?.grants.record || this.config?.recording.start === "off") return nothing;
    const isOn = call.room.recording.state !== "off";
    const label = isOn ? w.stopRecording : w.startRecording;
    return html`<button class="ctl" aria-label=${label} title=${label} @click=${() => this.tell("record")}>
      ${icon(isOn ? "stop" : "record")}<span class="word" aria-hidden="true">${isOn ? w.stopShort : w.recordShort}</span></button>`;
  }

  private more(call: Call) {
    const w = this.words.bar;
    const room = call.room;
    if (!room) return nothing;
    const state = room.recording.state;
    const isRecording = state !== "off" && state !== "waiting";
    const item = (action: BarAction, glyph: Parameters<typeof icon>[0], text: string, extra = "") =>
      html`<button class="item ${extra}" @click=${() => this.tell(action)}>${icon(glyph)}${text}</button>`;
    return html`<re-menu class="menu" align="end" .label=${w.more}>
      <button slot="trigger" class="ctl" aria-label=${w.more} title=${w.more}>${icon("more")}<span class="word" aria-hidden="true">${w.more}</span></button>
      ${item("layout", "grid", this.mode === "speaker" ? w.showAll : w.followSpeaker)}
      ${item("self-view", "eye", this.hasSelfView ? w.hideSelf : w.showSelf)}
      ${room.grants.record && (state === "recording" || state === "paused") ? item("pause", state === "paused" ? "record" : "pause", state === "paused" ? w.resumeRecording : w.pauseRecording) : nothing}
      ${isRecording && call.me ? (call.me.recorded ? item("decline", "hand", w.stopRecordingMe) : item("agree", "record", w.recordMe)) : nothing}
      ${call.saved ? html`<a class="item" target="_blank" href=${withAccess(paths.replay(call.saved.id))}>${icon("play")}${w.playSaved(duration(call.saved.duration_ms))}</a>` : nothing}
      ${canLookBack(room) ? item("look-back", "left", this.words.watch.goBack) : nothing}
      <div class="rule"></div>
      ${item("settings", "settings", w.settings)}
      ${item("keys", "keyboard", w.keys)}
      ${item("details", "info", w.details)}
      ${room.grants.moderate ? html`<div class="rule"></div>${item("end", "close", w.endForAll, "danger")}` : nothing}
    </re-menu>`;
  }

  static override styles = [
    base,
    menuItems,
    css`
      :host { display: block; }
      .bar { display: flex; align-items: center; justify-content: center; gap: var(--s2); }
      .ctl { min-width: 52px; min-height: 48px; padding: 0 var(--s4); border: 0; border-radius: var(--round); background: var(--ctl); color: #EEF0F5; font-size: var(--t2); font-weight: 500; }
      .ctl:hover { background: #3A4150; }
      .active { background: var(--accent-bg); color: var(--text); }
      .leave { margin-left: var(--s4); background: var(--rec); color: var(--on-rec); }
      .leave:hover { background: #B91F26; }
      @container (max-width: 959px) { .ctl .word { display: none; } .ctl { padding: 0; width: 52px; } }
      @container (max-width: 559px) { .bar { gap: 6px; } .ctl { width: 48px; min-width: 48px; } .leave { margin-left: 12px; } }
      @container (max-width: 359px) { .bar { gap: 2px; } .leave { margin-left: 4px; } }
    `,
  ];
}

/** Whether there is something to look back at, and the right to it. */
export function canLookBack({ recording, grants }: RoomState): boolean {
  return grants.replay && recording.state === "recording" && recording.id !== undefined && recording.duration_ms > LEAST_MS;
}

const LEAST_MS = 10_000;

customElements.define("re-call-bar", ReCallBar);
