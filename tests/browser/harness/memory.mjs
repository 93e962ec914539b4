// What processes take: of a process with all its children, as Linux counts it.
import { readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";

import { until } from "./wait.mjs";

const read = (path) => {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
};

/** Fields of /proc/…/stat after the name: state, parent, … */
const stat = (pid) => read(`/proc/${pid}/stat`).split(") ").at(-1).split(" ");

/** The processes below `pid`. */
export function below(pid) {
  const all = readdirSync("/proc").filter((name) => /^\d+$/.test(name)).map((name) => [Number(name), Number(stat(name)[1])]);
  const found = [pid];
  for (const one of found) found.push(...all.filter(([, parent]) => parent === one).map(([child]) => child));
  return found.slice(1);
}

/** Of these processes together: `mb` by their share of each page of memory, `most` of one of them, and seconds of CPU since they began. */
export function usage(pids) {
  const mb = pids.map((pid) => Math.round(Number(/^Pss:\s+(\d+)/m.exec(read(`/proc/${pid}/smaps_rollup`))?.[1] ?? 0) / 1024));
  const ticks = pids.map((pid) => Number(stat(pid)[11] ?? 0) + Number(stat(pid)[12] ?? 0));
  const sum = (list) => list.reduce((sum, one) => sum + one, 0);
  return { mb: sum(mb), most: mb.toSorted((a, b) => b - a).slice(0, 3), cpu: sum(ticks) / 100 };
}

/**
 * What Firefox's content processes have allocated, in MB, after it threw away what nobody needs: it writes a report when signal
 * SIGRTMIN + 1 comes.
 */
export async function firefoxHeld(pid) {
  process.kill(pid, 35);
  const report = await until("Firefox reports its memory", () => {
    const name = readdirSync(tmpdir()).find((name) => name.startsWith("unified-memory-report-") && name.endsWith(`-${pid}.json.gz`));
    return name && join(tmpdir(), name);
  });
  const { reports } = JSON.parse(gunzipSync(readFileSync(report)));
  rmSync(report);
  const bytes = reports.filter(({ process, path }) => process.startsWith("web") && path === "heap-allocated").reduce((sum, { amount }) => sum + amount, 0);
  return Math.round(bytes / 1e4) / 100;
}
