// `<re-stage>`: owns where tiles are, never their tracks. Tiles are keyed and placed by transform; none is ever moved in the page.
import { css, html, nothing } from "lit";
import { repeat } from "lit/directives/repeat.js";
import { base, ReElement, styled } from "../base.ts";
import { icon } from "../elements/icon.ts";
import { pageSize, place, shapeFor, stripSize, withStrip } from "../layout.ts";
import type { Box, Size } from "../layout.ts";
import { arrange } from "./arrange.ts";
import type { TileState } from "./tile.ts";
import "./tile.ts";

export type StageMode = "auto" | "grid" | "speaker";

export class ReStage extends ReElement {
  static override properties = {
    tiles: { attribute: false },
    mode: {},
    mainSpeaker: { attribute: false },
    recent: { attribute: false },
    hasSelfView: { attribute: false },
    size: { state: true },
    page: { state: true },
    corner: { state: true },
  };
  /** In the order of coming; self is moved to its place by the layout. */
  declare tiles: TileState[];
  declare mode: StageMode;
  declare mainSpeaker: string | null;
  /** Who spoke lately, the latest first. */
  declare recent: string[];
  declare hasSelfView: boolean;
  declare private size: Size;
  declare private page: number;
  /** Where the floating self-view is. */
  declare private corner: { right: boolean; bottom: boolean } | null;
  private columns: number | undefined;
  private swapped: string | null = null;
  private visible = "";
  private drag: { x: number; y: number } | null = null;

  constructor() {
    super();
    this.tiles = [];
    this.mode = "auto";
    this.mainSpeaker = null;
    this.recent = [];
    this.hasSelfView = true;
    this.size = { width: 0, height: 0 };
    this.page = 0;
    this.corner = null;
  }

  override connectedCallback(): void {
    super.connectedCallback();
    const sizes = new ResizeObserver(() => (this.size = { width: this.clientWidth, height: this.clientHeight }));
    sizes.observe(this);
    this.connected.addEventListener("abort", () => sizes.disconnect());
  }

  private get gap(): number {
    return this.size.width < 720 ? 8 : 12;
  }

  /** Where every tile is; tiles without a place are not on screen. */
  private places(): { boxes: Map<string, Box>; pages: number; floating: string | null } {
    const { size, gap } = this;
    const boxes = new Map<string, Box>();
    const none = { boxes, pages: 1, floating: null };
    if (size.width === 0 || this.tiles.length === 0) return none;
    const self = this.tiles.find((tile) => tile.isSelf && !tile.isScreen);
    const others = this.tiles.filter((tile) => tile !== self);
    const main = this.main(others);
    if (main !== null) return this.stageAndStrip(main, others, self, boxes);
    if (others.length === 0) {
      // Alone: the invitation has the middle, one's own picture is small.
      if (self && this.hasSelfView) boxes.set(self.key, this.floatBox());
      return { boxes, pages: 1, floating: self?.key ?? null };
    }
    if (others.length === 1) {
      const [only] = others;
      if (only) boxes.set(only.key, { x: 0, y: 0, ...size });
      if (self && this.hasSelfView) boxes.set(self.key, this.floatBox());
      return { boxes, pages: 1, floating: self?.key ?? null };
    }
    const keys = [...others.map((tile) => tile.key), ...(self && this.hasSelfView ? [self.key] : [])];
    const perPage = pageSize(keys.length, size, gap);
    const pages = Math.ceil(keys.length / perPage);
    const page = Math.min(this.page, pages - 1);
    const ordered = arrange(keys, perPage, this.recent.map((id) => `${id}/camera`), this.swapped);
    this.swapped = ordered.swapped;
    const here = ordered.keys.slice(page * perPage, (page + 1) * perPage);
    const shape = shapeFor(here.length, size, gap, this.columns);
    this.columns = shape.columns;
    place(here.length, shape, size, gap).forEach((box, i) => boxes.set(here[i] ?? "", box));
    return { boxes, pages, floating: null };
  }

