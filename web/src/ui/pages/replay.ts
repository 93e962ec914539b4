// One recording: the player, people, chat and report beside it, a link to this moment, download, delete.
import { css, html, nothing } from "lit";
import type { TemplateResult } from "lit";
import { ApiError } from "../../client/api.ts";
import { namesOf, recordings, titleOf } from "../../client/library.ts";
import type { Notes } from "../../client/library.ts";
import type { Failure } from "../../client/replay/load.ts";
import { isGrowing, lengthOf, peopleOf } from "../../client/replay/model.ts";
import type { Manifest, RecordedEvent } from "../../client/replay/model.ts";
import { dateTime, list } from "../../words/format.ts";
import { base, ReElement } from "../base.ts";
import { icon } from "../elements/icon.ts";
import { toast } from "../elements/toast.ts";
import "../player/panel.ts";
import "../player/player.ts";
import "../player/share.ts";
import type { ShareWish } from "../player/share.ts";
import type { ReelayPlayer } from "../player/player.ts";
import { navigate, paths } from "../route.ts";
import "./replay-more.ts";

class RePageReplay extends ReElement {
  static override properties = { recording: {}, manifest: { state: true }, events: { state: true }, failure: { state: true }, position: { state: true } };
  declare recording: string;
  declare private manifest: Manifest | null;
  declare private events: RecordedEvent[];
  declare private failure: Failure | null;
  declare private position: number;
  private readonly start = new URLSearchParams(location.search).get("t");

  constructor() {
    super();
    this.recording = "";
    this.manifest = null;
    this.events = [];
    this.failure = null;
    this.position = 0;
  }

  private get player(): ReelayPlayer | null {
    return this.renderRoot.querySelector("reelay-player");
  }

  private onLoaded(event: CustomEvent<{ manifest: Manifest; events: RecordedEvent[] }>): void {
    this.manifest = event.detail.manifest;
    this.events = event.detail.events;
    this.failure = null;
    document.title = `${titleOf(this.manifest)} · ${this.words.common.name}`;
  }

  // A second is fine enough for chat and links; the player itself knows better.
  private onMoved(event: CustomEvent<number>): void {
    if (Math.floor(event.detail / 1000) !== Math.floor(this.position / 1000)) this.position = event.detail;
  }

  private async discard(): Promise<void> {
    const w = this.words;
    const id = this.recording;
    const title = this.manifest ? titleOf(this.manifest) : "";
    try {
      await recordings.remove(id);
    } catch (error) {
      toast({ text: error instanceof ApiError && error.code === "recording-active" ? w.replay.stillRuns : w.replay.deleteFailed });
      return;
    }
    navigate(paths.library);
    toast({
      text: w.library.deleted(title),
      action: {
        label: w.common.undo,
        run: () => recordings.restore(id).then(() => navigate(paths.replay(id)), () => toast({ text: w.library.undoFailed })),
      },
    });
  }

  private async share({ from, to, who }: ShareWish): Promise<void> {
    const w = this.words.replay;
    try {
      const { url, expires_at: until } = await recordings.share(this.manifest?.share_url ?? "", from, to, who);
      await this.player?.copy(new URL(url, location.href).href, until ? w.clipCopied(dateTime(until)) : w.copied);
    } catch {
      toast({ text: w.clipFailed });
    }
  }

  override render() {
    return html`<re-header></re-header><main>
      ${this.manifest ? this.head(this.manifest) : nothing}
      ${this.failure ? this.failed(this.failure) : nothing}
      <div class="columns" ?hidden=${this.failure !== null}>
        <reelay-player .recording=${this.recording} .start=${this.start} @re-loaded=${this.onLoaded} @re-moved=${this.onMoved}
          @re-failed=${(event: CustomEvent<Failure>) => (this.failure = event.detail)}></reelay-player>
        ${this.manifest && this.manifest.files.length > 0 ? html`<re-replay-panel .manifest=${this.manifest} .events=${this.events} .position=${this.position}
          @re-marked=${() => this.player?.refresh()} @re-seek=${(event: CustomEvent<number>) => this.player?.seek(event.detail)} @re-pin=${(event: CustomEvent<string>) => this.player?.pin(event.detail)}
          @re-volume=${(event: CustomEvent<{ person: string; volume: number }>) => this.player?.group?.setVolumeOf(event.detail.person, event.detail.volume)}></re-replay-panel>` : nothing}
      </div></main>`;
  }

