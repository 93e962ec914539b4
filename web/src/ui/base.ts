// What every element stands on: the language, the look of controls, and a way to set styles that a strict
// content security policy allows (style attributes are inline styles, properties of `.style` are not).
import { css, LitElement, nothing } from "lit";
import { AsyncDirective, directive } from "lit/async-directive.js";
import type { ElementPart } from "lit/directive.js";
import { onLanguage, words } from "../words/index.ts";
import type { Words } from "../words/index.ts";

/** Draws in the language of the page; `this.connected` ends when the element leaves the page. */
export class ReElement extends LitElement {
  private life = new AbortController();

  /** Ends with the element's stay in the page: give it to every listener, timer and request. */
  get connected(): AbortSignal {
    return this.life.signal;
  }

  get words(): Words {
    return words();
  }

  override connectedCallback(): void {
    if (this.life.signal.aborted) this.life = new AbortController();
    super.connectedCallback();
    onLanguage(() => this.requestUpdate(), this.connected);
  }

  override disconnectedCallback(): void {
    this.life.abort();
    super.disconnectedCallback();
  }
}

class SetStyles extends AsyncDirective {
  private set = new Map<string, string>();

  render(_styles: Record<string, string>): typeof nothing {
    return nothing;
  }

  override update(part: ElementPart, [styles]: [Record<string, string>]): typeof nothing {
    const style = (part.element as HTMLElement).style;
    for (const name of this.set.keys()) {
      if (!(name in styles)) style.removeProperty(name);
    }
    for (const [name, value] of Object.entries(styles)) {
      if (this.set.get(name) !== value) style.setProperty(name, value);
    }
    this.set = new Map(Object.entries(styles));
    return nothing;
  }
}

/** `<div ${styled({ "--level": "0.3" })}>`: styles by property, never by attribute. */
export const styled = directive(SetStyles);

/** Buttons, fields, links and headings, for every shadow root. */
export const base = css`
  :host { box-sizing: border-box; }
  :host([hidden]), [hidden] { display: none !important; }
  *, *::before, *::after { box-sizing: border-box; }
  h1, h2, h3, p, ul, ol, dl, dd, figure { margin: 0; padding: 0; }
  ul, ol { list-style: none; }
  h1 { font: 600 var(--t5)/1.2 var(--font); }
  h2 { font: 600 var(--t4)/1.3 var(--font); }
  h3 { font: 600 var(--t3)/1.4 var(--font); }
  a { color: var(--link); text-underline-offset: 3px; }
  :focus-visible { outline: 2px solid var(--focus); outline-offset: 2px; }
  .numbers { font-variant-numeric: tabular-nums; }
  .second { color: var(--text-2); font-size: var(--t2); }
  .hint { color: var(--text-3); font-size: var(--t2); }
  .unseen { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }

  button, .button {
    display: inline-flex; align-items: center; justify-content: center; gap: var(--s2);
    min-height: 44px; padding: 0 var(--s4); border: 1px solid var(--edge); border-radius: var(--r2);
    background: var(--surface); color: var(--text); font: 600 var(--t3)/1.2 var(--font);
    text-decoration: none; cursor: pointer;
  }
  /* Only under the pointer: a button that becomes the main one must not fade, its text would be unreadable half-way. */
  button:hover, .button:hover { background: var(--sunken); transition: background var(--fast), border-color var(--fast); }
  button[disabled] { opacity: .55; cursor: not-allowed; }
  .main { background: var(--accent); border-color: var(--accent); color: var(--on-accent); }
  .main:hover { background: var(--accent-hover); border-color: var(--accent-hover); }
  .quiet { border-color: transparent; background: transparent; }
  .quiet:hover { background: var(--sunken); }
  .linklike { min-height: 0; padding: 0; border: 0; background: none; color: var(--link); text-decoration: underline; text-underline-offset: 3px; }
  .linklike:hover { background: none; }
  .icon { width: 44px; padding: 0; }
  .small { min-height: 32px; padding: 0 var(--s3); font-size: var(--t2); }

  label { display: block; font: 600 var(--t2)/1.4 var(--font); }
  input:not([type="checkbox"], [type="radio"], [type="range"]), select, textarea {
    width: 100%; min-height: 44px; padding: var(--s2) var(--s3); border: 1px solid var(--edge); border-radius: var(--r2);
    background: var(--surface); color: var(--text); font: 400 var(--t3)/1.4 var(--font);
  }
  input[type="checkbox"], input[type="radio"] { width: 20px; height: 20px; margin: 0; accent-color: var(--accent); }
  ::placeholder { color: var(--text-3); opacity: 1; }
  @media (forced-colors: active) { button, .button { border: 1px solid ButtonText; } }
`;
