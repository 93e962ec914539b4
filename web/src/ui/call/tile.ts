// `<re-tile>`: one person's camera, or a shared screen. The <video> is made once and never moved.
import { css, html, nothing } from "lit";
import type { Figures, Quality } from "../../client/stats.ts";
import { base, ReElement } from "../base.ts";
import { icon } from "../elements/icon.ts";
import { menuItems } from "../elements/menu.ts";
import { fit } from "../layout.ts";
import "../elements/menu.ts";
import "./quality.ts";

/** What a tile shows; made anew when something changed. */
export interface TileState {
  /** `participant/source`. */
  key: string;
  participant: string;
  name: string;
  isScreen: boolean;
  isSelf: boolean;
  /** The owner has picture on. */
  hasPicture: boolean;
  track: MediaStreamTrack | null;
  isMuted: boolean;
  isSpeaking: boolean;
  isPinned: boolean;
  isHost: boolean;
  quality: Quality;
  /** What the quality stands on, asked for when somebody looks. */
  figures: () => Figures | null;
  /** A recording runs and this person is not in it. */
  isUnrecorded: boolean;
  /** The line to the server dropped; what they send may still come. */
  isAway: boolean;
  canModerate: boolean;
}

/** `re-tile-do`: what its menu asks for. */
export interface TileWish {
  what: "pin" | "unpin" | "mute" | "stop-camera" | "remove";
  tile: TileState;
}

export class ReTile extends ReElement {
  static override properties = { tile: { attribute: false }, isSmall: { type: Boolean, reflect: true, attribute: "small" }, hasFrame: { state: true } };
  declare tile: TileState | null;
  declare isSmall: boolean;
  declare private hasFrame: boolean;
  private shown: MediaStreamTrack | null = null;
  private sizes: ResizeObserver | null = null;

  constructor() {
    super();
    this.tile = null;
    this.isSmall = false;
    this.hasFrame = false;
  }

  override connectedCallback(): void {
    super.connectedCallback();
    this.sizes = new ResizeObserver(() => this.fit());
    this.sizes.observe(this);
  }

  override disconnectedCallback(): void {
    this.sizes?.disconnect();
    super.disconnectedCallback();
  }

  private get video(): HTMLVideoElement | null {
    return this.renderRoot.querySelector("video");
  }

  private get isPictureOn(): boolean {
    return this.tile?.hasPicture === true && this.tile.track !== null;
  }

  /** Their media, or ours, are on the way back: the last picture stays until the next one comes. */
  private get isHeld(): boolean {
    const { tile } = this;
    return tile !== null && this.hasFrame && !this.isPictureOn && (tile.isAway || tile.hasPicture);
  }

  override willUpdate(): void {
    const { tile } = this;
    this.toggleAttribute("speaking", tile?.isSpeaking === true && !tile.isMuted);
    this.toggleAttribute("screen", tile?.isScreen === true);
    this.toggleAttribute("self", tile?.isSelf === true && !tile.isScreen);
    this.toggleAttribute("lost", tile?.quality === "lost" || this.isHeld);
  }

  override updated(): void {
    const { video } = this;
    const track = this.tile?.track ?? null;
    if (!video || track === this.shown || (track === null && this.isHeld)) return;
    this.shown = track;
    this.hasFrame = false;
    video.srcObject = track ? new MediaStream([track]) : null;
    if (track) void video.play().catch(() => undefined);
  }

  private onFrame(): void {
    this.hasFrame = (this.video?.videoWidth ?? 0) > 0;
    this.fit();
  }

  private fit(): void {
    const { video } = this;
    if (!video || video.videoWidth === 0) return;
    const how = this.tile?.isScreen ? "contain" : fit({ width: video.videoWidth, height: video.videoHeight }, { width: this.clientWidth, height: this.clientHeight });
    if (video.style.objectFit !== how) video.style.setProperty("object-fit", how);
  }

  private ask(what: TileWish["what"]): void {
    if (this.tile) this.dispatchEvent(new CustomEvent<TileWish>("re-tile-do", { detail: { what, tile: this.tile }, bubbles: true, composed: true }));
  }

  override render() {
    const { tile } = this;
    if (!tile) return nothing;
    const w = this.words.tile;
    const name = tile.isScreen ? (tile.isSelf ? w.yourScreen : w.screenOf(tile.name)) : tile.isSelf ? w.you(tile.name) : tile.name;
    const isPictureOn = this.isPictureOn || this.isHeld;
    const isLost = tile.quality === "lost" || this.isHeld;
    return html`<figure aria-label=${name}>
      <video ?hidden=${!isPictureOn || !this.hasFrame} autoplay playsinline muted @loadeddata=${this.onFrame} @resize=${this.onFrame} @playing=${this.onFrame}></video>
      ${isPictureOn && this.hasFrame ? nothing : html`<div class="avatar" aria-hidden="true"><span>${initials(tile.name)}</span></div>`}
      ${isPictureOn && !this.hasFrame ? html`<p class="wait">${w.connecting}</p>` : nothing}
      ${isLost ? html`<p class="cover">${w.reconnecting}</p>` : nothing}
      ${tile.isAway && !isLost ? html`<span class="chip">${w.reconnecting}</span>` : tile.isUnrecorded ? html`<span class="chip" title=${w.notRecordedHint}>${w.notRecorded}</span>` : nothing}
      <div class="corner">
        <re-quality .quality=${tile.quality} .name=${name} .figures=${tile.figures}></re-quality>
        ${tile.isSelf && !tile.isScreen ? nothing : this.menu(tile, name)}
      </div>
      <figcaption>
        ${tile.isMuted && !tile.isScreen ? html`<span class="mute" role="img" aria-label=${w.muted} title=${w.muted}>${icon("mic-off", 16)}</span>` : nothing}
        ${tile.isPinned ? html`<span class="mute" role="img" aria-label=${w.pinned}>${icon("pin", 16)}</span>` : nothing}
        <span class="name">${name}</span>
      </figcaption>
    </figure>`;
  }

