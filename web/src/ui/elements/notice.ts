// `<re-notice kind="info|warn|bad|ok">text <button slot="action">…</button></re-notice>`: trouble in its place, until it is solved.
import { css, html } from "lit";
import { base, ReElement } from "../base.ts";
import { icon } from "./icon.ts";
import type { IconName } from "./icon.ts";

export type NoticeKind = "info" | "warn" | "bad" | "ok";
const ICONS: Record<NoticeKind, IconName> = { info: "info", warn: "warn", bad: "bad", ok: "check" };

export class ReNotice extends ReElement {
  static override properties = { kind: { reflect: true } };
  declare kind: NoticeKind;

  constructor() {
    super();
    this.kind = "info";
  }

  override render() {
    return html`${icon(ICONS[this.kind])}<div class="text"><slot></slot></div><div class="actions"><slot name="action"></slot></div>`;
  }

  static override styles = [
    base,
    css`
      :host {
        display: grid; grid-template-columns: auto minmax(0, 1fr) auto; align-items: center; gap: var(--s2) var(--s3); padding: var(--s3) var(--s4);
        border-radius: var(--r2); background: var(--sunken); color: var(--text); font-size: var(--t2);
      }
      .glyph { flex: none; color: var(--text-2); }
      .text { min-width: 0; overflow-wrap: anywhere; }
      .actions { display: flex; flex-wrap: wrap; gap: var(--s2); }
      @media (max-width: 560px) { .actions { grid-column: 2 / -1; } }
      :host([kind="warn"]) { background: var(--warn-bg); }
      :host([kind="warn"]) .glyph { color: var(--warn); }
      :host([kind="bad"]) { background: var(--bad-bg); }
      :host([kind="bad"]) .glyph { color: var(--bad); }
      :host([kind="ok"]) { background: var(--ok-bg); }
      :host([kind="ok"]) .glyph { color: var(--ok); }
    `,
  ];
}

customElements.define("re-notice", ReNotice);
