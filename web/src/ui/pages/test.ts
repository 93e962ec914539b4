// `/test`: one button, about twenty seconds, then one sentence and the details.
import { css, html, nothing } from "lit";
import type { TemplateResult } from "lit";
import { SelfTest, STEPS } from "../../client/selftest.ts";
import type { Step, Why } from "../../client/selftest.ts";
import { announce } from "../announce.ts";
import { base, ReElement } from "../base.ts";
import { icon } from "../elements/icon.ts";
import type { IconName } from "../elements/icon.ts";
import { toast } from "../elements/toast.ts";
import { paths } from "../route.ts";

const MARKS: Record<Step["state"], IconName> = { waiting: "more", running: "more", passed: "check", failed: "bad", skipped: "right" };
/** Without these a call cannot be. */
const NEEDED: ReadonlySet<string> = new Set(["browser", "socket", "udp"]);

class RePageTest extends ReElement {
  static override properties = { steps: { state: true }, running: { state: true }, outcome: { state: true } };
  declare private steps: Step[];
  declare private running: AbortController | null;
  declare private outcome: "good" | "partly" | "bad" | "stopped" | null;
  private began = 0;

  constructor() {
    super();
    this.steps = STEPS.map((name) => ({ name, state: "waiting", why: null }));
    this.running = null;
    this.outcome = null;
  }

  override disconnectedCallback(): void {
    this.running?.abort();
    super.disconnectedCallback();
  }

  private async start(): Promise<void> {
    const life = new AbortController();
    this.running = life;
    this.outcome = null;
    this.began = performance.now();
    const test: SelfTest = new SelfTest(() => (this.steps = test.steps.map((step) => ({ ...step }))), life.signal);
    try {
      await test.run();
      const failed = this.steps.filter((step) => step.state === "failed");
      this.outcome = failed.length === 0 ? "good" : failed.some((step) => NEEDED.has(step.name)) ? "bad" : "partly";
    } catch {
      this.outcome = "stopped";
    }
    this.running = null;
    announce(this.sentence());
    await this.updateComplete;
    this.renderRoot.querySelector<HTMLElement>("#outcome")?.focus();
  }

  private sentence(): string {
    const w = this.words.test;
    switch (this.outcome) {
      case null: return "";
      case "good": return w.good;
      case "partly": return w.partly(this.steps.filter((step) => step.state === "failed").length);
      case "bad": return w.bad;
      case "stopped": return w.stopped;
    }
  }

  private because(why: Why | null): string {
    const { says } = this.words.test;
    if (why === null) return "";
    switch (why.says) {
      case "refused": return says.refused(why.text);
      case "device": return says.device(why.text);
      case "recorded": return says.recorded(why.ms);
      case "media": return says.media(why.ms, why.kind);
      default: return says[why.says];
    }
  }

  private report(): string {
    const w = this.words.test;
    const lines = this.steps.map((step) => `${w.steps[step.name]}: ${w.states[step.state]}${step.why ? ` (${this.because(step.why)})` : ""}`);
    return [this.sentence(), ...lines, navigator.userAgent, location.origin].join("\n");
  }

  private async copy(): Promise<void> {
    try {
      await navigator.clipboard.writeText(this.report());
      toast({ text: this.words.test.copied });
    } catch {
      this.renderRoot.querySelector("details")?.setAttribute("open", "");
    }
  }

  override render() {
    const w = this.words.test;
    return html`<re-header here=${paths.test}></re-header><main>
      <h1>${w.title}</h1>
      <p class="second">${this.running ? w.running : w.lead}</p>
      ${this.outcome ? html`<re-notice id="outcome" tabindex="-1" kind=${this.outcome === "good" ? "ok" : this.outcome === "bad" ? "bad" : "warn"}>${this.sentence()}</re-notice>` : nothing}
      <div class="actions">
        ${this.running
          ? html`<button @click=${() => this.running?.abort()}>${w.stop}</button>`
          : html`<button class="main" @click=${this.start}>${this.outcome ? w.again : w.start}</button>`}
        ${this.outcome ? html`<button @click=${this.copy}>${icon("copy")}${w.copy}</button>` : nothing}
      </div>
      ${this.began > 0 ? html`<ol>${this.steps.map((step) => this.step(step))}</ol>` : nothing}
      ${this.outcome ? html`<details><summary>${w.report}</summary><pre tabindex="0">${this.report()}</pre></details>` : nothing}
    </main>`;
  }

  private step(step: Step): TemplateResult {
    const w = this.words.test;
    return html`<li data-state=${step.state}>${icon(MARKS[step.state])}
      <div class="what"><b>${w.steps[step.name]}</b>${step.why ? html`<span class="second">${this.because(step.why)}</span>` : nothing}</div>
      <span class="state">${w.states[step.state]}</span></li>`;
  }

  static override styles = [
    base,
    css`
      :host { display: block; }
      main { display: grid; gap: var(--s4); max-width: 640px; margin: 0 auto; padding: var(--s5) var(--s4) var(--s7); }
      .actions { display: flex; flex-wrap: wrap; gap: var(--s2); }
      ol { border: 1px solid var(--line); border-radius: var(--r3); background: var(--surface); }
      li { display: grid; grid-template-columns: auto 1fr auto; align-items: center; gap: var(--s3); min-height: 56px; padding: var(--s2) var(--s4); }
      li + li { border-top: 1px solid var(--line); }
      .what { display: grid; min-width: 0; overflow-wrap: anywhere; }
      .state { font-size: var(--t2); color: var(--text-2); }
      li .glyph { color: var(--text-3); }
      [data-state="passed"] .glyph { color: var(--ok); }
      [data-state="failed"] .glyph, [data-state="failed"] .state { color: var(--bad); }
      [data-state="running"] .state { color: var(--text); font-weight: 600; }
      summary { min-height: 44px; padding: 10px 0; cursor: pointer; font-weight: 600; }
      pre { margin: 0; padding: var(--s3); overflow: auto; border-radius: var(--r2); background: var(--sunken); font: 400 var(--t1)/1.6 var(--mono); white-space: pre-wrap; overflow-wrap: anywhere; }
    `,
  ];
}

customElements.define("re-page-test", RePageTest);
