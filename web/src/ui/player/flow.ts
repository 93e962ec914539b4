// How a file was over time: how much picture and sound came in each step, how smoothly, and what the recorder put in.
import { html, nothing, svg } from "lit";
import type { TemplateResult } from "lit";
import type { FileReport } from "../../client/replay/model.ts";
import { duration, number } from "../../words/format.ts";
import { words } from "../../words/index.ts";

/** The figures of a flow: the peak in bits a second, pictures a second in a usual step, and the sizes. */
export function figures(report: FileReport): { peak_bps: number; fps: number; sizes: { t_ms: number; width: number; height: number }[] } {
  const seconds = report.step_ms / 1000;
  const peak = Math.max(0, ...report.steps.map((step) => step.v + step.a));
  const rates = report.steps.map((step) => step.f / seconds).filter((rate) => rate > 0).toSorted((a, b) => a - b);
  const sizes = (report.sizes ?? []).map(([t_ms, width, height]) => ({ t_ms, width, height }));
  return { peak_bps: (peak * 8) / seconds, fps: rates[Math.floor(rates.length / 2)] ?? 0, sizes };
}

/** Bars of bit rate over a row of what was put in. */
export function flow(report: FileReport | null | undefined): TemplateResult | typeof nothing {
  if (!report || report.steps.length < 2) return nothing;
  const w = words().replay.reportOf;
  const { peak_bps, fps, sizes } = figures(report);
  const peak = (peak_bps * report.step_ms) / 8000;
  const shown = sizes.slice(0, MOST_SIZES).map(({ t_ms, width, height }, i) => (i === 0 ? `${width}×${height}` : w.from(`${width}×${height}`, duration(t_ms))));
  const parts = [w.peak(rate(peak_bps)), fps > 0 ? w.pictures(number(fps, 0)) : "", ...shown, sizes.length > MOST_SIZES ? "…" : ""];
  const text = parts.filter((part) => part !== "").join(", ");
  const n = report.steps.length;
  const bars = report.steps.map((step, i) => `M${i} ${TALL}V${(TALL * (1 - (peak > 0 ? (step.v + step.a) / peak : 0))).toFixed(2)}h1V${TALL}z`).join("");
  const put = report.steps.map((step, i) => ((step.s ?? 0) + (step.b ?? 0) > 0 ? `M${i} ${TALL + 2}h1v${ROW}h-1z` : "")).join("");
  return html`<figure class="flow"><svg viewBox="0 0 ${n} ${TALL + 2 + ROW}" preserveAspectRatio="none" role="img" aria-label=${text}>
      ${svg`<path class="bars" d=${bars}></path><path class="put" d=${put}></path>`}</svg>
    <figcaption class="hint numbers">${text}${put === "" ? nothing : html` <span class="key" aria-hidden="true"></span> ${w.putIn}`}</figcaption></figure>`;
}

function rate(bps: number): string {
  return bps >= 1e6 ? `${number(bps / 1e6)} Mbit/s` : `${number(bps / 1e3, 0)} kbit/s`;
}

const TALL = 30;
const ROW = 4;
const MOST_SIZES = 4;
