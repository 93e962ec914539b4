// `<re-timeline>`: the scrubber with its preview, a lane for each person (there, speaking, missing), and what happened.
// Fires `re-seek` with milliseconds. All lanes share one scale; zoom widens it and scrolls.
import { html, nothing } from "lit";
import type { PropertyValues, TemplateResult } from "lit";
import { endOf, lanes, lengthOf, speech, spots } from "../../client/replay/model.ts";
import type { Lane, Manifest, RecordedEvent, Span, Spot } from "../../client/replay/model.ts";
import { duration, number } from "../../words/format.ts";
import { base, ReElement, styled } from "../base.ts";
import { join } from "../elements/card.ts";
import { icon } from "../elements/icon.ts";
import type { IconName } from "../elements/icon.ts";
import { stylesOfTimeline } from "./timeline-style.ts";

const GUTTER_PX = 132;
const ZOOMS = [1, 2, 5, 10, 30] as const;
/** Preview pictures are asked for at most this finely, so that the same ones come again. */
const PREVIEW_STEP = 2_000;

interface Happening {
  at: number;
  what: IconName;
  text: string;
}

/** The most telling picture stands for several things that happened at nearly the same time. */
const RANK: readonly IconName[] = ["pin", "chat", "screen", "pause", "people", "leave"];
/** Closer than this, two things share one button. */
const TOO_CLOSE_PX = 30;

export class ReTimeline extends ReElement {
  static override properties = {
    manifest: { attribute: false }, events: { attribute: false }, position: { attribute: false }, loaded: { attribute: false }, skipped: { attribute: false },
    zoom: { state: true }, hover: { state: true }, focused: { state: true },
  };
  declare manifest: Manifest | null;
  declare events: RecordedEvent[];
  /** Milliseconds. */
  declare position: number;
  declare loaded: Span | null;
  /** Stretches that playing leaps over. */
  declare skipped: Span[];
  declare private zoom: number;
  declare private hover: number | null;
  /** Which of the happenings the keys are at. */
  declare private focused: number;
  private isDragging = false;
  private lanes: Lane[] = [];
  private happenings: Happening[] = [];
  private speech = new Map<string, Span[]>();
  private length = 1;

  constructor() {
    super();
    this.manifest = null;
    this.events = [];
    this.position = 0;
    this.loaded = null;
    this.skipped = [];
    this.zoom = 1;
    this.hover = null;
    this.focused = 0;
  }

  override willUpdate(changed: PropertyValues): void {
    if (!this.manifest || !(changed.has("manifest") || changed.has("events"))) return;
    this.length = Math.max(1, lengthOf(this.manifest));
    this.lanes = lanes(this.manifest.files);
    this.speech = speech(this.events, this.length);
    this.happenings = this.whatHappened();
    this.focused = 0;
  }

  private whatHappened(): Happening[] {
    const w = this.words.replay;
    const nameOf = (event: RecordedEvent): string => event.name ?? this.manifest?.participants.find((one) => one.id === event.participant || (event.person !== undefined && one.person === event.person))?.name ?? "";
    const found = this.events.flatMap((event): Happening[] => {
      const at = event.t_ms;
      switch (event.type) {
        case "joined": return [{ at, what: "people", text: w.joined(nameOf(event)) }];
        case "left": return [{ at, what: "leave", text: w.left(nameOf(event)) }];
        case "chat": return [{ at, what: "chat", text: w.wrote(nameOf(event), event.text ?? "") }];
        case "screen": return [{ at, what: "screen", text: w.shares(nameOf(event)) }];
        case "mark": return [{ at, what: "pin", text: event.text ?? w.mark }];
        case "paused": return [{ at, what: "pause", text: w.paused }];
        default: return [];
      }
    });
    for (const lane of this.lanes) {
      if (lane.source === "camera" || this.events.some((event) => event.type === "screen")) continue;
      for (const file of lane.files) found.push({ at: file.offset_ms, what: "screen", text: w.shares(lane.name) });
    }
    return found.toSorted((a, b) => a.at - b.at);
  }

  // --- Pointer and keys ----------------------------------------------------------------------------------------

  private timeAt(event: PointerEvent): number {
    const box = (event.currentTarget as HTMLElement).getBoundingClientRect();
    return Math.min(1, Math.max(0, (event.clientX - box.left) / box.width)) * this.length;
  }

