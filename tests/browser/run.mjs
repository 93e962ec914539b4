// Runs the browser suites in a network namespace of their own, and leaves nothing behind: the namespace
// lives as long as the processes in it. As root or by user namespaces.
//   node run.mjs            all suites
//   node run.mjs replay     only suites whose file name holds "replay"
//   node run.mjs replay --test-name-pattern="in step"     options go to node's test runner
import { spawn } from "node:child_process";
import { readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

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
const child = spawn(
  "unshare",
  [
    ...(isRoot ? ["-n"] : ["-Urn"]),
    "timeout", "--kill-after=10", "1800",
    "sh", "-c", network, "sh",
    process.execPath, "--test", "--test-concurrency=1", "--test-force-exit", "--test-reporter=spec", ...options, ...files,
  ],
  { stdio: ["ignore", "inherit", "inherit"], env: { ...process.env, REELAY_TEST_NETWORK: "10.77.0.1" } },
);
child.on("exit", (code, signal) => process.exit(signal ? 1 : code));
for (const signal of ["SIGINT", "SIGTERM"]) {
  process.on(signal, () => child.kill(signal));
}