  // A pinned tile first, then somebody's screen, then (if wished) who speaks.
  private main(others: TileState[]): string | null {
    const pinned = this.tiles.find((tile) => tile.isPinned);
    if (pinned) return pinned.key;
    const screen = others.findLast((tile) => tile.isScreen && !tile.isSelf);
    if (screen && this.mode !== "grid") return screen.key;
    if (this.mode !== "speaker" || others.length < 2) return null;
    return (others.find((tile) => !tile.isScreen && tile.participant === this.mainSpeaker) ?? others[0])?.key ?? null;
  }

  private stageAndStrip(main: string, others: TileState[], self: TileState | undefined, boxes: Map<string, Box>) {
    const rest = others.filter((tile) => tile.key !== main).map((tile) => tile.key);
    if (self && self.key !== main && this.hasSelfView) rest.push(self.key);
    const perPage = Math.max(1, stripSize(rest.length, this.size, this.gap));
    const pages = Math.max(1, Math.ceil(rest.length / perPage));
    const page = Math.min(this.page, pages - 1);
    const ordered = arrange(rest, perPage, this.recent.map((id) => `${id}/camera`), this.swapped);
    this.swapped = ordered.swapped;
    // Every page has the same places, so that nothing jumps when one turns.
    const places = withStrip(rest.length, this.size, this.gap);
    boxes.set(main, places.main);
    const here = ordered.keys.slice(page * perPage, (page + 1) * perPage);
    here.forEach((key, i) => { const box = places.strip[i]; if (box) boxes.set(key, box); });
    return { boxes, pages, floating: null };
  }

  /** Where it was put; else out of the way of the bar, which lies over a low stage. */
  private get place(): { right: boolean; bottom: boolean } {
    return this.corner ?? { right: true, bottom: this.size.height >= LOW };
  }

  private floatBox(): Box {
    const isTall = this.size.height > this.size.width;
    const width = Math.min(isTall ? 108 : this.size.height < LOW ? 150 : 220, this.size.width * 0.3);
    const height = isTall ? (width * 4) / 3 : (width * 9) / 16;
    const edge = 12;
    return {
      x: this.place.right ? this.size.width - width - edge : edge,
      y: this.place.bottom ? this.size.height - height - edge : edge,
      width,
      height,
    };
  }

  override updated(): void {
    const keys = this.tiles.filter((tile) => this.placed.has(tile.key) && !tile.isSelf).map((tile) => tile.key);
    const text = [...keys].sort().join(" ");
    if (text === this.visible) return;
    this.visible = text;
    this.dispatchEvent(new CustomEvent<string[]>("re-visible", { detail: keys, bubbles: true, composed: true }));
  }

  private placed = new Map<string, Box>();

  private turn(by: number, pages: number): void {
    this.page = Math.min(pages - 1, Math.max(0, this.page + by));
  }

