// `<re-menu><button slot="trigger">…</button> …items… </re-menu>`: a button that shows a small panel of things to do.
// Esc and a click elsewhere close it, arrows move inside it; on a narrow page it is a sheet.
import { css, html } from "lit";
import { base, ReElement } from "../base.ts";

export class ReMenu extends ReElement {
  static override properties = {
    open: { type: Boolean, reflect: true },
    /** Where the panel opens: `up` or `down`. */
    side: { reflect: true },
    /** Which edge it shares with the trigger: `start`, `center` or `end`. */
    align: { reflect: true },
    label: {},
  };
  declare open: boolean;
  declare side: "up" | "down";
  declare align: "start" | "center" | "end";
  declare label: string;

  constructor() {
    super();
    this.open = false;
    this.side = "up";
    this.align = "center";
    this.label = "";
  }

  override connectedCallback(): void {
    super.connectedCallback();
    const signal = this.connected;
    addEventListener("resize", () => this.show(false), { signal });
    addEventListener("pointerdown", (event) => { if (this.open && !event.composedPath().includes(this)) this.show(false); }, { signal });
    this.addEventListener("keydown", (event) => this.onKey(event), { signal });
    this.addEventListener("focusout", (event) => this.onFocusOut(event), { signal });
  }

  /** Opens or closes; closing by key gives the focus back. */
  show(open: boolean): void {
    if (this.open === open) return;
    this.open = open;
    this.panel?.togglePopover(open);
    if (open) this.place();
    this.dispatchEvent(new CustomEvent("re-menu", { detail: open, bubbles: true, composed: true }));
    if (open) this.items()[0]?.focus({ preventScroll: true });
  }

  private get panel(): HTMLElement | null {
    return this.renderRoot.querySelector<HTMLElement>(".panel");
  }

  // The panel is in the top layer, so it is placed in the window; on a narrow one the style sheet makes it a sheet.
  private place(): void {
    const { panel, trigger } = this;
    if (!panel || !trigger) return;
    const from = trigger.getBoundingClientRect();
    const { offsetWidth: width, offsetHeight: height } = panel;
    const wished = { start: from.left, center: (from.left + from.right - width) / 2, end: from.right - width }[this.align];
    const left = Math.max(EDGE, Math.min(wished, innerWidth - width - EDGE));
    const [above, below] = [from.top - GAP - height, from.bottom + GAP];
    const isUp = this.side === "up" ? above >= EDGE : below + height > innerHeight - EDGE && above >= EDGE;
    const top = Math.max(EDGE, Math.min(isUp ? above : below, innerHeight - height - EDGE));
    panel.style.setProperty("--left", `${left}px`);
    panel.style.setProperty("--top", `${top}px`);
  }

  private get trigger(): HTMLElement | undefined {
    return this.querySelector<HTMLElement>(":scope > [slot='trigger']") ?? undefined;
  }

  private items(): HTMLElement[] {
    return [...this.querySelectorAll<HTMLElement>(":scope > :not([slot='trigger'])")].flatMap((one) =>
      [...(one.matches(FOCUSABLE) ? [one] : []), ...one.querySelectorAll<HTMLElement>(FOCUSABLE)],
    );
  }

  private onKey(event: KeyboardEvent): void {
    if (!this.open || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Escape") {
      event.stopPropagation();
      event.preventDefault();
      this.show(false);
      this.trigger?.focus();
      return;
    }
    const step = event.key === "ArrowDown" ? 1 : event.key === "ArrowUp" ? -1 : 0;
    const root = this.getRootNode() as ShadowRoot | Document;
    const items = this.items();
    const at = items.indexOf(root.activeElement as HTMLElement);
    if (step === 0 || items.length === 0 || root.activeElement instanceof HTMLSelectElement) return;
    event.preventDefault();
    items.at((at + step) % items.length)?.focus();
  }

  private onFocusOut(event: FocusEvent): void {
    const next = event.relatedTarget;
    if (this.open && next instanceof Node && !this.contains(next)) this.show(false);
  }

  // An item that does something closes the menu; one marked `data-stay` does not.
  private onPick(event: Event): void {
    const picked = event.composedPath().find((node) => node instanceof HTMLElement && node.matches("button, a"));
    if (!(picked instanceof HTMLElement) || "stay" in picked.dataset) return;
    this.show(false);
    if (picked instanceof HTMLButtonElement) this.trigger?.focus();
  }

  override updated(): void {
    this.trigger?.setAttribute("aria-expanded", String(this.open));
  }

  override render() {
    return html`<slot name="trigger" @click=${() => this.show(!this.open)}></slot>
      <div class="panel" popover="manual" role="group" aria-label=${this.label} @click=${this.onPick}><slot></slot></div>`;
  }

  static override styles = [
    base,
    css`
      :host { position: relative; display: inline-flex; }
      .panel {
        inset: var(--top, 0) auto auto var(--left, 0); width: max-content; min-width: 220px; max-width: min(340px, 90vw); max-height: min(70dvh, 560px);
        margin: 0; padding: var(--s2); overflow: auto; border: 1px solid var(--line); border-radius: var(--r3);
        background: var(--raised); color: var(--text); font: 400 var(--t3)/1.5 var(--font); text-align: start; box-shadow: var(--float);
      }
      .panel:popover-open { display: grid; gap: 2px; }
      .panel::backdrop { background: none; pointer-events: none; }
      @media (max-width: 719px) {
        .panel {
          inset: auto 0 0 0; width: auto; max-width: none; max-height: 75dvh; border-radius: var(--r3) var(--r3) 0 0;
          padding: var(--s3) var(--s3) calc(var(--s4) + env(safe-area-inset-bottom));
        }
      }
    `,
  ];
}

/** The look of what stands in a menu, for the shadow root that fills it. */
export const menuItems = css`
  .item {
    display: flex; align-items: center; justify-content: start; gap: var(--s3); width: 100%; min-height: 44px; padding: var(--s2) var(--s3);
    border: 0; border-radius: var(--r2); background: none; color: var(--text); font: 400 var(--t2)/1.4 var(--font); text-align: start; text-decoration: none;
  }
  .item:hover { background: var(--sunken); }
  .item .glyph { flex: none; color: var(--text-2); }
  .item .end { margin-left: auto; padding-left: var(--s3); color: var(--text-3); }
  .item[aria-pressed="true"] { background: var(--accent-bg); }
  .item.danger, .item.danger .glyph { color: var(--bad); }
  .group { padding: var(--s2) var(--s3) 0; color: var(--text-2); font: 600 var(--t1)/1.6 var(--font); }
  .rule { height: 1px; margin: var(--s1) 0; background: var(--line); }
`;

const GAP = 8;
const EDGE = 8;
const FOCUSABLE = "button:not([disabled]), a[href], input, select";

customElements.define("re-menu", ReMenu);
