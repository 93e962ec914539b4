// One app for all pages: looks at the address, loads that page's element and draws it.
import { html } from "lit";
import type { TemplateResult } from "lit";
import { ReElement } from "./ui/base.ts";
import { paths, route } from "./ui/route.ts";
import type { Route } from "./ui/route.ts";
import { applyTheme } from "./ui/theme.ts";
import "./ui/elements/dialog.ts";
import "./ui/elements/empty.ts";
import "./ui/elements/header.ts";
import "./ui/elements/notice.ts";
import "./ui/elements/toast.ts";

// Each page is a chunk of its own: `./ui/pages/<name>.ts` defines `<re-page-<name>>`.
const PAGES = import.meta.glob<unknown>("./ui/pages/*.ts");

class ReApp extends ReElement {
  static override properties = { route: { state: true }, missing: { state: true } };
  declare private route: Route;
  declare private missing: boolean;

  constructor() {
    super();
    this.route = route(location.pathname);
    this.missing = false;
  }

  override createRenderRoot(): HTMLElement {
    return this;
  }

  override connectedCallback(): void {
    super.connectedCallback();
    const signal = this.connected;
    addEventListener("popstate", () => this.open(), { signal });
    this.addEventListener("click", (event) => this.onClick(event), { signal });
    this.open();
  }

  private open(): void {
    const before = this.route;
    this.route = route(location.pathname);
    if (before.page !== this.route.page) scrollTo(0, 0);
    this.load(this.route.page).then(
      (there) => (this.missing = !there),
      () => (this.missing = true),
    );
  }

  private async load(page: Route["page"]): Promise<boolean> {
    if (page === "unknown") return false;
    const load = PAGES[`./ui/pages/${page}.ts`];
    if (!load) return false;
    await load();
    return true;
  }

  // Links inside the app do not load the page anew.
  private onClick(event: MouseEvent): void {
    if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    const link = event.composedPath().find((node) => node instanceof HTMLAnchorElement);
    if (!link || link.target !== "" || link.hasAttribute("download") || link.origin !== location.origin) return;
    if (route(link.pathname).page === "unknown" || link.pathname.startsWith("/api/")) return;
    if (link.pathname === location.pathname && link.search === location.search && link.hash !== "") return;
    event.preventDefault();
    history.pushState(null, "", link.href);
    this.open();
  }

  override updated(): void {
    const w = this.words;
    const titles: Record<Route["page"], string> = {
      home: w.common.name,
      room: this.route.page === "room" ? this.route.room : "",
      watch: this.route.page === "watch" ? w.watch.title(this.route.room) : "",
      library: w.library.title,
      replay: w.replay.title,
      clip: w.replay.clip,
      storage: w.storage.title,
      test: w.test.title,
      unknown: w.common.name,
    };
    const title = titles[this.route.page];
    document.title = title === w.common.name ? title : `${title} · ${w.common.name}`;
  }

  private page(): TemplateResult {
    const at = this.route;
    if (this.missing) return this.unknown();
    switch (at.page) {
      case "home": return html`<re-page-home></re-page-home>`;
      case "room": return html`<re-page-room .room=${at.room}></re-page-room>`;
      case "watch": return html`<re-page-watch .room=${at.room}></re-page-watch>`;
      case "library": return html`<re-page-library></re-page-library>`;
      case "replay": return html`<re-page-replay .recording=${at.recording}></re-page-replay>`;
      case "clip": return html`<re-page-clip .recording=${at.recording}></re-page-clip>`;
      case "storage": return html`<re-page-storage></re-page-storage>`;
      case "test": return html`<re-page-test></re-page-test>`;
      case "unknown": return this.unknown();
    }
  }

  private unknown(): TemplateResult {
    const w = this.words.common;
    return html`<re-header></re-header><main>
      <re-empty main .heading=${w.notFoundTitle}>${w.notFoundText}<a slot="action" class="button" href=${paths.home}>${w.toHome}</a></re-empty></main>`;
  }

  override render() {
    return html`${this.page()}<re-toasts></re-toasts>`;
  }
}

applyTheme();
customElements.define("re-app", ReApp);
