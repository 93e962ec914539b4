// Before the call: how one looks and sounds, who is there, whether it is recorded, under which name.
import { css, html, nothing } from "lit";
import type { Config, LiveRoom } from "../../client/api.ts";
import { TEST_DEVICE } from "../../client/capture.ts";
import type { LocalMedia } from "../../client/devices.ts";
import type { Consent } from "../../client/protocol.ts";
import { list } from "../../words/format.ts";
import { base, ReElement } from "../base.ts";
import { isProblem, problemText } from "../devices/problems.ts";
import { icon } from "../elements/icon.ts";
import { paths } from "../route.ts";
import "../devices/device-button.ts";
import "../devices/level.ts";
import "../devices/preview.ts";

/** `re-join` carries this. */
export interface JoinWish {
  name: string;
  consent: Consent;
}

export class ReLobby extends ReElement {
  static override properties = {
    room: {},
    name: {},
    isNameFixed: { attribute: false },
    canPublish: { attribute: false },
    isToAsk: { attribute: false },
    local: { attribute: false },
    live: { attribute: false },
    config: { attribute: false },
    refusal: { attribute: false },
    isJoining: { attribute: false },
    isNameBad: { state: true },
  };
  declare room: string;
  declare name: string;
  /** The access token says who this is. */
  declare isNameFixed: boolean;
  /** False for a link that only listens: no device is asked for or shown. */
  declare canPublish: boolean;
  /** The browser would ask for the devices; not known to begin with. */
  declare isToAsk: boolean;
  declare local: LocalMedia | null;
  declare live: LiveRoom | null;
  declare config: Config | null;
  /** Why the last try failed. */
  declare refusal: { code: string; message: string } | null;
  declare isJoining: boolean;
  declare private isNameBad: boolean;
  private heard: AbortController | null = null;

  constructor() {
    super();
    this.room = "";
    this.name = "";
    this.isNameFixed = false;
    this.canPublish = true;
    this.isToAsk = false;
    this.local = null;
    this.live = null;
    this.config = null;
    this.refusal = null;
    this.isJoining = false;
    this.isNameBad = false;
  }

  override willUpdate(changed: Map<string, unknown>): void {
    if (!changed.has("local") && this.heard !== null) return;
    this.heard?.abort();
    this.heard = new AbortController();
    this.local?.on("change", () => this.requestUpdate(), this.heard.signal);
  }

  override disconnectedCallback(): void {
    this.heard?.abort();
    this.heard = null;
    super.disconnectedCallback();
  }

  private get isRecordedNow(): boolean {
    const state = this.live?.recording.state ?? "off";
    return this.config?.recording.start === "auto" || state !== "off";
  }

  private get isConsentNeeded(): boolean {
    const isRequired = this.live?.recording.consent_required ?? this.config?.recording.consent === "required";
    return isRequired && this.isRecordedNow;
  }

  private join(consent: Consent): void {
    const name = this.name.trim();
    this.isNameBad = name === "" || [...name].length > 64 || /\p{Cc}/u.test(name);
    if (this.isNameBad) return this.renderRoot.querySelector<HTMLInputElement>("#name")?.focus();
    this.dispatchEvent(new CustomEvent<JoinWish>("re-join", { detail: { name, consent } }));
  }

  override render() {
    const { local } = this;
    if (!local) return nothing;
    return html`<main class="columns">
      <section class="left" aria-label=${this.words.device.preview}>${this.picture(local)}</section>
      <section class="right">${this.form(local)}</section>
    </main>`;
  }

