// WebVTT as far as captions of a call need it: times, who speaks, and the words. Everything else is plain text. Pure.

export interface Cue {
  /** Milliseconds since the recording began. */
  from: number;
  to: number;
  /** From `<v Name>`; empty when it does not say. */
  who: string;
  text: string;
}

const TIME = /^(?:(\d+):)?(\d{1,2}):(\d{2})\.(\d{3})$/;
/** Marks that WebVTT knows; what looks like a mark and is none stays to be read. */
const MARKS = /<\/?(?:v|c|b|i|u|ruby|rt|lang)(?:[.\s][^>]*)?>|<\d[\d:.]*>/g;
const MOST = 50_000;

/** The cues in order of time; what cannot be read is left out. */
export function parseCaptions(text: string): Cue[] {
  const cues: Cue[] = [];
  for (const block of text.replaceAll(/\r\n?/g, "\n").split(/\n{2,}/)) {
    const lines = block.split("\n");
    const at = lines.findIndex((line) => line.includes("-->"));
    const [first, rest] = (lines[at] ?? "").split("-->");
    const [from, to] = [timeOf(first), timeOf(rest?.trim().split(/\s/)[0])];
    const body = lines.slice(at + 1).join("\n");
    if (from === null || to === null || to <= from || body.trim() === "" || cues.length >= MOST) continue;
    const who = /<v(?:\.[^\s>]*)?\s+([^>]*)>/.exec(body)?.[1] ?? "";
    cues.push({ from, to, who: plain(who).trim(), text: plain(body.replaceAll(MARKS, "")).trim() });
  }
  return cues.toSorted((a, b) => a.from - b.from);
}

/** What is said at `at`, the latest last. */
export function captionsAt(cues: readonly Cue[], at: number, most = 3): Cue[] {
  return cues.filter((cue) => cue.from <= at && at < cue.to).slice(-most);
}

function timeOf(raw: string | undefined): number | null {
  const found = TIME.exec(raw?.trim() ?? "");
  if (!found) return null;
  const [h, m, s, ms] = found.slice(1).map((part) => Number(part ?? 0)) as [number, number, number, number];
  return ((h * 60 + m) * 60 + s) * 1000 + ms;
}

function plain(text: string): string {
  return text.replaceAll("&lt;", "<").replaceAll("&gt;", ">").replaceAll("&nbsp;", " ").replaceAll(/&[lr]rm;/g, "").replaceAll("&amp;", "&");
}
