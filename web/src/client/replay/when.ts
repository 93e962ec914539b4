// Moments in addresses: `?t=83`, `?t=1m23s`, `?t=1:23`, and spans `?t=83,120`.

/** Milliseconds of one moment, or null when it is none. */
export function parseMoment(raw: string): number | null {
  const text = raw.trim();
  if (text === "") return null;
  const colons = /^(?:(\d+):)?(\d+):(\d+(?:\.\d+)?)$/.exec(text);
  if (colons) return ((Number(colons[1] ?? 0) * 60 + Number(colons[2])) * 60 + Number(colons[3])) * 1000;
  const units = /^(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s?)?$/.exec(text);
  if (!units) return null;
  return ((Number(units[1] ?? 0) * 60 + Number(units[2] ?? 0)) * 60 + Number(units[3] ?? 0)) * 1000;
}

/** Start and end of `?t=`; an end that is not after the start is none. */
export function parseSpan(raw: string | null): { from: number; to: number | null } | null {
  if (raw === null) return null;
  const [first, second] = raw.split(",", 2);
  const from = parseMoment(first ?? "");
  if (from === null) return null;
  const to = second === undefined ? null : parseMoment(second);
  return { from, to: to !== null && to > from ? to : null };
}

/** `83` or `83,120`: whole seconds unless a fraction matters. */
export function formatSpan(from: number, to: number | null = null): string {
  const seconds = (ms: number): string => String(Math.round(ms / 100) / 10);
  return to === null ? seconds(from) : `${seconds(from)},${seconds(to)}`;
}
