// `<re-replay-panel>`: beside the player: people with their loudness and file, chat as it was written, the report.
// Fires `re-seek`, `re-pin` and `re-volume`.
import { html, nothing } from "lit";
import type { TemplateResult } from "lit";
import { isGrowing, lanes, lengthOf } from "../../client/replay/model.ts";
import type { Lane, Manifest, ManifestFile, RecordedEvent } from "../../client/replay/model.ts";
import { bytes, dateTime, duration, number } from "../../words/format.ts";
import { base, ReElement } from "../base.ts";
import { initials } from "../elements/card.ts";
import { icon } from "../elements/icon.ts";
import { flow } from "./flow.ts";
import "./markers.ts";
import { stylesOfPanel } from "./panel-style.ts";

const TABS = ["people", "chat", "markers", "report"] as const;
type Tab = (typeof TABS)[number];

export class ReReplayPanel extends ReElement {
  static override properties = {
    manifest: { attribute: false }, events: { attribute: false }, position: { attribute: false }, tab: { state: true }, volumes: { state: true },
  };
  declare manifest: Manifest | null;
  declare events: RecordedEvent[];
  declare position: number;
  declare private tab: Tab;
  declare private volumes: ReadonlyMap<string, number>;

  constructor() {
    super();
    this.manifest = null;
    this.events = [];
    this.position = 0;
    this.tab = "people";
    this.volumes = new Map();
  }

  private tell(name: string, detail: unknown): void {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }

  private setVolume(person: string, volume: number): void {
    this.volumes = new Map(this.volumes).set(person, volume);
    this.tell("re-volume", { person, volume });
  }

  private onTabKey(event: KeyboardEvent): void {
    const by = event.key === "ArrowRight" ? 1 : event.key === "ArrowLeft" ? -1 : 0;
    if (by === 0) return;
    event.preventDefault();
    this.tab = TABS[(TABS.indexOf(this.tab) + by + TABS.length) % TABS.length] ?? "people";
    this.updateComplete.then(() => this.renderRoot.querySelector<HTMLElement>("[role=tab][aria-selected=true]")?.focus());
  }

  override render() {
    if (!this.manifest) return nothing;
    const w = this.words.replay;
    return html`<div class="tabs" role="tablist" aria-label=${w.panel} @keydown=${this.onTabKey}>
        ${TABS.map((tab) => html`<button class="quiet" role="tab" id=${`tab-${tab}`} aria-controls="body" aria-selected=${tab === this.tab} tabindex=${tab === this.tab ? 0 : -1} @click=${() => (this.tab = tab)}>${w[tab]}</button>`)}
      </div>
      <div id="body" role="tabpanel" aria-labelledby=${`tab-${this.tab}`} tabindex="0">${this.body(this.manifest)}</div>`;
  }

  private body(manifest: Manifest): TemplateResult {
    switch (this.tab) {
      case "people": return this.people(manifest);
      case "chat": return this.chat();
      case "markers": return html`<re-markers .url=${manifest.markers_url ?? null} .events=${this.events} .position=${this.position} @re-seek=${(event: CustomEvent<number>) => this.tell("re-seek", event.detail)}></re-markers>`;
      case "report": return this.report(manifest);
    }
  }

  private people(manifest: Manifest): TemplateResult {
    const w = this.words.replay;
    const left = manifest.participants.filter((one) => one.recorded === false);
    return html`<ul class="people">${lanes(manifest.files).map((lane) => this.person(lane, manifest))}
      ${left.map((one) => html`<li class="human"><span class="round">${initials(one.name || "?")}</span><div class="what"><b><bdi>${one.name}</bdi></b><span class="hint">${w.recordedNot}</span></div></li>`)}</ul>`;
  }

  private person(lane: Lane, manifest: Manifest): TemplateResult {
    const w = this.words.replay;
    const isScreen = lane.source !== "camera";
    const name = isScreen ? w.screenOf(lane.name) : lane.name;
    const hasSound = lane.files.some((file) => file.audio);
    const volume = this.volumes.get(lane.person) ?? 1;
    const size = lane.files.reduce((sum, file) => sum + file.bytes, 0);
    return html`<li class="human"><span class="round">${isScreen ? icon("screen") : initials(lane.name)}</span>
      <div class="what"><b><bdi>${name}</bdi></b><span class="hint numbers">${duration(lane.files.reduce((sum, file) => sum + file.duration_ms, 0))} · ${bytes(size)}</span></div>
      <button class="icon quiet" aria-label=${w.pin(name)} title=${w.pin(name)} @click=${() => this.tell("re-pin", lane.id)}>${icon("pin")}</button>
      ${lane.files.map((file) => this.download(file, manifest))}
      ${hasSound && !isScreen ? html`<div class="loud">
        <button class="icon quiet" aria-pressed=${volume === 0} aria-label=${volume === 0 ? w.unmuteOne(name) : w.muteOne(name)} title=${volume === 0 ? w.unmuteOne(name) : w.muteOne(name)} @click=${() => this.setVolume(lane.person, volume === 0 ? 1 : 0)}>${icon(volume === 0 ? "sound-off" : "sound")}</button>
        <input type="range" min="0" max="1" step="0.05" .value=${String(volume)} aria-label=${w.volumeOf(name)} @input=${(event: Event) => this.setVolume(lane.person, Number((event.target as HTMLInputElement).value))} /></div>` : nothing}
    </li>`;
  }

