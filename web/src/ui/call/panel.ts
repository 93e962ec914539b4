// `<re-panel>`: chat and people, beside the stage or as a sheet over it.
import { css, html, nothing } from "lit";
import { repeat } from "lit/directives/repeat.js";
import type { Call } from "../../client/call.ts";
import type { Participant } from "../../client/protocol.ts";
import { hasLive } from "../../client/room-state.ts";
import { clock } from "../../words/format.ts";
import { base, ReElement } from "../base.ts";
import { icon } from "../elements/icon.ts";

export type PanelTab = "chat" | "people";

export class RePanel extends ReElement {
  static override properties = { call: { attribute: false }, tab: {}, draft: { state: true }, version: { attribute: false } };
  declare call: Call | null;
  declare tab: PanelTab;
  /** Any new value draws anew. */
  declare version: number;
  declare private draft: string;

  constructor() {
    super();
    this.call = null;
    this.tab = "chat";
    this.version = 0;
    this.draft = "";
  }

  override updated(changed: Map<string, unknown>): void {
    const log = this.renderRoot.querySelector(".log");
    if (log && (changed.has("tab") || this.isAtEnd)) log.scrollTop = log.scrollHeight;
  }

  private isAtEnd = true;

  private onScroll(event: Event): void {
    const log = event.target as HTMLElement;
    this.isAtEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
  }

  private send(event: Event): void {
    event.preventDefault();
    this.call?.say(this.draft);
    this.draft = "";
    this.isAtEnd = true;
  }

  private onKey(event: KeyboardEvent): void {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    this.send(event);
  }

  private choose(tab: PanelTab): void {
    this.dispatchEvent(new CustomEvent<PanelTab>("re-panel", { detail: tab, bubbles: true, composed: true }));
  }

  private onTabKey(event: KeyboardEvent): void {
    if (event.key !== "ArrowLeft" && event.key !== "ArrowRight") return;
    this.choose(this.tab === "chat" ? "people" : "chat");
    void this.updateComplete.then(() => this.renderRoot.querySelector<HTMLElement>("[role=tab][aria-selected=true]")?.focus());
  }

  override render() {
    const w = this.words.panel;
    const people = this.call?.room?.participants ?? [];
    const tab = (name: PanelTab, text: string) => html`<button role="tab" id="tab-${name}" aria-selected=${this.tab === name} aria-controls="body"
      tabindex=${this.tab === name ? 0 : -1} @click=${() => this.choose(name)} @keydown=${this.onTabKey}>${text}</button>`;
    return html`<div class="head"><div role="tablist" aria-label=${w.title}>${tab("chat", w.chat)}${tab("people", w.people(people.length))}</div>
        <button class="icon quiet" aria-label=${w.close} title=${w.close} @click=${() => this.dispatchEvent(new CustomEvent("re-panel-close"))}>${icon("close")}</button></div>
      <div id="body" role="tabpanel" aria-labelledby="tab-${this.tab}">${this.tab === "chat" ? this.chat() : this.people(people)}</div>`;
  }

  private chat() {
    const w = this.words.panel;
    const room = this.call?.room;
    const lines = room?.chat ?? [];
    const pending = this.call?.pending ?? [];
    return html`<div class="log" role="log" aria-label=${w.chat} tabindex="0" @scroll=${this.onScroll}>
        ${lines.length + pending.length === 0 ? html`<p class="hint pad">${this.isSaved ? w.emptySaved : w.empty}</p>` : nothing}
        ${lines.map((line) => html`<div class="line ${line.participant === room?.me ? "mine" : ""}">
          <p class="who"><span class="from">${line.participant === room?.me ? w.you : line.name}</span> <time class="numbers" datetime=${line.at}>${clock(line.at)}</time></p>
          <p class="text">${links(line.text)}</p></div>`)}
        ${pending.map((line) => html`<div class="line mine pending"><p class="who">${w.you} · ${w.sending}</p><p class="text">${line.text}</p></div>`)}
      </div>
      <form @submit=${this.send}>
        <textarea rows="2" maxlength="2000" .value=${this.draft} aria-label=${w.message} placeholder=${w.message}
          @input=${(event: Event) => (this.draft = (event.target as HTMLTextAreaElement).value)} @keydown=${this.onKey}></textarea>
        <button class="main" ?disabled=${this.draft.trim() === ""}>${w.send}</button>
      </form>`;
  }

