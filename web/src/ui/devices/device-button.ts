// `<re-device-button kind="audio|video" .local=${…}>`: on and off, and behind the arrow which device.
import { css, html, nothing } from "lit";
import { TEST_DEVICE } from "../../client/capture.ts";
import type { Device, LocalMedia } from "../../client/devices.ts";
import { choices, rememberChoices } from "../../client/memory.ts";
import type { Kind } from "../../client/protocol.ts";
import { base, ReElement } from "../base.ts";
import { icon } from "../elements/icon.ts";
import { menuItems } from "../elements/menu.ts";
import { isProblem, problemText } from "./problems.ts";
import { playTestSound } from "./test-sound.ts";
import "../elements/menu.ts";
import "./level.ts";

export class ReDeviceButton extends ReElement {
  static override properties = { kind: {}, local: { attribute: false }, align: {}, version: { state: true } };
  declare kind: Kind;
  declare local: LocalMedia | null;
  declare align: "start" | "center" | "end";
  private heard: AbortController | null = null;

  constructor() {
    super();
    this.kind = "audio";
    this.local = null;
    this.align = "center";
  }

  override willUpdate(changed: Map<string, unknown>): void {
    if (changed.has("local") || this.heard === null) this.listen();
  }

  override disconnectedCallback(): void {
    this.heard?.abort();
    this.heard = null;
    super.disconnectedCallback();
  }

  private listen(): void {
    this.heard?.abort();
    this.heard = new AbortController();
    this.local?.on("change", () => this.requestUpdate(), this.heard.signal);
  }

  private toggle(device: Device): void {
    const isOn = device.isWanted && device.track !== null;
    if (device.kind === "audio") void this.local?.setMicrophone(!isOn);
    else void this.local?.setCamera(!isOn);
  }

  override render() {
    const { local } = this;
    if (!local) return nothing;
    const w = this.words.device;
    const device = this.kind === "audio" ? local.microphone : local.camera;
    const isOn = device.isWanted && device.state === "on";
    const isBusy = device.state === "asking";
    const isAudio = this.kind === "audio";
    const word = isAudio ? w.microphone : w.camera;
    const state = isBusy ? w.asking : isProblem(device) ? w.notAvailable(word) : isOn ? word : w.off(word);
    const key = isAudio ? "Ctrl+D" : "Ctrl+E";
    const label = isOn ? w.turnOff(state) : w.turnOn(state);
    const glyph = isAudio ? (isOn ? "mic" : "mic-off") : isOn ? "camera" : "camera-off";
    return html`<div class="split ${isOn || isBusy ? "" : "off"}">
      <button class="toggle" aria-label=${label} title="${label} (${key})" @click=${() => this.toggle(device)}>
        ${icon(glyph)}<span class="word" aria-hidden="true">${state}</span>
        ${isProblem(device) ? html`<span class="flag" aria-hidden="true">!</span>` : nothing}
      </button>
      <re-menu align=${this.align} .label=${isAudio ? w.soundMenu : w.cameraMenu} @re-menu=${() => this.requestUpdate()}>
        <button slot="trigger" class="arrow" aria-label=${isAudio ? w.soundMenu : w.cameraMenu} title=${isAudio ? w.soundMenu : w.cameraMenu}>${icon("up", 16)}</button>
        ${isProblem(device) ? html`<p class="problem">${problemText(this.words, device, this.kind).fact}</p>` : nothing}
        ${isAudio ? this.sound(local) : this.cameras(local)}
      </re-menu>
    </div>`;
  }