  private menu(tile: TileState, name: string) {
    const w = this.words.tile;
    return html`<re-menu side="down" align="end" .label=${w.menuOf(name)}>
      <button slot="trigger" class="more" aria-label=${w.menuOf(name)} title=${w.menuOf(name)}>${icon("more", 18)}</button>
      <button class="item" @click=${() => this.ask(tile.isPinned ? "unpin" : "pin")}>${icon("pin")}${tile.isPinned ? w.unpin : w.pin}</button>
      ${tile.canModerate && !tile.isSelf ? html`
        ${tile.isMuted || tile.isScreen ? nothing : html`<button class="item" @click=${() => this.ask("mute")}>${icon("mic-off")}${w.muteThem}</button>`}
        ${tile.hasPicture ? html`<button class="item" @click=${() => this.ask("stop-camera")}>${icon("camera-off")}${tile.isScreen ? w.stopScreen : w.stopCamera}</button>` : nothing}
        ${tile.isScreen ? nothing : html`<button class="item danger" @click=${() => this.ask("remove")}>${icon("close")}${w.remove}</button>`}` : nothing}
    </re-menu>`;
  }

  static override styles = [
    base,
    menuItems,
    css`
      :host { display: block; border-radius: var(--r3); background: var(--tile); color: var(--text); }
      figure { position: relative; width: 100%; height: 100%; border-radius: inherit; }
      video { position: absolute; inset: 0; width: 100%; height: 100%; border-radius: inherit; object-fit: cover; }
      :host([self]) video { transform: scaleX(-1); }
      :host([screen]) video { object-fit: contain; background: #0B0D11; }
      :host([lost]) video { filter: brightness(.45) saturate(.6); }
      :host([speaking]) { outline: 3px solid var(--accent); outline-offset: -1px; }
      .avatar { position: absolute; inset: 0; display: grid; place-content: center; container-type: size; }
      .avatar span {
        display: grid; place-content: center; width: min(96px, 56cqmin); height: min(96px, 56cqmin); border-radius: 50%;
        background: var(--ctl); color: #EEF0F5; font: 600 min(32px, 20cqmin)/1 var(--font);
      }
      .wait, .cover { position: absolute; inset: auto 0 calc(50% - 76px); color: var(--text-2); font-size: var(--t2); text-align: center; }
      .wait { opacity: 0; animation: late 0s .5s forwards; }
      .cover { inset: calc(50% - 1em) var(--s3) auto; color: #FFFFFF; font-weight: 600; }
      @keyframes late { to { opacity: 1; } }
      figcaption {
        position: absolute; bottom: var(--s2); left: var(--s2); display: flex; align-items: center; gap: 6px; max-width: calc(100% - 16px);
        min-height: 26px; padding: 0 var(--s2); border-radius: var(--r1); background: var(--scrim); color: #FFFFFF; font: 500 var(--t2)/1.3 var(--font);
      }
      .name { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
      .mute { display: grid; color: var(--off-fg); }
      .corner { position: absolute; top: var(--s2); right: var(--s2); z-index: 2; display: flex; align-items: center; gap: var(--s1); }
      .chip { position: absolute; top: var(--s2); left: var(--s2); z-index: 2; padding: 2px var(--s2); border-radius: var(--r1); background: var(--scrim); color: #FFFFFF; font: 500 var(--t1)/1.6 var(--font); }
      .more { width: 32px; min-height: 32px; padding: 0; border: 0; border-radius: var(--r1); background: var(--scrim); color: #FFFFFF; opacity: 0; }
      :host(:hover) .more, .more:focus-visible, re-menu[open] .more { opacity: 1; }
      @media (hover: none) { .more { opacity: 1; } }
      :host([small]) figcaption { bottom: var(--s1); left: var(--s1); font-size: var(--t1); min-height: 22px; max-width: calc(100% - 8px); }
      :host([small]) .corner { top: var(--s1); right: var(--s1); }
    `,
  ];
}

/** One or two letters that stand for a name. */
export function initials(name: string): string {
  const words = name.trim().split(/\s+/).filter((word) => word !== "");
  const first = (word: string | undefined): string => [...(word ?? "")][0]?.toLocaleUpperCase() ?? "";
  return words.length > 1 ? first(words[0]) + first(words.at(-1)) : first(words[0]);
}

customElements.define("re-tile", ReTile);
