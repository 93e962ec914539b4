// The dialogs of a call: consent, keys, settings, connection details, invitation, end for all.
import { css, html, nothing } from "lit";
import type { Config } from "../../client/api.ts";
import type { Call } from "../../client/call.ts";
import { TEST_DEVICE } from "../../client/capture.ts";
import { detailsOf } from "../../client/details.ts";
import type { Details } from "../../client/details.ts";
import type { LocalMedia } from "../../client/devices.ts";
import { choices, rememberChoices } from "../../client/memory.ts";
import type { Kind } from "../../client/protocol.ts";
import { bytes } from "../../words/format.ts";
import { language, setLanguage } from "../../words/index.ts";
import { base, ReElement } from "../base.ts";
import { setTheme, theme } from "../theme.ts";
import type { Theme } from "../theme.ts";
import "./invite.ts";

export type DialogName = "keys" | "settings" | "details" | "invite" | "end" | "recording";

export class ReCallDialogs extends ReElement {
  static override properties = { call: { attribute: false }, config: { attribute: false }, open: {}, version: { attribute: false }, details: { state: true } };
  declare call: Call | null;
  declare config: Config | null;
  declare open: DialogName | null;
  declare version: number;
  declare private details: { send: Details | null; receive: Details | null };
  private reading: ReturnType<typeof setInterval> | undefined;

  constructor() {
    super();
    this.call = null;
    this.config = null;
    this.open = null;
    this.version = 0;
    this.details = { send: null, receive: null };
  }

  override disconnectedCallback(): void {
    clearInterval(this.reading);
    super.disconnectedCallback();
  }

  override willUpdate(changed: Map<string, unknown>): void {
    if (!changed.has("open")) return;
    clearInterval(this.reading);
    if (this.open !== "details") return;
    void this.read();
    this.reading = setInterval(() => void this.read(), 1_000);
  }

  private async read(): Promise<void> {
    const { publisher, subscriber } = this.call ?? {};
    this.details = {
      send: publisher ? await detailsOf(publisher.connection) : null,
      receive: subscriber ? await detailsOf(subscriber.connection) : null,
    };
  }

  private close(): void {
    this.dispatchEvent(new CustomEvent("re-dialog-close"));
  }

  override render() {
    const { call } = this;
    if (!call) return nothing;
    const w = this.words;
    return html`${this.consent(call)}
      <re-dialog .heading=${w.invite.title} ?open=${this.open === "invite"} @close=${this.close}>
        <re-invite .room=${call.room?.room ?? ""} .config=${this.config}></re-invite></re-dialog>
      <re-dialog .heading=${w.keys.title} ?open=${this.open === "keys"} @close=${this.close}>${this.open === "keys" ? this.keys() : nothing}</re-dialog>
      <re-dialog .heading=${w.settings.title} ?open=${this.open === "settings"} @close=${this.close}>${this.open === "settings" ? this.settings(call) : nothing}</re-dialog>
      <re-dialog .heading=${w.details.title} ?open=${this.open === "details"} @close=${this.close}>${this.open === "details" ? this.connection() : nothing}</re-dialog>
      <re-dialog .heading=${w.endDialog.title} ?open=${this.open === "end"} @close=${this.close}>
        <p>${w.endDialog.text}</p>
        <button slot="actions" data-first @click=${this.close}>${w.common.cancel}</button>
        <button slot="actions" class="end" @click=${() => { this.close(); call.endForAll(); }}>${w.endDialog.end}</button></re-dialog>`;
  }

  private consent(call: Call) {
    const w = this.words.consent;
    const { asked } = call;
    return html`<re-dialog .heading=${asked?.by && asked.by !== call.options.name ? w.titleBy(asked.by) : w.title} ?open=${asked !== null} @close=${() => { if (call.asked) call.answerConsent("declined"); }}>
      <p>${w.text}</p><p class="second">${w.what}</p>
      <button slot="actions" class="quiet" @click=${() => { call.asked = null; call.leave(); }}>${w.leave}</button>
      <button slot="actions" @click=${() => call.answerConsent("declined")}>${w.decline}</button>
      <button slot="actions" class="main" data-first @click=${() => call.answerConsent("agreed")}>${w.agree}</button></re-dialog>`;
  }

  private keys() {
    const w = this.words.keys;
    const row = (keys: string, what: string) => html`<div class="key"><dt><kbd>${keys}</kbd></dt><dd>${what}</dd></div>`;
    const on = choices().singleKeys;
    return html`<dl>
      ${row("Ctrl + D", w.microphone)}${row("Ctrl + E", w.camera)}${row(w.space, w.talk)}${row("F2", w.bar)}${row("Esc", w.close)}${row("Ctrl + /", w.help)}
      </dl><h3>${w.single}</h3><p class="second">${on ? w.singleOn : w.singleOff}</p>
      <dl>${row("M", w.microphone)}${row("V", w.camera)}${row("S", w.share)}${row("C", w.chat)}${row("P", w.people)}${row("R", w.record)}${row("G", w.layout)}${row("F", w.fullScreen)}</dl>`;
  }