  private onFloatKey(event: KeyboardEvent): void {
    const moves: Record<string, Partial<{ right: boolean; bottom: boolean }>> = {
      ArrowLeft: { right: false },
      ArrowRight: { right: true },
      ArrowUp: { bottom: false },
      ArrowDown: { bottom: true },
    };
    const move = moves[event.key];
    if (!move || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    this.corner = { ...this.place, ...move };
  }

  private onDown(event: PointerEvent): void {
    this.drag = { x: event.clientX, y: event.clientY };
  }

  private onUp(event: PointerEvent, floating: boolean, pages: number): void {
    const from = this.drag;
    this.drag = null;
    if (!from) return;
    const [dx, dy] = [event.clientX - from.x, event.clientY - from.y];
    if (floating && Math.hypot(dx, dy) > 24) {
      const frame = this.getBoundingClientRect();
      this.corner = { right: event.clientX > frame.left + frame.width / 2, bottom: event.clientY > frame.top + frame.height / 2 };
    } else if (!floating && pages > 1 && Math.abs(dx) > 50 && Math.abs(dx) > Math.abs(dy)) this.turn(dx < 0 ? 1 : -1, pages);
  }

  // Beside what it turns, and never under the bar of a low stage.
  private pagesAt(boxes: Map<string, Box>): Record<string, string> {
    const { width, height } = this.size;
    const main = [...boxes.values()].find((box) => box.x === 0 && box.y === 0);
    const isStrip = main !== undefined && boxes.size > 1 && (main.width === width || main.height === height);
    if (isStrip && height > width) return { bottom: `${Math.round(height - main.height + 4)}px` };
    if (isStrip) return { top: "8px", bottom: "auto", left: "auto", right: `${Math.round(width - main.width + 8)}px`, translate: "0" };
    return height < LOW ? { top: "8px", bottom: "auto" } : {};
  }

  override render() {
    const { boxes, pages, floating } = this.places();
    this.placed = boxes;
    const w = this.words.stage;
    return html`<div class="area" @pointerdown=${this.onDown} @pointerup=${(event: PointerEvent) => this.onUp(event, false, pages)}>
      ${repeat(this.tiles, (tile) => tile.key, (tile) => {
        const box = boxes.get(tile.key);
        const isFloating = tile.key === floating && box !== undefined;
        return html`<re-tile .tile=${tile} ?small=${(box?.width ?? 0) < 260} ?hidden=${box === undefined} class=${isFloating ? "floating" : ""}
          tabindex=${isFloating ? 0 : nothing} aria-label=${isFloating ? w.selfView : nothing} role=${isFloating ? "group" : nothing}
          @keydown=${isFloating ? this.onFloatKey : nothing}
          @pointerdown=${isFloating ? (event: PointerEvent) => { event.stopPropagation(); this.onDown(event); (event.currentTarget as Element).setPointerCapture(event.pointerId); } : nothing}
          @pointerup=${isFloating ? (event: PointerEvent) => { event.stopPropagation(); this.onUp(event, true, 1); } : nothing}
          ${styled(box ? placeOf(box) : {})}></re-tile>`;
      })}
      <slot></slot>
      ${pages > 1 ? html`<div class="pages" ${styled(this.pagesAt(boxes))}>
        <button class="turn" aria-label=${w.previous} ?disabled=${this.page === 0} @click=${() => this.turn(-1, pages)}>${icon("left")}</button>
        <span class="numbers">${w.page(Math.min(this.page, pages - 1) + 1, pages)}</span>
        <button class="turn" aria-label=${w.next} ?disabled=${this.page >= pages - 1} @click=${() => this.turn(1, pages)}>${icon("right")}</button>
      </div>` : nothing}
    </div>`;
  }

  static override styles = [
    base,
    css`
      :host { display: block; position: relative; min-width: 0; min-height: 0; }
      .area { position: absolute; inset: 0; touch-action: pan-y; }
      re-tile { position: absolute; top: 0; left: 0; transition: transform var(--move) var(--ease), width var(--move) var(--ease), height var(--move) var(--ease); }
      re-tile.floating { z-index: 3; box-shadow: var(--float); cursor: grab; touch-action: none; }
      .pages { position: absolute; bottom: var(--s2); left: 50%; z-index: 5; display: flex; align-items: center; gap: var(--s1); translate: -50%; border-radius: var(--round); background: var(--scrim); color: #FFFFFF; font-size: var(--t2); }
      .turn { width: 44px; padding: 0; border: 0; border-radius: var(--round); background: none; color: inherit; }
      .turn:hover { background: #FFFFFF22; }
    `,
  ];
}

/** Below this height the call bar lies over the stage. */
const LOW = 340;

function placeOf({ x, y, width, height }: Box): Record<string, string> {
  return {
    transform: `translate(${Math.round(x)}px, ${Math.round(y)}px)`,
    width: `${Math.floor(width)}px`,
    height: `${Math.floor(height)}px`,
  };
}

customElements.define("re-stage", ReStage);
