// One recording in the library: poster, title, when and who, size, one line about its state.
import { css, html, nothing, svg } from "lit";
import type { TemplateResult } from "lit";
import { namesOf, titleOf } from "../../client/library.ts";
import { isGrowing, VERSION } from "../../client/replay/model.ts";
import type { Quality, Said, Summary } from "../../client/replay/model.ts";
import { formatSpan } from "../../client/replay/when.ts";
import { bytes, dateTime, duration, list, number } from "../../words/format.ts";
import { base, ReElement } from "../base.ts";
import { paths } from "../route.ts";
import { icon } from "./icon.ts";

const PREVIEW_AFTER_MS = 300;
/** The beginning of a long call is seldom what it was about. */
const LONG_MS = 30_000;

/** Fires `re-remove`, `re-restore` and `re-select`. */
export class ReCard extends ReElement {
  static override properties = {
    entry: { attribute: false },
    selected: { type: Boolean, reflect: true },
    removed: { type: Boolean, reflect: true },
    preview: { state: true },
    isPosterBroken: { state: true },
  };
  declare entry: Summary;
  declare selected: boolean;
  /** Deleted a moment ago; its place stays until the undoing is over. */
  declare removed: boolean;
  declare private preview: string | null;
  declare private isPosterBroken: boolean;
  private waiting = 0;
  private picture = { of: "", url: "" };

  constructor() {
    super();
    this.selected = false;
    this.removed = false;
    this.preview = null;
    this.isPosterBroken = false;
  }

  override connectedCallback(): void {
    super.connectedCallback();
    this.connected.addEventListener("abort", () => this.stopPreview());
  }

  // Signed addresses change with every list; the same picture keeps the one it was loaded by.
  private get poster(): string | null {
    const { poster, poster_url: url } = this.entry;
    const of = `${this.entry.id}/${poster?.file}/${poster?.t_ms}`;
    if (url && this.picture.of !== of) {
      this.picture = { of, url };
      this.isPosterBroken = false;
    }
    return url && !this.isPosterBroken ? this.picture.url : null;
  }

  override focus(): void {
    this.renderRoot.querySelector<HTMLElement>("a.title, button.undo")?.focus();
  }

  private startPreview(): void {
    if (this.removed || matchMedia("(prefers-reduced-motion: reduce)").matches) return;
    clearTimeout(this.waiting);
    const url = this.entry.preview_url;
    this.waiting = window.setTimeout(() => (this.preview = url ? join(url, "part=1") : null), PREVIEW_AFTER_MS);
  }

  private stopPreview(): void {
    clearTimeout(this.waiting);
    this.preview = null;
  }

  private tell(name: string): void {
    this.dispatchEvent(new CustomEvent(name, { bubbles: true, composed: true, detail: this.entry }));
  }

  private onKey(event: KeyboardEvent): void {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (event.key === "x" || event.key === "X") this.tell("re-select");
    else if (event.key === "Delete") this.tell("re-remove");
    else return;
    event.preventDefault();
  }

  override render() {
    return this.removed ? this.ghost() : this.card();
  }

  private ghost(): TemplateResult {
    const w = this.words;
    return html`<div class="ghost"><span>${w.library.deletedHere}: <b>${titleOf(this.entry)}</b></span>
      <button class="undo small" @click=${() => this.tell("re-restore")}>${w.common.undo}</button></div>`;
  }