  private get isSaved(): boolean {
    return (this.call?.room?.recording.state ?? "off") !== "off";
  }

  private people(people: Participant[]) {
    const w = this.words.panel;
    const room = this.call?.room;
    const isRecording = room !== null && room !== undefined && room.recording.state !== "off";
    return html`<ul class="log" tabindex="0" aria-label=${w.people(people.length)}>
      ${repeat(people, (one) => one.id, (one) => {
        const isMuted = !hasLive(one, "camera", "audio");
        const isUnseen = !hasLive(one, "camera", "video");
        const marks = [one.host ? w.host : "", isRecording && !one.recorded ? w.notRecorded : ""].filter((mark) => mark !== "");
        return html`<li class="person"><span class="human"><span class="from">${one.name}${one.id === room?.me ? ` (${w.you})` : ""}</span>
          ${marks.length > 0 ? html` <span class="hint">${marks.join(" · ")}</span>` : nothing}</span>
          <span class="marks">
            ${isMuted ? html`<span role="img" aria-label=${w.muted} title=${w.muted}>${icon("mic-off", 18)}</span>` : nothing}
            ${isUnseen ? html`<span role="img" aria-label=${w.cameraOff} title=${w.cameraOff}>${icon("camera-off", 18)}</span>` : nothing}
          </span></li>`;
      })}</ul>
      ${room && room.watchers > 0 ? html`<p class="watchers second">${icon("eye")}${w.watchers(room.watchers)}</p>` : nothing}`;
  }

  static override styles = [
    base,
    css`
      :host { display: grid; grid-template-rows: auto minmax(0, 1fr); min-height: 0; border-left: 1px solid var(--line); background: var(--surface); color: var(--text); }
      .head { display: flex; align-items: center; justify-content: space-between; padding: var(--s2); border-bottom: 1px solid var(--line); }
      [role="tablist"] { display: flex; gap: var(--s1); }
      [role="tab"] { border: 0; background: none; color: var(--text-2); font-size: var(--t2); }
      [role="tab"][aria-selected="true"] { background: var(--accent-bg); color: var(--text); }
      #body { display: grid; grid-template-rows: minmax(0, 1fr) auto; min-height: 0; }
      .log { overflow: auto; padding: var(--s2) var(--s3); overscroll-behavior: contain; }
      .log:focus-visible { outline-offset: -2px; }
      .pad { padding: var(--s3) 0; }
      .line { padding: var(--s2) 0; }
      .who { color: var(--text-3); font-size: var(--t1); }
      .from { color: var(--text); font-weight: 600; overflow-wrap: anywhere; }
      .mine .from { color: var(--link); }
      .text { font-size: var(--t2); white-space: pre-wrap; overflow-wrap: anywhere; }
      .pending .text { color: var(--text-2); }
      form { display: grid; grid-template-columns: minmax(0, 1fr) auto; gap: var(--s2); align-items: end; padding: var(--s3) var(--s3) calc(var(--s3) + env(safe-area-inset-bottom)); border-top: 1px solid var(--line); }
      textarea { resize: none; font-size: var(--t2) !important; }
      .person { display: flex; align-items: center; gap: var(--s2); min-height: 44px; padding: var(--s1) 0; font-size: var(--t2); }
      .human { min-width: 0; }
      .marks { flex: none; display: flex; gap: var(--s2); margin-left: auto; color: var(--text-2); }
      .watchers { display: flex; gap: var(--s2); padding: var(--s3); border-top: 1px solid var(--line); }
    `,
  ];
}

// Addresses in a line of chat become links; everything else stays text.
function links(text: string) {
  return text.split(/(https?:\/\/[^\s<>"']+)/g).map((part, i) =>
    i % 2 === 1 ? html`<a href=${part} target="_blank" rel="noopener noreferrer nofollow">${part}</a>` : part,
  );
}

customElements.define("re-panel", RePanel);