  private settings(call: Call) {
    const w = this.words;
    const { local } = call.options;
    const kept = choices();
    return html`
      ${local ? html`${this.device(local, "audio")}${this.device(local, "video")}
        <label class="check"><input type="checkbox" .checked=${kept.originalSound} @change=${(event: Event) => {
          const isOn = (event.target as HTMLInputElement).checked;
          void local.setOriginalSound(isOn);
          call.setStereo(isOn);
        }} /><span>${w.device.originalSound}<br /><span class="hint">${w.device.originalSoundHint}</span></span></label>` : nothing}
      <label class="check"><input type="checkbox" .checked=${kept.singleKeys} @change=${(event: Event) => rememberChoices({ singleKeys: (event.target as HTMLInputElement).checked })} />
        <span>${w.settings.singleKeys}<br /><span class="hint">${w.settings.singleKeysHint}</span></span></label>
      <div><label for="language">${w.common.language}</label><select id="language" @change=${(event: Event) => setLanguage((event.target as HTMLSelectElement).value === "zh" ? "zh" : "en")}>
        <option value="en" lang="en" ?selected=${language() === "en"}>English</option><option value="zh" lang="zh-Hans" ?selected=${language() === "zh"}>中文</option></select></div>
      <div><label for="theme">${w.common.theme}</label><select id="theme" @change=${(event: Event) => setTheme((event.target as HTMLSelectElement).value as Theme)}>
        ${(["system", "light", "dark"] as const).map((one) => html`<option value=${one} ?selected=${theme() === one}>${w.common.themes[one]}</option>`)}</select></div>`;
  }

  private device(local: LocalMedia, kind: Kind) {
    const w = this.words.device;
    const device = kind === "audio" ? local.microphone : local.camera;
    const found = local.list(kind === "audio" ? "audioinput" : "videoinput");
    const name = kind === "audio" ? w.microphone : w.camera;
    return html`<div><label for=${kind}>${name}</label><select id=${kind} @change=${(event: Event) => void local.choose(kind, (event.target as HTMLSelectElement).value)}>
      ${found.length === 0 && device.deviceId !== TEST_DEVICE ? html`<option value="">${w.nothingFound}</option>` : nothing}
      ${found.map((one) => html`<option value=${one.deviceId} ?selected=${one.deviceId === device.deviceId}>${one.label || name}</option>`)}
      ${kind === "video" || device.deviceId === TEST_DEVICE ? html`<option value=${TEST_DEVICE} ?selected=${device.deviceId === TEST_DEVICE}>${kind === "video" ? w.testPicture : w.testTone}</option>` : nothing}
    </select></div>`;
  }

  private connection() {
    const w = this.words.details;
    const one = (title: string, details: Details | null) => html`<h3>${title}</h3>${details === null ? html`<p class="second">${w.none}</p>` : html`
      <dl><div class="key"><dt>${w.state}</dt><dd>${details.state}</dd></div><div class="key"><dt>${w.path}</dt><dd>${details.path}</dd></div>
        <div class="key"><dt>${w.delay}</dt><dd class="numbers">${details.rtt_ms === null ? "–" : `${details.rtt_ms} ms`}</dd></div></dl>
      <ul class="flows numbers">${details.flows.map((flow) => html`<li>${[flow.kind, flow.codec, flow.size, flow.fps === null ? "" : `${flow.fps} fps`, bytes(flow.bytes), w.lost(flow.lost)].filter((part) => part !== "").join(" · ")}</li>`)}</ul>`}`;
    return html`${one(w.sending, this.details.send)}${one(w.receiving, this.details.receive)}
      <p class="hint">Reelay ${this.call?.room?.version ?? ""} · ${this.call?.room?.me ?? ""}</p>`;
  }

  static override styles = [
    base,
    css`
      :host { display: contents; }
      dl { display: grid; gap: var(--s1); }
      .key { display: flex; justify-content: space-between; gap: var(--s4); padding: var(--s1) 0; font-size: var(--t2); }
      dt { color: var(--text-2); }
      kbd { padding: 2px var(--s2); border: 1px solid var(--edge); border-radius: var(--r1); font: 500 var(--t2)/1.5 var(--font); }
      .check { display: flex; gap: var(--s3); font-weight: 400; }
      .check input { flex: none; margin-top: 2px; }
      select { margin-top: var(--s1); }
      .flows { display: grid; gap: 2px; font-size: var(--t2); color: var(--text-2); }
      .end { background: var(--bad-bg); border-color: var(--bad); color: var(--bad); }
    `,
  ];
}

customElements.define("re-call-dialogs", ReCallDialogs);
