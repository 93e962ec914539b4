// `<re-look-back>`: what was, of a call that still runs: the player from a moment before now on, and the way back to live.
// Fires `re-live`.
import { css, html, nothing } from "lit";
import { duration } from "../../words/format.ts";
import { base, ReElement } from "../base.ts";
import "./player.ts";
import type { ReelayPlayer } from "./player.ts";

/** So far back somebody wants to look who missed a word. */
export const BACK_MS = 10_000;
const CATCH_UP_RATE = 1.5;
/** The file is a second or two behind the call: closer than this it cannot come. */
const CAUGHT_UP_MS = 2_500;

export class ReLookBack extends ReElement {
  static override properties = { recording: {}, from: { attribute: false }, saved: { attribute: false }, note: {}, position: { state: true }, isCatchingUp: { state: true } };
  declare recording: string;
  /** Where to begin, in milliseconds. */
  declare from: number;
  /** How much of the recording is on disk: its live edge. */
  declare saved: number;
  /** What the person should know meanwhile. */
  declare note: string;
  declare private position: number;
  declare private isCatchingUp: boolean;

  constructor() {
    super();
    this.recording = "";
    this.from = 0;
    this.saved = 0;
    this.note = "";
    this.position = 0;
    this.isCatchingUp = false;
  }

  override willUpdate(changed: Map<string, unknown>): void {
    if (changed.has("from")) this.position = this.from;
  }

  private get player(): ReelayPlayer | null {
    return this.renderRoot.querySelector("reelay-player");
  }

  private get behind(): number {
    return Math.max(0, this.saved - this.position);
  }

  private toLive(): void {
    this.dispatchEvent(new CustomEvent("re-live"));
  }

  private onMoved(event: CustomEvent<number>): void {
    this.position = event.detail;
    if (this.isCatchingUp && this.behind <= CAUGHT_UP_MS) this.toLive();
  }

  private catchUp(): void {
    const group = this.player?.group;
    if (!group) return;
    this.isCatchingUp = !this.isCatchingUp;
    group.playbackRate = this.isCatchingUp ? CATCH_UP_RATE : 1;
    if (this.isCatchingUp) void group.play();
  }

  // Somebody who looks back wants to see, not to press play.
  private playOn(): void {
    const { player } = this;
    void player?.updateComplete.then(() => player.group?.updateComplete).then(() => player.group?.play());
  }

  private once = false;
  private onLoaded(): void {
    if (!this.once) this.playOn();
    this.once = true;
  }

  override render() {
    const w = this.words.watch;
    return html`<div class="bar" role="group" aria-label=${w.goBack}>
        <button class="live numbers" title=${w.toLive} @click=${this.toLive}>${w.behind(duration(this.behind))}<span class="unseen">. ${w.toLive}</span></button>
        <button class="plain" aria-pressed=${this.isCatchingUp} @click=${this.catchUp}>${w.catchUp}</button>
        ${this.note === "" ? nothing : html`<span class="second">${this.note}</span>`}
      </div>
      <reelay-player .recording=${this.recording} .start=${String(this.from / 1000)} @re-moved=${this.onMoved} @re-loaded=${this.onLoaded}></reelay-player>`;
  }

  static override styles = [
    base,
    css`
      :host { display: grid; gap: var(--s2); align-content: safe center; min-width: 0; max-width: 1200px; width: 100%; margin: 0 auto; overflow: auto; color-scheme: dark; color: var(--text); }
      reelay-player { --screen: min(46dvh, 56cqi); }
      .bar { display: flex; flex-wrap: wrap; align-items: center; gap: var(--s2); }
      .live { border: 2px solid var(--edge); background: transparent; font-size: var(--t2); }
      .plain { border-color: transparent; background: var(--ctl); font-size: var(--t2); }
      .plain:hover { background: var(--raised); }
      .plain[aria-pressed="true"] { background: var(--accent-bg); }
    `,
  ];
}

customElements.define("re-look-back", ReLookBack);
