// The head of every page that is not a stage: name, recordings, self-test, language, appearance.
import { css, html, nothing } from "lit";
import { language, setLanguage } from "../../words/index.ts";
import { base, ReElement } from "../base.ts";
import { paths } from "../route.ts";
import { setTheme, theme } from "../theme.ts";
import type { Theme } from "../theme.ts";
import { icon } from "./icon.ts";

const NEXT: Record<Theme, Theme> = { system: "light", light: "dark", dark: "system" };

export class ReHeader extends ReElement {
  static override properties = { here: {} };
  /** The path that is open, to mark it. */
  declare here: string;

  constructor() {
    super();
    this.here = "";
  }

  private turn(): void {
    setTheme(NEXT[theme()]);
    this.requestUpdate();
  }

  private link(path: string, text: string) {
    return html`<a class="nav" href=${path} aria-current=${this.here === path ? "page" : nothing}>${text}</a>`;
  }

  override render() {
    const w = this.words.common;
    const look = `${w.theme}: ${w.themes[theme()]}`;
    const other = language() === "zh" ? "English" : "中文";
    return html`<nav aria-label=${w.name}>
      <a class="brand" href=${paths.home}><svg width="24" height="24" viewBox="0 0 32 32" aria-hidden="true"><rect width="32" height="32" rx="8" fill="#4B46D6"/><circle cx="16" cy="16" r="9" fill="none" stroke="#fff" stroke-width="2.5"/><circle cx="16" cy="16" r="3.5" fill="#fff"/></svg>${w.name}</a>
      ${this.link(paths.library, w.recordings)}
      <span class="gap"></span>
      ${this.link(paths.test, w.selfTest)}
      <button class="quiet small lang" aria-label=${other} lang=${language() === "zh" ? "en" : "zh-Hans"} @click=${() => setLanguage(language() === "zh" ? "en" : "zh")}>
        ${icon("language")}<span class="word">${other}</span></button>
      <button class="quiet icon" aria-label=${look} title=${look} @click=${this.turn}>${icon("theme")}</button>
    </nav>`;
  }

  static override styles = [
    base,
    css`
      :host { display: block; border-bottom: 1px solid var(--line); background: var(--surface); }
      nav { display: flex; flex-wrap: wrap; align-items: center; gap: 0 var(--s1); max-width: 1080px; min-height: 56px; margin: 0 auto; padding: 0 var(--s3); }
      .brand { display: inline-flex; align-items: center; gap: var(--s2); min-height: 44px; margin-right: var(--s2); padding: 0 var(--s1); color: var(--text); font: 600 var(--t3)/1 var(--font); text-decoration: none; }
      .nav { display: inline-flex; align-items: center; min-height: 44px; padding: 0 var(--s2); border-radius: var(--r2); color: var(--text-2); font-size: var(--t2); text-decoration: none; }
      .nav:hover { color: var(--text); text-decoration: underline; }
      .nav[aria-current] { color: var(--text); font-weight: 600; }
      .gap { flex: 1; }
      .lang { min-height: 44px; padding: 0 var(--s2); }
      @media (max-width: 430px) { .lang .word { display: none; } .lang { width: 44px; padding: 0; } nav { gap: 0; padding: 0 var(--s2); } .nav { padding: 0 6px; } .brand { margin-right: 0; } }
      @media (max-width: 360px) { .brand { gap: 0; font-size: 0; } }
    `,
  ];
}

customElements.define("re-header", ReHeader);
