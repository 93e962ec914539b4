// Short neutral news at the foot of the page. Nothing is known only from here.
import { css, html, nothing } from "lit";
import { repeat } from "lit/directives/repeat.js";
import { announce } from "../announce.ts";
import { base, ReElement } from "../base.ts";

export interface Toast {
  text: string;
  action?: { label: string; run: () => void };
}

interface Shown extends Toast {
  id: number;
  left_ms: number;
}

const PLAIN_MS = 5_000;
const WITH_ACTION_MS = 10_000;
const AT_MOST = 2;
const TICK_MS = 250;

/** Shows a toast on whatever page is open. */
export function toast(next: Toast): void {
  dispatchEvent(new CustomEvent<Toast>("re-toast", { detail: next }));
}

export class ReToasts extends ReElement {
  static override properties = { shown: { state: true } };
  declare shown: Shown[];
  private count = 0;
  private isHeld = false;

  constructor() {
    super();
    this.shown = [];
  }

  override connectedCallback(): void {
    super.connectedCallback();
    addEventListener("re-toast", (event) => this.add((event as CustomEvent<Toast>).detail), { signal: this.connected });
    const timer = setInterval(() => this.tick(), TICK_MS);
    this.connected.addEventListener("abort", () => clearInterval(timer));
  }

  private add(next: Toast): void {
    const left_ms = next.action ? WITH_ACTION_MS : PLAIN_MS;
    this.shown = [...this.shown, { ...next, id: ++this.count, left_ms }].slice(-AT_MOST);
    announce(next.text);
  }

  private tick(): void {
    if (this.isHeld || this.shown.length === 0) return;
    const left = this.shown.map((one) => ({ ...one, left_ms: one.left_ms - TICK_MS }));
    this.shown = left.filter((one) => one.left_ms > 0);
  }

  private close(id: number): void {
    this.shown = this.shown.filter((one) => one.id !== id);
    this.isHeld = false;
  }

  override render() {
    if (this.shown.length === 0) return nothing;
    return html`<section class="stack" aria-label=${this.words.common.news} @pointerenter=${() => (this.isHeld = true)} @pointerleave=${() => (this.isHeld = false)}
      @focusin=${() => (this.isHeld = true)} @focusout=${() => (this.isHeld = false)}>
      ${repeat(this.shown, (one) => one.id, (one) => html`<div class="toast">
        <span>${one.text}</span>
        ${one.action ? html`<button class="small quiet" @click=${() => { one.action?.run(); this.close(one.id); }}>${one.action.label}</button>` : nothing}
      </div>`)}
    </section>`;
  }

  static override styles = [
    base,
    css`
      :host { position: fixed; inset: auto 0 calc(env(safe-area-inset-bottom) + 96px); z-index: 40; display: grid; justify-items: center; pointer-events: none; }
      .stack { display: grid; gap: var(--s2); justify-items: center; padding: 0 var(--s4); }
      .toast {
        display: flex; align-items: center; gap: var(--s3); min-height: 44px; padding: var(--s2) var(--s2) var(--s2) var(--s4);
        border: 1px solid var(--line); border-radius: var(--r2); background: var(--raised); color: var(--text);
        box-shadow: var(--float); font-size: var(--t2); pointer-events: auto;
      }
      .toast span { padding-right: var(--s2); overflow-wrap: anywhere; }
      .toast button { color: var(--link); }
    `,
  ];
}

customElements.define("re-toasts", ReToasts);