  private picture(local: LocalMedia) {
    const w = this.words;
    if (!this.canPublish) return html`<div class="stage listens">${icon("eye")}<p>${w.lobby.listensOnly}</p></div>`;
    const isUntouched = this.isToAsk && local.camera.state === "off" && local.microphone.state === "off";
    const isAsking = local.camera.state === "asking" || local.microphone.state === "asking";
    const isSame = isProblem(local.camera) && local.camera.state === local.microphone.state;
    const problems = isSame ? [local.camera] : [local.microphone, local.camera].filter((device) => isProblem(device));
    return html`<div class="stage">
        <re-preview .device=${local.camera} .name=${this.name}></re-preview>
        ${isUntouched ? html`<div class="ask"><p>${w.lobby.beforeAsking}</p>
          <button class="main" @click=${() => void local.wantBoth()}>${w.lobby.turnOn}</button></div>` : nothing}
        <div class="devices">
          <re-device-button kind="audio" align="start" .local=${local}></re-device-button>
          <re-level upright .track=${local.microphone.isWanted ? local.microphone.track : null} .onLevel=${(level: number) => local.onLevel(level, Date.now())}></re-level>
          <re-device-button kind="video" align="center" .local=${local}></re-device-button>
        </div>
      </div>
      ${isAsking ? html`<re-notice>${w.device.promptOpen}</re-notice>` : nothing}
      ${problems.map((device) => {
        const { fact, canRetry } = problemText(w, device, isSame ? "both" : device.kind);
        return html`<re-notice kind="warn">${fact}
          ${canRetry ? html`<button slot="action" class="small" @click=${() => void (isSame ? local.wantBoth() : local.retry(device.kind))}>${w.common.tryAgain}</button>` : nothing}
          ${device.kind === "video" ? html`<button slot="action" class="small" @click=${() => void local.choose("video", TEST_DEVICE)}>${w.device.useTestPicture}</button>` : nothing}
        </re-notice>`;
      })}
      ${local.microphone.isSilent && local.microphone.isWanted ? html`<re-notice kind="warn">${w.device.silent}</re-notice>` : nothing}
      ${local.microphone.isSystemMuted ? html`<re-notice kind="warn">${w.device.systemMuted}</re-notice>` : nothing}`;
  }

  private form(local: LocalMedia) {
    const w = this.words.lobby;
    const names = this.live?.participants.map((one) => one.name) ?? [];
    const isOn = local.camera.track !== null || local.microphone.track !== null;
    const canWatch = this.live?.watch ?? (this.config !== null && this.config.watch !== "off");
    const joinText = this.isConsentNeeded ? w.agreeAndJoin : isOn || !this.canPublish ? w.join : w.joinWithout;
    return html`<h1 class="room">${this.room}</h1>
      <p class="second">${names.length === 0 ? w.nobodyHere : w.here(list(names.slice(0, 6)), names.length - 6)}</p>
      ${this.notice()}
      ${this.refusal ? this.refused(this.refusal, canWatch) : nothing}
      <form @submit=${(event: Event) => { event.preventDefault(); this.join(this.isConsentNeeded ? "agreed" : "not-asked"); }} novalidate>
        <label for="name">${w.yourName}</label>
        <input id="name" autocomplete="name" maxlength="64" ?readonly=${this.isNameFixed} .value=${this.name} aria-invalid=${this.isNameBad} aria-describedby=${this.isNameBad ? "name-bad" : nothing}
          @input=${(event: Event) => { this.name = (event.target as HTMLInputElement).value; this.isNameBad = false; }} />
        ${this.isNameBad ? html`<p class="bad" id="name-bad">${w.nameBad}</p>` : nothing}
        <div class="actions">
          <button class=${isOn || this.isConsentNeeded || !this.canPublish ? "main" : ""} ?disabled=${this.isJoining}>${this.isJoining ? w.joining : joinText}</button>
          ${canWatch ? html`<a class="button quiet" href=${paths.watch(this.room)}>${icon("eye")}${w.watchOnly}</a>` : nothing}
        </div>
        ${this.isConsentNeeded ? html`<button type="button" class="linklike left-link" ?disabled=${this.isJoining} @click=${() => this.join("declined")}>${w.joinUnrecorded}</button>` : nothing}
        ${this.canPublish ? html`<p class="hint">${w.nobodySees}</p>` : nothing}
        <p class="hint"><a href=${paths.test}>${w.testLink}</a></p>
      </form>`;
  }