  private sound(local: LocalMedia) {
    const w = this.words.device;
    const speakers = local.list("audiooutput");
    const kept = choices();
    return html`<p class="group">${w.microphone}</p>
      ${this.list(local, "audioinput", local.microphone)}
      ${local.microphone.track ? html`<div class="meter"><re-level .track=${local.microphone.track}></re-level></div>` : nothing}
      <label class="item"><input type="checkbox" .checked=${kept.originalSound} @change=${(event: Event) => this.setOriginal(event)} />
        <span>${w.originalSound}<br /><span class="hint">${w.originalSoundHint}</span></span></label>
      <p class="group">${w.speaker}</p>
      ${"setSinkId" in HTMLMediaElement.prototype && speakers.length > 0
        ? speakers.map((one) => html`<button class="item" data-stay aria-pressed=${one.deviceId === (kept.speakerId || "default")} @click=${() => this.setSpeaker(one.deviceId)}>${one.label || w.speaker}</button>`)
        : html`<p class="hint pad">${w.speakerOfSystem}</p>`}
      <button class="item" data-stay @click=${() => playTestSound(kept.speakerId)}>${icon("sound")}${w.testSound}</button>`;
  }

  private cameras(local: LocalMedia) {
    const w = this.words.device;
    return html`<p class="group">${w.camera}</p>${this.list(local, "videoinput", local.camera)}
      <button class="item" aria-pressed=${local.camera.deviceId === TEST_DEVICE} @click=${() => void local.choose("video", TEST_DEVICE)}>${w.testPicture}</button>`;
  }

  private list(local: LocalMedia, kind: MediaDeviceKind, device: Device) {
    const found = local.list(kind);
    if (found.length === 0) return html`<p class="hint pad">${device.state === "off" || device.state === "asking" ? this.words.device.listAfterAllow : this.words.device.nothingFound}</p>`;
    return found.map((one) => html`<button class="item" data-stay aria-pressed=${one.deviceId === device.deviceId && device.track !== null}
      @click=${() => void local.choose(device.kind, one.deviceId)}>${one.label || (device.kind === "audio" ? this.words.device.microphone : this.words.device.camera)}</button>`);
  }

  private setOriginal(event: Event): void {
    const isOn = (event.target as HTMLInputElement).checked;
    void this.local?.setOriginalSound(isOn);
    this.dispatchEvent(new CustomEvent("re-original-sound", { detail: isOn, bubbles: true, composed: true }));
  }

  private setSpeaker(speakerId: string): void {
    rememberChoices({ speakerId: speakerId === "default" ? "" : speakerId });
    this.dispatchEvent(new CustomEvent("re-speaker", { detail: speakerId, bubbles: true, composed: true }));
    this.requestUpdate();
  }

  static override styles = [
    base,
    menuItems,
    css`
      :host { display: inline-flex; }
      .split { display: flex; border-radius: var(--round); background: var(--ctl); color: #EEF0F5; }
      .split button.toggle, .split button.arrow { min-height: 48px; border: 0; border-radius: var(--round); background: none; color: inherit; }
      .toggle { position: relative; min-width: 52px; padding: 0 var(--s1) 0 var(--s4) !important; font-size: var(--t2); font-weight: 500; }
      .arrow { width: 32px; padding: 0 6px 0 0; }
      .split button.toggle:hover, .split button.arrow:hover { background: #FFFFFF14; }
      .off { background: var(--off-bg); color: var(--off-fg); }
      .flag { position: absolute; top: 2px; left: 28px; display: grid; place-items: center; width: 16px; height: 16px; border-radius: 50%; background: #F0B455; color: #14171F; font: 700 11px/1 var(--font); }
      .problem { max-width: 300px; padding: var(--s2) var(--s3); color: var(--text); font-size: var(--t2); }
      .meter { padding: var(--s1) var(--s3) var(--s2); }
      .pad { padding: var(--s1) var(--s3) var(--s2); }
      label.item { cursor: pointer; }
      @container (max-width: 959px) { .word { display: none; } .toggle { padding: 0 0 0 var(--s3) !important; } }
      @container (max-width: 559px) { :host([compact]) re-menu { display: none; } :host([compact]) .toggle { width: 48px; min-width: 48px; padding: 0 !important; } }
    `,
  ];
}

customElements.define("re-device-button", ReDeviceButton);