  private seek(to: number): void {
    this.dispatchEvent(new CustomEvent("re-seek", { detail: Math.min(this.length, Math.max(0, to)) }));
  }

  private onDown(event: PointerEvent): void {
    if (event.button !== 0) return;
    (event.currentTarget as HTMLElement).setPointerCapture(event.pointerId);
    this.isDragging = true;
    this.seek(this.timeAt(event));
  }

  private onMove(event: PointerEvent): void {
    this.hover = this.timeAt(event);
    if (this.isDragging) this.seek(this.hover);
  }

  private onUp(): void {
    this.isDragging = false;
  }

  /** The list of happenings is one stop of the Tab key; arrows walk in it. */
  private onListKey(event: KeyboardEvent): void {
    const steps: Record<string, number> = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1, Home: -Infinity, End: Infinity };
    const step = steps[event.key];
    if (step === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    event.stopPropagation();
    this.focused = Math.min(this.dots().length - 1, Math.max(0, this.focused + step));
    this.updateComplete.then(() => this.renderRoot.querySelector<HTMLElement>(".dot[tabindex='0']")?.focus());
  }

  // --- Drawing -------------------------------------------------------------------------------------------------

  private share(ms: number): string {
    return `${(Math.min(this.length, Math.max(0, ms)) / this.length) * 100}%`;
  }

  private bar(kind: string, span: Span): TemplateResult {
    return html`<i class=${kind} ${styled({ left: this.share(span.from), width: this.share(span.to - span.from) })}></i>`;
  }

  override render() {
    if (!this.manifest) return nothing;
    const w = this.words.replay;
    return html`<section aria-label=${w.timeline}>
      <div class="scroll"><div class="wide" ${styled({ width: `${this.zoom * 100}%` })}>
        <div class="row"><span class="label numbers">${duration(this.position)}</span>${this.scrubber()}</div>
        ${this.lanes.map((lane) => this.lane(lane))}
        ${this.happenings.length > 0 ? html`<div class="row"><span class="label">${w.events}</span>
          <div class="track marks" role="toolbar" aria-label=${w.events} @keydown=${this.onListKey}>${this.dots().map((one, i) => this.dot(one, i))}</div></div>` : nothing}
      </div></div>
      <div class="zoom" role="group" aria-label=${w.zoom}>
        <button class="icon quiet" aria-label=${w.zoomOut} title=${w.zoomOut} ?disabled=${this.zoom === ZOOMS[0]} @click=${() => this.step(-1)}>−</button>
        <button class="icon quiet" aria-label=${w.zoomIn} title=${w.zoomIn} ?disabled=${this.zoom === ZOOMS.at(-1)} @click=${() => this.step(1)}>+</button>
      </div>
    </section>`;
  }

  private step(by: number): void {
    const at = ZOOMS.findIndex((one) => one === this.zoom);
    this.focused = 0;
    this.zoom = ZOOMS[Math.min(ZOOMS.length - 1, Math.max(0, at + by))] ?? 1;
    this.updateComplete.then(() => {
      const scroll = this.renderRoot.querySelector(".scroll");
      if (scroll) scroll.scrollLeft = (this.position / this.length) * scroll.scrollWidth - scroll.clientWidth / 2;
    });
  }

  private scrubber(): TemplateResult {
    const w = this.words.replay;
    return html`<div class="track scrub" role="slider" tabindex="0" aria-label=${w.position} aria-valuemin="0" aria-valuemax=${Math.round(this.length / 1000)}
        aria-valuenow=${Math.round(this.position / 1000)} aria-valuetext=${w.positionOf(duration(this.position), duration(this.length))}
        @pointerdown=${this.onDown} @pointermove=${this.onMove} @pointerup=${this.onUp} @pointercancel=${this.onUp} @pointerleave=${() => (this.hover = null)}>
      <div class="rail">${this.loaded ? this.bar("loaded", this.loaded) : nothing}<i class="played" ${styled({ width: this.share(this.position) })}></i>${this.skipped.map((span) => this.bar("skipped", span))}</div>
      <i class="thumb" ${styled({ left: this.share(this.position) })}></i>
      ${this.hover === null ? nothing : this.preview(this.hover)}
    </div>`;
  }

