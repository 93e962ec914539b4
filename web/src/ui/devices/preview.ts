// `<re-preview .device=${camera}>`: what the camera sees, mirrored, or why there is nothing.
import { css, html, nothing } from "lit";
import type { Device } from "../../client/devices.ts";
import { base, ReElement } from "../base.ts";
import { icon } from "../elements/icon.ts";

export class RePreview extends ReElement {
  static override properties = { device: { attribute: false }, name: {} };
  declare device: Device | null;
  declare name: string;

  constructor() {
    super();
    this.device = null;
    this.name = "";
  }

  override updated(): void {
    const video = this.renderRoot.querySelector("video");
    const track = this.device?.track ?? null;
    if (!video) return;
    const shown = (video.srcObject as MediaStream | null)?.getVideoTracks()[0] ?? null;
    if (shown === track) return;
    video.srcObject = track ? new MediaStream([track]) : null;
    if (track) void video.play().catch(() => undefined);
  }

  private why() {
    const w = this.words.device;
    const state = this.device?.state ?? "off";
    switch (state) {
      case "on": return nothing;
      case "asking": return html`<p class="strong">${w.promptOpen}</p>`;
      case "starting": return html`<p class="late">${w.starting}</p>`;
      case "off": return html`${icon("camera-off", 32)}<p>${w.cameraOff}</p>`;
      // What is wrong is said once, beside the picture.
      default: return html`${icon("camera-off", 32)}<p>${w.notAvailable(w.camera)}</p>`;
    }
  }

  override render() {
    const isOn = this.device?.state === "on";
    return html`<video ?hidden=${!isOn} autoplay playsinline muted aria-label=${this.words.device.preview}></video>
      ${isOn ? nothing : html`<div class="why">${this.why()}</div>`}`;
  }

  static override styles = [
    base,
    css`
      :host { position: relative; display: grid; overflow: hidden; aspect-ratio: 16/9; border-radius: var(--r3); background: var(--tile); color: var(--text); color-scheme: dark; }
      video { width: 100%; height: 100%; object-fit: cover; transform: scaleX(-1); }
      .why { display: grid; place-content: center; justify-items: center; gap: var(--s3); padding: var(--s5); color: var(--text-2); text-align: center; }
      .strong { color: var(--text); font: 600 var(--t4)/1.4 var(--font); }
      .late { opacity: 0; animation: late 0s .5s forwards; }
      @keyframes late { to { opacity: 1; } }
    `,
  ];
}

customElements.define("re-preview", RePreview);
