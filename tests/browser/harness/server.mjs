// The debug build of the server on ports of its own choice, with a folder that is thrown away.
import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

import { until } from "./wait.mjs";

export const root = join(dirname(fileURLToPath(import.meta.url)), "../../..");
export const binary = process.env.REELAY_BINARY ?? join(root, "target/debug/reelay");
// From the folder, so that a changed page needs no new build of the server.
const pages = join(root, "web/dist");
const alive = new Set();
process.on("exit", () => {
  for (const child of alive) {
    child.kill("SIGKILL");
  }
});

/** A folder for one test; `remove` it afterwards. */
export function temporary(name) {
  const path = mkdtempSync(join(tmpdir(), `reelay-${name}-`));
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) };
}

/**
 * Starts `reelay serve`. `listen` may name the port of an earlier run, so that pages find it again.
 * Gives the ready file's fields, `url`, and `stop`, `kill`, `log`.
 */
export async function startServer({ recordings, listen = "127.0.0.1:0", udpPort = 0, args = [], env = {} } = {}) {
  const place = temporary("server");
  const ready = join(place.path, "ready.json");
  const folder = recordings ?? join(place.path, "recordings");
  const child = spawn(
    binary,
    ["serve", "--listen", listen, "--udp-port", String(udpPort), "--recordings", folder, "--ready-file", ready, ...args],
    { cwd: place.path, env: { PATH: process.env.PATH, HOME: place.path, REELAY_HTTP__WEB_DIR: pages, ...env }, stdio: ["ignore", "pipe", "pipe"] },
  );
  alive.add(child);
  let log = "";
  child.stdout.on("data", (text) => (log += text));
  child.stderr.on("data", (text) => (log += text));
  const gone = new Promise((resolve) => {
    child.on("error", (error) => {
      log += `cannot start ${binary}: ${error.message}`;
      resolve(-1);
    });
    child.on("exit", (code, signal) => {
      alive.delete(child);
      resolve(code ?? signal);
    });
  });
  let ended = null;
  gone.then((code) => (ended = code));

  const fields = await until(
    "the server is ready",
    () => {
      if (ended !== null) {
        return { failed: ended };
      }
      return existsSync(ready) && JSON.parse(readFileSync(ready, "utf8"));
    },
    20_000,
  );
  if ("failed" in fields) {
    throw new Error(`the server ended with ${fields.failed}:\n${log}`);
  }
  return {
    fields,
    folder,
    pid: child.pid,
    url: fields.url,
    listen: fields.listen,
    udpPort: fields.udp_ports?.[0],
    log: () => log,
    /** Ctrl+C: recordings are closed first. Gives the exit code. */
    async stop() {
      child.kill("SIGTERM");
      const code = await until("the server stops", () => (ended === null ? null : { ended }), 20_000).catch((error) => {
        child.kill("SIGKILL");
        throw new Error(`${error.message}\n${log}`);
      });
      place.remove();
      return code.ended;
    },
    /** As a power cut does it. */
    async kill() {
      child.kill("SIGKILL");
      await gone;
    },
  };
}

/** Runs the binary's other commands, such as `reindex`. */
export function reelay(args, options = {}) {
  return spawnSync(binary, args, { encoding: "utf8", timeout: 30_000, ...options });
}

/**
 * Drops UDP in this namespace by a rule in the words of nft, such as "udp dport 5 numgen random mod 100 < 5".
 * Gives how to end that; it says how many packets were dropped.
 */
export function drop(rule) {
  const table = `reelay_${rule.replace(/[^a-z0-9]+/gi, "_")}`;
  const nft = (...args) => {
    const { status, stdout, stderr } = spawnSync("nft", args, { encoding: "utf8" });
    if (status !== 0) {
      throw new Error(`nft ${args.join(" ")}: ${stderr}`);
    }
    return stdout;
  };
  nft(`add table inet ${table}; add chain inet ${table} input { type filter hook input priority 0; }; add rule inet ${table} input ${rule} counter drop`);
  return () => {
    const dropped = Number(/packets (\d+)/.exec(nft("list", "table", "inet", table))?.[1]);
    nft("delete", "table", "inet", table);
    return dropped;
  };
}

/** Cuts or mends everything that goes to a UDP port of this namespace. */
export function udp(port, mode) {
  const verb = mode === "cut" ? "add" : "del";
  for (const family of ["-4", "-6"]) {
    const result = spawnSync("ip", [family, "rule", verb, "pref", "5", "ipproto", "udp", "dport", String(port), "blackhole"], {
      encoding: "utf8",
    });
    if (result.status !== 0) {
      throw new Error(`ip ${family} rule ${verb}: ${result.stderr}`);
    }
  }
}