  private download(file: ManifestFile, manifest: Manifest): TemplateResult | typeof nothing {
    const w = this.words.replay;
    const url = manifest.media?.[file.file]?.download_url;
    if (!url) return nothing;
    return html`<a class="button icon quiet" href=${url} download aria-label=${w.downloadFile(file.file)} title=${w.downloadFile(file.file)}>${icon("download")}</a>`;
  }

  private chat(): TemplateResult {
    const w = this.words.replay;
    const lines = this.events.filter((event) => event.type === "chat");
    if (lines.length === 0) return html`<p class="second none">${w.noChat}</p>`;
    return html`<div role="log" aria-live="off" aria-label=${w.chat}><ol class="chat">${lines.map((line) => html`<li ?data-later=${line.t_ms > this.position}>
      <button class="linklike numbers" aria-label=${w.jumpTo(duration(line.t_ms))} @click=${() => this.tell("re-seek", line.t_ms)}>${duration(line.t_ms)}</button>
      <div><b><bdi>${line.name ?? ""}</bdi></b><p><bdi>${line.text ?? ""}</bdi></p></div></li>`)}</ol></div>`;
  }

  private report(manifest: Manifest): TemplateResult {
    const w = this.words.replay.reportOf;
    const size = manifest.files.reduce((sum, file) => sum + file.bytes, 0);
    const rows: [string, unknown][] = [
      [w.id, manifest.id], [w.started, dateTime(manifest.started_at)], [w.length, duration(lengthOf(manifest))], [w.size, bytes(size)],
      [w.state, manifest.reason ? `${manifest.state}, ${manifest.reason}` : manifest.state], [w.files, manifest.files.length],
    ];
    return html`<dl class="facts">${rows.map(([name, value]) => html`<div><dt>${name}</dt><dd class="numbers">${value}</dd></div>`)}</dl>
      ${manifest.files.map((file) => this.fileReport(file, isGrowing(manifest.state)))}
      <p><a href=${`/api/recordings/${encodeURIComponent(manifest.id)}`} target="_blank" rel="noopener">${w.manifest}</a></p>`;
  }

  private fileReport(file: ManifestFile, grows: boolean): TemplateResult {
    const w = this.words.replay.reportOf;
    const codecs = [file.video && `${file.video.codec} ${file.video.width ?? "?"}×${file.video.height ?? "?"}`, file.audio && `${file.audio.codec} ${file.audio.channels ?? "?"}`].filter(Boolean).join(", ");
    const counters = Object.entries(file.counters ?? {}).filter(([, value]) => value > 0).map(([name, value]) => `${name} ${number(value)}`).join(", ");
    const rows: [string, string][] = [...this.health(file), [w.codec, codecs], [w.length, duration(file.duration_ms)], [w.size, bytes(file.bytes)]];
    if (file.close_reason) rows.push([w.closed, file.close_reason]);
    if (file.sync) rows.push([w.sync, file.sync]);
    if (counters !== "") rows.push([w.counters, counters]);
    if (!grows && !file.open) rows.push([w.hash, file.sha256 ?? w.notHashed]);
    return html`<details><summary><bdi>${file.name}</bdi> <span class="hint">${file.source}</span></summary>
      ${flow(file.report)}
      <dl class="facts"><div><dt>${w.file}</dt><dd><code>${file.file}</code></dd></div>${rows.map(([name, value]) => html`<div><dt>${name}</dt><dd>${value}</dd></div>`)}</dl></details>`;
  }

  /** The counters that matter, in words. */
  private health(file: ManifestFile): [string, string][] {
    const w = this.words.replay.reportOf;
    const n = (name: string): number => file.counters?.[name] ?? 0;
    const lost = n("audio_lost") + n("video_lost");
    const sent = n("packets") + lost;
    const percent = (part: number): string => `${number((part * 100) / sent, 2)} %`;
    const seconds = (name: string): string => number(n(name) / 1000);
    const rows: [string, string][] = [];
    if (sent > 0) rows.push([w.loss, w.lossOf(percent(n("audio_missing") + n("video_missing")), percent(lost))]);
    if (n("freezes") > 0) rows.push([w.freezes, w.freezesOf(number(n("freezes")), seconds("freeze_ms"), seconds("freeze_max_ms"))]);
    if (n("filled_audio_ms") > 0) rows.push([w.silence, `${seconds("filled_audio_ms")} s`]);
    if (file.audio && file.video && file.sync === "sender-reports") rows.push([w.apart, w.apartOf(number(n("av_offset_max_ms")))]);
    return rows;
  }

  static override styles = [base, stylesOfPanel];
}

customElements.define("re-replay-panel", ReReplayPanel);