  private preview(at: number): TemplateResult {
    const url = this.pictureAt(at);
    return html`<div class="preview" ${styled({ left: this.share(at) })}>
      ${url ? html`<img src=${url} alt="" @error=${(event: Event) => ((event.target as HTMLElement).hidden = true)} @load=${(event: Event) => ((event.target as HTMLElement).hidden = false)} />` : nothing}
      <span class="numbers">${duration(at)}</span></div>`;
  }

  /** The picture of whoever shares a screen then, else of whoever is there first. */
  private pictureAt(at: number): string | null {
    const there = this.lanes.flatMap((lane) => lane.files.filter((file) => file.video && file.offset_ms <= at && at < endOf(file)));
    const file = there.find((one) => one.source !== "camera") ?? there[0];
    const thumb = file && this.manifest?.media?.[file.file]?.thumb_url;
    if (!file || !thumb) return null;
    return join(thumb, `t=${Math.floor((at - file.offset_ms) / PREVIEW_STEP) * PREVIEW_STEP}`);
  }

  private lane(lane: Lane): TemplateResult {
    const w = this.words.replay;
    const isScreen = lane.source !== "camera";
    const name = isScreen ? w.screenOf(lane.name) : lane.name;
    const times = lane.files.map((file) => `${duration(file.offset_ms)} – ${duration(endOf(file))}`).join(", ");
    const voices = isScreen ? [] : lane.files.flatMap((file) => (this.speech.get(file.participant) ?? []).map((span) => ({ from: Math.max(span.from, file.offset_ms), to: Math.min(span.to, endOf(file)) })).filter((span) => span.to > span.from));
    return html`<div class="row"><span class="label" title=${name}><bdi>${name}</bdi></span>
      <div class="track people" role="img" aria-label=${w.lane(name, times)} @click=${(event: PointerEvent) => this.seek(this.timeAt(event))}>
        ${lane.files.map((file) => this.bar(file.video ? "there" : "there thin", { from: file.offset_ms, to: endOf(file) }))}
        ${voices.map((span) => this.bar("voice", span))}
        ${lane.files.flatMap(spots).map((spot) => this.spot(spot))}
        <i class="now" ${styled({ left: this.share(this.position) })}></i>
      </div></div>`;
  }

  private spot(spot: Spot): TemplateResult {
    return html`<i class=${`spot ${spot.what} ${spot.kind}`} title=${describe(spot, this.words)} ${styled({ left: this.share(spot.from), width: this.share(spot.to - spot.from) })}></i>`;
  }

  /** What happened, with neighbours that would cover each other put together. */
  private dots(): Happening[] {
    const track = Math.max(120, (this.clientWidth || 800) - GUTTER_PX) * this.zoom;
    const near = (this.length * TOO_CLOSE_PX) / track;
    const found: Happening[] = [];
    for (const one of this.happenings) {
      const last = found.at(-1);
      if (!last || one.at - last.at > near) {
        found.push({ ...one, text: `${duration(one.at)} ${one.text}` });
        continue;
      }
      last.text += `\n${duration(one.at)} ${one.text}`;
      if (RANK.indexOf(one.what) < RANK.indexOf(last.what)) [last.what, last.at] = [one.what, one.at];
    }
    return found;
  }

  private dot(one: Happening, index: number): TemplateResult {
    return html`<button class="dot quiet" tabindex=${index === this.focused ? 0 : -1} aria-label=${one.text} title=${one.text}
      ${styled({ left: `clamp(16px, ${this.share(one.at)}, calc(100% - 16px))` })} @focus=${() => (this.focused = index)} @click=${() => this.seek(one.at)}>${icon(one.what, 16)}</button>`;
  }

  static override styles = [base, stylesOfTimeline];
}

/** One sentence about a spot. */
export function describe(spot: Spot, words: ReElement["words"]): string {
  const w = words.replay;
  const lasts = spot.to > spot.from ? `${number((spot.to - spot.from) / 1000)} s` : "";
  return w.spotAt(w.spot[spot.what], spot.name, duration(spot.from), lasts, w.causes[spot.cause] ?? "");
}

customElements.define("re-timeline", ReTimeline);