  private notice() {
    const w = this.words.lobby;
    const start = this.config?.recording.start;
    if (this.isRecordedNow) {
      const what = this.config?.recording.tracks === "audio" ? w.recordedTextAudio : w.recordedText;
      // No red before something is written.
      const isWritten = this.live?.recording.state === "recording";
      return html`<div class="recorded">${isWritten ? html`<span class="dot"></span>` : icon("info")}<p><strong>${w.recorded}</strong> ${what}</p></div>`;
    }
    return start === "manual" ? html`<p class="second">${w.mayBeRecorded}</p>` : nothing;
  }

  private refused({ code, message }: { code: string; message: string }, canWatch: boolean) {
    const w = this.words.refused;
    const known = w.byCode[code as keyof typeof w.byCode];
    return html`<re-notice kind="bad" role="alert">${known ?? w.other(message)}
      ${code === "socket-blocked" && this.config?.lan ? html`<a slot="action" class="button small" href=${this.config.lan.ca_url}>${w.getCertificate}</a>` : nothing}
      ${code === "room-full" && canWatch ? html`<a slot="action" class="button small" href=${paths.watch(this.room)}>${this.words.lobby.watch}</a>` : nothing}</re-notice>`;
  }

  static override styles = [
    base,
    css`
      :host { display: block; container-type: inline-size; }
      .columns { display: grid; grid-template-columns: minmax(0, 3fr) minmax(280px, 2fr); gap: var(--s6); align-items: center; max-width: 1080px; min-height: calc(100dvh - 57px); margin: 0 auto; padding: var(--s5) var(--s4); }
      section { display: grid; gap: var(--s3); min-width: 0; }
      .stage { position: relative; color-scheme: dark; color: var(--text); border-radius: var(--r3); }
      .listens { display: grid; place-content: center; justify-items: center; gap: var(--s3); aspect-ratio: 16 / 9; max-height: 50dvh; width: 100%; padding: var(--s5); background: var(--tile); text-align: center; color: var(--text-2); }
      .ask { position: absolute; inset: 0 0 72px; display: grid; place-content: center; justify-items: center; gap: var(--s4); padding: var(--s4); border-radius: var(--r3); background: var(--tile); text-align: center; color: var(--text-2); }
      .devices { position: absolute; inset: auto 0 var(--s3); display: flex; align-items: center; justify-content: center; gap: var(--s2); }
      .room { overflow-wrap: anywhere; }
      form { display: grid; gap: var(--s2); margin-top: var(--s2); }
      .actions { display: flex; flex-wrap: wrap; gap: var(--s2); margin-top: var(--s2); }
      .actions button { min-width: 140px; }
      .bad { color: var(--bad); font-size: var(--t2); }
      .left-link { justify-self: start; min-height: 24px; font-size: var(--t2); font-weight: 400; }
      .recorded { display: flex; gap: var(--s3); padding: var(--s3) var(--s4); border: 1px solid var(--line); border-radius: var(--r2); background: var(--surface); font-size: var(--t2); }
      .recorded .glyph { flex: none; color: var(--text-2); }
      .dot { flex: none; width: 12px; height: 12px; margin-top: 4px; border-radius: 50%; background: var(--rec); }
      @container (max-width: 719px) {
        .columns { grid-template-columns: minmax(0, 1fr); align-content: start; gap: var(--s4); padding: var(--s4); }
        .actions > * { flex: 1 0 auto; max-width: 100%; }
      }
      @media (max-height: 480px) { .columns { min-height: 0; align-items: start; gap: var(--s4); padding: var(--s3) var(--s4); } }
    `,
  ];
}

customElements.define("re-lobby", ReLobby);