  private head(manifest: Manifest): TemplateResult {
    const w = this.words.replay;
    const names = namesOf(manifest).filter((name) => name !== "");
    const grows = isGrowing(manifest.state);
    return html`<div class="head">
      <a class="button icon quiet" href=${paths.library} aria-label=${w.back} title=${w.back}>${icon("left")}</a>
      <div class="title"><h1><bdi>${titleOf(manifest)}</bdi></h1>
        <p class="second">${manifest.title?.trim() ? `${manifest.room} · ` : ""}${dateTime(manifest.started_at)} · ${names.length > 0 ? list(names) : w.nobody}</p>
        ${manifest.tags?.length ? html`<ul class="tags" aria-label=${w.tagsLabel}>${manifest.tags.map((tag) => html`<li><a href=${`${paths.library}?q=${encodeURIComponent(tag)}`}><bdi>${tag}</bdi></a></li>`)}</ul>` : nothing}</div>
      ${grows ? html`<span class="rec numbers"><span class="dot"></span>${w.growing}</span><a class="button small" href=${paths.room(manifest.room)}>${w.join}</a>` : nothing}
      <re-share .url=${paths.replay(this.recording)} .position=${this.position} .length=${lengthOf(manifest)} .people=${peopleOf(manifest)} .canShare=${manifest.share_url !== undefined}
        @re-share=${(event: CustomEvent<ShareWish>) => void this.share(event.detail)} @re-copy=${(event: CustomEvent<string>) => this.player?.copy(event.detail)}></re-share>
      ${grows ? nothing : html`<re-replay-more .manifest=${manifest} .position=${this.position} @re-delete=${this.discard} @re-erased=${() => this.player?.refresh()}
        @re-noted=${(event: CustomEvent<Notes>) => (this.manifest = { ...manifest, ...event.detail })}></re-replay-more>`}
    </div>`;
  }

  private failed(why: Failure): TemplateResult {
    const w = this.words.replay;
    const texts: Record<Failure, [string, string]> = {
      missing: [w.missing, w.missingText], locked: [w.locked, ""], newer: [w.newer, ""], unsaved: [w.failed, w.failedText], offline: [this.words.common.offline, w.offline], failed: [w.failed, w.failedText],
    };
    const [heading, text] = texts[why];
    const canRetry = why === "failed" || why === "offline";
    return html`<re-empty main .heading=${heading}>${why === "offline" ? this.words.library.offlineText : text}
      ${canRetry ? html`<button slot="action" @click=${() => this.player?.refresh()}>${w.tryAgain}</button>` : nothing}
      <a slot="action" class="button" href=${paths.library}>${w.back}</a></re-empty>`;
  }

  static override styles = [
    base,
    css`
      :host { display: block; }
      main { display: grid; gap: var(--s4); max-width: 1440px; margin: 0 auto; padding: var(--s4) var(--s4) var(--s7); }
      .head { display: flex; flex-wrap: wrap; align-items: center; gap: var(--s2) var(--s3); min-width: 0; }
      .title { flex: 1 1 0; min-width: 140px; overflow-wrap: anywhere; }
      h1 { font-size: var(--t4); }
      .tags { display: flex; flex-wrap: wrap; gap: var(--s1) var(--s2); margin: var(--s1) 0 0; padding: 0; list-style: none; font-size: var(--t2); }
      .tags a { display: inline-block; padding: 2px var(--s2); border: 1px solid var(--line); border-radius: var(--r1); color: inherit; text-decoration: none; }
      .head .small { min-height: 44px; }
      .rec { display: inline-flex; align-items: center; gap: var(--s2); font-size: var(--t2); }
      .dot { width: 10px; height: 10px; border-radius: 50%; background: var(--rec); }
      .columns { display: grid; grid-template-columns: minmax(0, 1fr) 320px; gap: var(--s4); align-items: start; }
      re-replay-panel { max-height: min(86dvh, 900px); }
      @media (max-width: 1000px) { .columns { grid-template-columns: minmax(0, 1fr); } re-replay-panel { max-height: none; } }
      @media (max-width: 480px) { main { padding: var(--s2) var(--s3) var(--s6); } .head > .icon:first-child { margin-left: -8px; } }
    `,
  ];
}

customElements.define("re-page-replay", RePageReplay);
