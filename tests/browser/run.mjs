// Runs the browser suites in a network namespace of their own, and leaves nothing behind: the namespace
// lives as long as the processes in it. As root or by user namespaces.
//   node run.mjs            all suites
//   node run.mjs replay     only suites whose file name holds "replay"
//   node run.mjs replay --test-name-pattern="in step"     options go to node's test runner
//   REELAY_SOAK_MINUTES=60 node run.mjs soak              an hour of watching while it records; else left out
// Browsers, cameras and networks in real time on a machine that others use too: up to three tests that fail are
// tried once more, alone, and the last lines name those that passed only then. Look into every one of them.
import { spawn } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const soak = Number(process.env.REELAY_SOAK_MINUTES ?? 0);
const here = dirname(fileURLToPath(import.meta.url));
const words = process.argv.slice(2).filter((word) => !word.startsWith("--"));
const options = process.argv.slice(2).filter((word) => word.startsWith("--"));
const files = readdirSync(join(here, "suites"))
  .filter((name) => name.endsWith(".test.mjs") && (words.length === 0 || words.some((word) => name.includes(word))))
  .sort()
  .map((name) => join(here, "suites", name));
if (files.length === 0) {
  console.error(`no suite matches ${words.join(" ")}`);
  process.exit(2);
}

// Firefox never checks a 127.0.0.1 candidate and gathers none without a default route, so the namespace gets a
// second address. The rule for `local` moves down so that tests can put a rule above it that cuts UDP.
const network = `
set -e
ip link set lo up
ip link add v0 type veth peer name v1
ip addr add 10.77.0.1/24 dev v0
ip addr add fd00:77::1/64 dev v0 nodad
ip link set v0 up
ip link set v1 up
ip route add default via 10.77.0.254 dev v0
ip -6 route add default via fd00:77::254 dev v0
for family in -4 -6; do
  ip $family rule add pref 10 lookup local
  ip $family rule del pref 0
done
exec "$@"`;

const isRoot = process.getuid() === 0;
const place = mkdtempSync(join(tmpdir(), "reelay-run-"));
process.on("exit", () => rmSync(place, { recursive: true, force: true }));

/** Runs the files; gives what failed, and the exit code. */
function run(files, options) {
  const list = join(place, "failed");
  const child = spawn(
    "unshare",
    [
      ...(isRoot ? ["-n"] : ["-Urn"]),
      "timeout", "--kill-after=10", String(2100 + 60 * soak),
      "sh", "-c", network, "sh",
      process.execPath, "--test", "--test-concurrency=1", "--test-force-exit",
      "--test-reporter=spec", "--test-reporter-destination=stdout",
      `--test-reporter=${join(here, "harness/failed.mjs")}`, `--test-reporter-destination=${list}`,
      ...options, ...files,
    ],
    { stdio: ["ignore", "inherit", "inherit"], env: { ...process.env, REELAY_TEST_NETWORK: "10.77.0.1" } },
  );
  const signals = ["SIGINT", "SIGTERM"];
  const pass = (signal) => child.kill(signal);
  signals.forEach((signal) => process.on(signal, pass));
  return new Promise((resolve) => {
    child.on("exit", (code, signal) => {
      signals.forEach((name) => process.off(name, pass));
      const failed = readFileSync(list, "utf8").split("\n").filter(Boolean).map((line) => JSON.parse(line));
      resolve({ code: signal ? 1 : code, failed });
    });
  });
}

const first = await run(files, options);
const again = first.failed.filter(({ file }) => files.includes(file));
if (first.code === 0 || soak > 0 || again.length === 0 || again.length > 3 || again.length < first.failed.length) {
  process.exit(first.code);
}
let code = 0;
for (const { name, file } of again) {
  console.log(`\nonce more: ${name}`);
  const exact = name.replace(/[.*+?^${}()|[\]\\/]/g, "\\$&");
  const second = await run([file], [`--test-name-pattern=^${exact}$`]);
  console.log(`${second.code === 0 ? "passed the second time only" : "failed twice"}: ${name}`);
  code ||= second.code;
}
process.exit(code);
