// `<re-sounds>`: what one hears. One <audio> per sound, apart from the tiles, so that nobody falls silent by leaving the screen.
import { html } from "lit";
import { repeat } from "lit/directives/repeat.js";
import type { Call } from "../../client/call.ts";
import { ReElement } from "../base.ts";

export class ReSounds extends ReElement {
  static override properties = { call: { attribute: false }, isOff: { attribute: false }, speakerId: {} };
  declare call: Call | null;
  declare isOff: boolean;
  declare speakerId: string;
  private heard: AbortController | null = null;

  constructor() {
    super();
    this.call = null;
    this.isOff = false;
    this.speakerId = "";
  }

  override willUpdate(changed: Map<string, unknown>): void {
    if (!changed.has("call") && this.heard !== null) return;
    this.heard?.abort();
    this.heard = new AbortController();
    this.call?.on("tracks", () => this.requestUpdate(), this.heard.signal);
  }

  override disconnectedCallback(): void {
    this.heard?.abort();
    this.heard = null;
    super.disconnectedCallback();
  }

  override updated(): void {
    const sounds = new Map(this.call?.subscriber?.sounds().map((one) => [one.mid, one.track]));
    for (const audio of this.renderRoot.querySelectorAll("audio")) {
      const track = sounds.get(audio.dataset["mid"] ?? "");
      const shown = (audio.srcObject as MediaStream | null)?.getAudioTracks()[0];
      audio.muted = this.isOff;
      if (track && track !== shown) {
        audio.srcObject = new MediaStream([track]);
        void this.play(audio);
      }
      if (audio.sinkId !== this.speakerId && "setSinkId" in audio) void audio.setSinkId(this.speakerId).catch(() => undefined);
    }
  }

  /** After a click the browser lets sounds play that it held back. */
  wake(): void {
    for (const audio of this.renderRoot.querySelectorAll("audio")) void this.play(audio);
  }

  private async play(audio: HTMLAudioElement): Promise<void> {
    try {
      await audio.play();
      this.tell(false);
    } catch (error) {
      if (error instanceof DOMException && error.name === "NotAllowedError") this.tell(true);
    }
  }

  private tell(isHeld: boolean): void {
    this.dispatchEvent(new CustomEvent("re-sound-held", { detail: isHeld, bubbles: true, composed: true }));
  }

  override render() {
    const sounds = this.call?.subscriber?.sounds() ?? [];
    return html`${repeat(sounds, (one) => one.mid, (one) => html`<audio data-mid=${one.mid} autoplay></audio>`)}`;
  }
}

customElements.define("re-sounds", ReSounds);