  private card(): TemplateResult {
    const w = this.words.library;
    const one = this.entry;
    const title = titleOf(one);
    const grows = isGrowing(one.state);
    const names = namesOf(one);
    const isLater = one.version > VERSION;
    const state = isLater ? w.card.later : w.card[one.state] ?? "";
    const { poster } = this;
    return html`<article @pointerenter=${this.startPreview} @pointerleave=${this.stopPreview}
      @focusin=${this.startPreview} @focusout=${this.stopPreview} @keydown=${this.onKey}>
      <div class="picture">
        ${poster ? html`<img src=${poster} alt="" loading="lazy" @error=${() => (this.isPosterBroken = true)} />` : this.faces(names)}
        ${this.preview ? html`<video muted playsinline loop aria-hidden="true" tabindex="-1" src=${this.preview} .muted=${true} @loadedmetadata=${this.play}></video>` : nothing}
        ${grows
          ? html`<span class="badge rec numbers"><span class="dot"></span>${w.recordedNow} ${duration(one.duration_ms)}</span>`
          : html`<span class="badge numbers">${duration(one.duration_ms)}</span>`}
      </div>
      <div class="text">
        <h2><a class="title" href=${paths.replay(one.id)} aria-label=${w.play(title)}>${title}</a></h2>
        <p class="second who">${names.length > 0 ? list(names) : this.words.common.people(0)}</p>
        <p class="hint numbers">${one.quality && !isLater ? this.quality(one.quality) : nothing}${dateTime(one.started_at)}${one.size_bytes ? ` · ${bytes(one.size_bytes)}` : ""}</p>
        ${one.said ? this.said(one.said) : nothing}
        ${state && !grows ? html`<p class="state" data-state=${one.state}>${icon(one.state === "failed" ? "bad" : "warn", 16)}<span>${state}</span></p>` : nothing}
      </div>
      <div class="tools">
        <label class="pick"><input type="checkbox" .checked=${this.selected} aria-label=${w.select(title)} @change=${() => this.tell("re-select")} /></label>
        ${grows ? nothing : html`<button class="icon remove" aria-label=${w.delete(title)} title=${`${w.deleteShort} (Del)`} @click=${() => this.tell("re-remove")}>${icon("trash")}</button>`}
      </div>
    </article>`;
  }

  /** Bars for how much of it is there. A click on them opens the recording, as one beside them does. */
  private quality({ mark, missing_ms }: Quality): TemplateResult {
    const text = this.words.library.quality[mark](number(missing_ms / 1000));
    const bars = { whole: 3, gaps: 2, poor: 1 }[mark];
    return html`<span class="mark" data-mark=${mark} role="img" aria-label=${text} title=${text} @click=${() => this.renderRoot.querySelector<HTMLElement>("a.title")?.click()}>
      <svg width="14" height="12" viewBox="0 0 14 12" aria-hidden="true">${[0, 1, 2].map((i) => svg`<rect x=${i * 5} y=${7 - i * 3} width="3" height=${5 + i * 3} rx="1" class=${i < bars ? "on" : "off"}/>`)}</svg></span>`;
  }

  /** Where the words of the search are said. */
  private said({ t_ms, who, text, language }: Said): TemplateResult {
    const at = formatSpan(Math.floor(t_ms / 1000) * 1000);
    return html`<p class="said"><a class="numbers" href=${`${paths.replay(this.entry.id)}?t=${at}`}>${this.words.library.saidAt(duration(t_ms))}</a>
      <q lang=${language}>${who ? html`<b><bdi>${who}</bdi></b> ` : nothing}<bdi>${text}</bdi></q></p>`;
  }

  private faces(names: string[]): TemplateResult {
    return html`<div class="faces" aria-hidden="true">${names.slice(0, 3).map((name) => html`<span>${initials(name)}</span>`)}
      ${this.entry.poster ? nothing : html`<small>${this.words.library.noPicture}</small>`}</div>`;
  }

  private play(event: Event): void {
    const video = event.target as HTMLVideoElement;
    const length = this.entry.poster?.duration_ms ?? 0;
    video.currentTime = length > LONG_MS ? length / 5000 : 0;
    video.play().catch(() => this.stopPreview());
  }

