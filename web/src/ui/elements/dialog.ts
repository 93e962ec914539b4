// `<re-dialog heading="…" ?open>` over the native <dialog>: focus in, Esc, focus back. Fires `close` when it is gone.
// The first button in the `actions` slot that has `data-first` gets the focus; a destructive one must not be it.
import { css, html } from "lit";
import { base, ReElement } from "../base.ts";
import { icon } from "./icon.ts";

export class ReDialog extends ReElement {
  static override properties = {
    heading: {},
    open: { type: Boolean, reflect: true },
    /** No close button and no Esc: for a question that must be answered. */
    strict: { type: Boolean },
  };
  declare heading: string;
  declare open: boolean;
  declare strict: boolean;

  constructor() {
    super();
    this.heading = "";
    this.open = false;
    this.strict = false;
  }

  private get dialog(): HTMLDialogElement | null {
    return this.renderRoot.querySelector("dialog");
  }

  override updated(): void {
    const dialog = this.dialog;
    if (!dialog) return;
    if (this.open && !dialog.open) {
      dialog.showModal();
      this.querySelector<HTMLElement>("[data-first]")?.focus();
    } else if (!this.open && dialog.open) dialog.close();
  }

  private onCancel(event: Event): void {
    if (this.strict) event.preventDefault();
  }

  private onClose(): void {
    if (!this.open) return;
    this.open = false;
    this.dispatchEvent(new Event("close"));
  }

  override render() {
    return html`<dialog aria-labelledby="heading" @cancel=${this.onCancel} @close=${this.onClose}
      @click=${(event: Event) => { if (event.target === this.dialog && !this.strict) this.dialog?.close(); }}>
      <div class="box">
        <div class="head"><h2 id="heading">${this.heading}</h2>
          <button class="icon quiet" ?hidden=${this.strict} aria-label=${this.words.common.close} title=${this.words.common.close}
            @click=${() => this.dialog?.close()}>${icon("close")}</button></div>
        <slot></slot>
        <div class="actions"><slot name="actions"></slot></div>
      </div>
    </dialog>`;
  }

  static override styles = [
    base,
    css`
      :host { display: contents; }
      dialog {
        width: min(480px, calc(100vw - 32px)); max-height: calc(100dvh - 32px); padding: 0; overflow: auto;
        border: 1px solid var(--line); border-radius: var(--r3); background: var(--raised); color: var(--text); box-shadow: var(--float);
      }
      dialog::backdrop { background: #0B0D1199; }
      .box { display: grid; gap: var(--s4); padding: var(--s5); }
      .head { display: flex; align-items: start; justify-content: space-between; gap: var(--s3); }
      .head button { margin: -10px -10px -10px 0; }
      .actions { display: flex; flex-wrap: wrap; justify-content: flex-end; gap: var(--s2); }
      @media (max-width: 480px) { .actions ::slotted(*) { flex: 1 1 auto; } }
    `,
  ];
}

customElements.define("re-dialog", ReDialog);
