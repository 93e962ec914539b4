// `<re-verdict>`: one sentence on whether the recording is whole, and every missing spot as a list.
import { css, html, nothing } from "lit";
import type { TemplateResult } from "lit";
import { lengthOf, spots, verdict } from "../../client/replay/model.ts";
import type { Manifest, Spot, Verdict } from "../../client/replay/model.ts";
import { duration, number } from "../../words/format.ts";
import { base, ReElement } from "../base.ts";
import { icon } from "../elements/icon.ts";

export class ReVerdict extends ReElement {
  static override properties = { manifest: { attribute: false }, isList: { state: true } };
  declare manifest: Manifest | null;
  declare private isList: boolean;

  constructor() {
    super();
    this.manifest = null;
    this.isList = false;
  }

  override render() {
    if (!this.manifest) return nothing;
    const w = this.words.replay;
    const found = verdict(this.manifest);
    const told = this.manifest.files.flatMap(spots).filter((spot) => spot.what !== "off" || spot.kind === "video").toSorted((a, b) => a.from - b.from);
    const isGood = found.kind === "whole" || (found.kind === "growing" && found.holes === 0);
    return html`<div class="line" data-kind=${found.kind}>
        ${icon(isGood ? "check" : found.kind === "failed" ? "bad" : "warn")}<p>${sentence(found, this.manifest, this.words)}</p>
        ${told.length > 0 ? html`<button class="linklike" aria-expanded=${this.isList} @click=${() => (this.isList = !this.isList)}>${this.isList ? w.asStrip : w.asList}</button>` : nothing}
      </div>
      ${this.isList && told.length > 0 ? this.table(told) : nothing}`;
  }

  private table(told: Spot[]): TemplateResult {
    const w = this.words.replay;
    return html`<table><caption class="unseen">${w.health}</caption>
      <thead><tr><th scope="col">${w.listFrom}</th><th scope="col">${w.listWho}</th><th scope="col">${w.listWhat}</th><th scope="col">${w.listLasts}</th></tr></thead>
      <tbody>${told.map((spot) => html`<tr>
        <td><button class="linklike numbers" aria-label=${w.jumpTo(duration(spot.from))} @click=${() => this.dispatchEvent(new CustomEvent("re-seek", { detail: Math.max(0, spot.from - 1_000) }))}>${duration(spot.from)}</button></td>
        <td>${spot.name}</td><td>${w.spot[spot.what]}<span class="hint"> ${w.causes[spot.cause] ?? ""}</span></td>
        <td class="numbers">${spot.to > spot.from ? `${number((spot.to - spot.from) / 1000)} s` : ""}</td></tr>`)}</tbody></table>`;
  }

  static override styles = [
    base,
    css`
      :host { display: grid; gap: var(--s2); }
      .line { display: grid; grid-template-columns: auto 1fr auto; align-items: start; gap: var(--s1) var(--s2); font-size: var(--t2); }
      .line p { min-width: 0; overflow-wrap: anywhere; }
      .line .glyph { flex: none; color: var(--warn); }
      [data-kind="whole"] .glyph { color: var(--ok); }
      [data-kind="growing"] .glyph { color: var(--text-2); }
      [data-kind="failed"] .glyph { color: var(--bad); }
      .line .linklike { min-height: 24px; font-size: var(--t2); font-weight: 400; }
      table { width: 100%; border-collapse: collapse; font-size: var(--t2); text-align: left; }
      th { color: var(--text-2); font-weight: 600; }
      th, td { padding: 6px var(--s3) 6px 0; border-bottom: 1px solid var(--line); vertical-align: baseline; overflow-wrap: anywhere; }
      td button { min-height: 28px; font-size: var(--t2); font-weight: 400; }
    `,
  ];
}

/** What the strip means, in words. */
export function sentence(found: Verdict, manifest: Manifest, words: ReElement["words"]): string {
  const w = words.replay.verdict;
  const seconds = `${number(found.missing_ms / 1000)} s`;
  const [name] = found.names;
  const where = found.names.length === 1 && name !== undefined ? w.whose(name, found.kinds) : w.several(found.names.length);
  const gaps = w.gaps(found.holes, seconds, where);
  switch (found.kind) {
    case "whole": return w.whole;
    case "growing": return found.holes === 0 ? w.growing : gaps;
    case "gaps": return gaps;
    case "repaired": return found.holes === 0 ? w.repaired(duration(lengthOf(manifest))) : `${w.repaired(duration(lengthOf(manifest)))} ${gaps}`;
    case "early": return w.early(duration(lengthOf(manifest)), w.reasons[manifest.reason ?? ""] ?? "");
    case "failed": return w.failed;
    default: return found.kind satisfies never;
  }
}

customElements.define("re-verdict", ReVerdict);