  static override styles = [
    base,
    css`
      :host { display: block; min-width: 0; }
      article { position: relative; height: 100%; overflow: clip; border: 1px solid var(--line); border-radius: var(--r3); background: var(--surface); transition: border-color var(--fast); }
      article:hover { border-color: var(--edge); }
      :host([selected]) article { border-color: var(--accent); background: var(--accent-bg); }
      .picture { position: relative; aspect-ratio: 16 / 9; overflow: hidden; color-scheme: dark; background: var(--tile); color: var(--text); }
      img, video { position: absolute; inset: 0; width: 100%; height: 100%; object-fit: cover; }
      .faces { position: absolute; inset: 0; display: flex; flex-wrap: wrap; align-content: center; align-items: center; justify-content: center; gap: var(--s2); }
      .faces span { display: grid; place-items: center; width: 52px; height: 52px; border-radius: 50%; background: var(--ctl); color: var(--text); font: 600 var(--t3)/1 var(--font); }
      .faces small { flex-basis: 100%; color: var(--text-2); font-size: var(--t1); text-align: center; }
      .badge { position: absolute; right: var(--s2); bottom: var(--s2); display: inline-flex; align-items: center; gap: 6px; padding: 3px var(--s2); border-radius: var(--r1); background: var(--scrim); color: #fff; font: 500 var(--t1)/1.3 var(--font); }
      .badge.rec { left: var(--s2); right: auto; background: var(--rec); color: var(--on-rec); }
      .dot { width: 8px; height: 8px; border-radius: 50%; background: currentColor; }
      .text { display: grid; gap: 2px; padding: var(--s3) var(--s4) var(--s4); }
      h2 { font: 600 var(--t3)/1.4 var(--font); }
      h2, .who { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
      .title { color: var(--text); text-decoration: none; }
      .title::after { content: ""; position: absolute; inset: 0; border-radius: var(--r3); }
      .title:focus-visible { outline: none; }
      .title:focus-visible::after { outline: 2px solid var(--focus); outline-offset: -2px; }
      article:hover .title { text-decoration: underline; text-underline-offset: 3px; }
      .state { display: flex; gap: 6px; align-items: start; padding-top: var(--s1); color: var(--text-2); font-size: var(--t2); }
      .state .glyph { flex: none; margin-top: 2px; color: var(--warn); }
      .state[data-state="failed"] .glyph { color: var(--bad); }
      .mark { position: relative; display: inline-block; margin-right: 6px; color: var(--text-3); vertical-align: -1px; cursor: pointer; }
      .mark[data-mark="gaps"], .mark[data-mark="poor"] { color: var(--warn); }
      .mark .on { fill: currentColor; }
      .mark .off { fill: none; stroke: currentColor; stroke-width: .8; }
      .said { display: flex; flex-wrap: wrap; gap: 0 var(--s2); padding-top: var(--s1); font-size: var(--t2); }
      .said a { position: relative; font-weight: 600; }
      .said q { display: -webkit-box; overflow: hidden; -webkit-line-clamp: 2; -webkit-box-orient: vertical; min-width: 0; color: var(--text-2); quotes: none; overflow-wrap: anywhere; }
      .tools { position: absolute; inset: var(--s2) var(--s2) auto; display: flex; justify-content: space-between; pointer-events: none; }
      .tools > * { pointer-events: auto; opacity: 0; transition: opacity var(--fast); }
      article:hover .tools > *, article:focus-within .tools > *, :host([selected]) .tools > * { opacity: 1; }
      @media (hover: none) { .tools > * { opacity: 1; } }
      .pick, .remove { display: grid; place-items: center; width: 40px; height: 40px; min-height: 40px; border: 0; border-radius: var(--r2); color-scheme: dark; background: var(--scrim); color: #fff; cursor: pointer; }
      .remove:hover { background: #0B0D11; }
      .ghost { display: grid; place-content: center; justify-items: center; gap: var(--s3); height: 100%; min-height: 160px; padding: var(--s4); border: 1px dashed var(--edge); border-radius: var(--r3); color: var(--text-2); text-align: center; overflow-wrap: anywhere; }
      @media (forced-colors: active) { :host([selected]) article { outline: 3px solid Highlight; } }
    `,
  ];
}

/** Up to two letters; the first two signs of a name without spaces in a script without capitals. */
export function initials(name: string): string {
  const words = name.trim().split(/\s+/u).filter((word) => /[\p{L}\p{N}]/u.test(word));
  const letters = words.length > 1 ? [words[0], words.at(-1)].map((word) => [...(word ?? "")].find((sign) => /[\p{L}\p{N}]/u.test(sign)) ?? "") : [...(words[0] ?? "?")].slice(0, 1);
  return letters.join("").toLocaleUpperCase();
}

/** Adds a parameter to an address that may be signed and have some already. */
export function join(url: string, parameter: string): string {
  return `${url}${url.includes("?") ? "&" : "?"}${parameter}`;
}

customElements.define("re-card", ReCard);
