// `/clip/{recording}?from=…&to=…`: a span that somebody shared, and nothing else. It plays, stops at its end, and plays again.
import { css, html, nothing } from "lit";
import type { TemplateResult } from "lit";
import { namesOf, titleOf } from "../../client/library.ts";
import { loadClip, LoadError } from "../../client/replay/load.ts";
import type { Clip, Failure } from "../../client/replay/load.ts";
import { dateTime, duration, list } from "../../words/format.ts";
import { base, ReElement } from "../base.ts";
import "../elements/empty.ts";
import { icon } from "../elements/icon.ts";
import "../player/player.ts";
import type { ReelayPlayer } from "../player/player.ts";
import { paths } from "../route.ts";

/** What is being recorded is asked for again after this time. */
const SOON_MS = 3_000;

class RePageClip extends ReElement {
  static override properties = { recording: {}, clip: { state: true }, failure: { state: true }, loops: { state: true } };
  declare recording: string;
  declare private clip: Clip | null;
  declare private failure: Failure | null;
  declare private loops: boolean;
  private readonly query = location.search;

  constructor() {
    super();
    this.recording = "";
    this.clip = null;
    this.failure = null;
    this.loops = false;
  }

  // What the app says about the address is there by now.
  override firstUpdated(): void {
    void this.load();
  }

  private async load(): Promise<void> {
    const signal = this.connected;
    try {
      this.clip = await loadClip(this.recording, this.query, signal);
      this.failure = null;
      document.title = `${titleOf(this.clip.manifest)} · ${this.words.common.name}`;
    } catch (error) {
      // What is loaded goes on.
      if (signal.aborted || this.clip) return;
      this.failure = error instanceof LoadError ? error.why : "failed";
      if (this.failure === "unsaved") setTimeout(() => signal.aborted || void this.load(), SOON_MS);
    }
  }

  private get player(): ReelayPlayer | null {
    return this.renderRoot.querySelector("reelay-player");
  }

  override render() {
    return html`<main>${this.failure ? this.failed(this.failure) : this.clip ? this.shown(this.clip) : nothing}</main>`;
  }

  private shown(clip: Clip): TemplateResult {
    const w = this.words.replay;
    const { manifest, span } = clip;
    const names = namesOf(manifest).filter((name) => name !== "");
    return html`<div class="head"><h1><bdi>${titleOf(manifest)}</bdi></h1>
        <p class="second">${w.clipOf(duration(span.to - span.from), dateTime(manifest.started_at))}${names.length > 0 ? ` · ${list(names)}` : ""}</p></div>
      <reelay-player .clip=${clip} .loops=${this.loops} @re-stale=${this.load}></reelay-player>
      <div class="actions">
        <button class="main" @click=${() => this.player?.playAgain()}>${icon("play")}${w.clipAgain}</button>
        <button aria-pressed=${this.loops} @click=${() => (this.loops = !this.loops)}>${icon("again")}${w.clipLoop}</button>
        ${clip.downloadUrl ? html`<a class="button" href=${clip.downloadUrl} download>${icon("download")}${w.download}</a>` : nothing}
        ${clip.wholeUrl ? html`<a class="button quiet" href=${clip.wholeUrl}>${w.clipWhole}</a>` : nothing}
      </div>`;
  }

  private failed(why: Failure): TemplateResult {
    const w = this.words.replay;
    const texts: Record<Failure, [string, string]> = {
      missing: [w.clipMissing, w.missingText], locked: [w.clipLocked, w.clipLockedText], newer: [w.newer, ""], unsaved: [w.clipUnsaved, w.clipUnsavedText], offline: [this.words.common.offline, w.offline], failed: [w.failed, w.failedText],
    };
    const [heading, text] = texts[why];
    return html`<re-empty main .heading=${heading}>${text}
      ${why === "failed" || why === "offline" ? html`<button slot="action" @click=${() => void this.load()}>${w.tryAgain}</button>` : nothing}
      <a slot="action" class="button" href=${paths.home}>${this.words.common.toHome}</a></re-empty>`;
  }

  static override styles = [
    base,
    css`
      :host { display: block; }
      main { display: grid; gap: var(--s4); max-width: 1080px; margin: 0 auto; padding: var(--s4); }
      h1 { font-size: var(--t4); overflow-wrap: anywhere; }
      .actions { display: flex; flex-wrap: wrap; gap: var(--s2); }
      .actions .button, .actions button { display: inline-flex; align-items: center; gap: var(--s2); }
      [aria-pressed="true"] { background: var(--accent-bg); }
      @media (max-width: 480px) { main { padding: var(--s3); } .actions > * { flex: 1 1 40%; justify-content: center; } }
    `,
  ];
}

customElements.define("re-page-clip", RePageClip);
