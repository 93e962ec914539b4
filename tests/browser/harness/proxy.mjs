// A TCP line between page and server that a test can cut, make slow, and count requests on: when cut, connections break
// and new ones are refused until mended.
import net from "node:net";

/** More than this of one connection does not lie in the line. */
const IN_FLIGHT = 64 * 1024;
const PIECE = 16 * 1024;

/**
 * Forwards a port of its own to `target` ("host:port"). `rate` (bytes a second, towards the page, all connections
 * together) and `delay` (milliseconds each way) make it a slow one; both can be set anew while it runs. `requests` has the
 * path and the range of each GET.
 */
export async function startLine(target, { rate = Infinity, delay = 0 } = {}) {
  const [host, port] = target.split(":");
  const sockets = new Set();
  const line = { rate, delay, requests: [] };
  let isCut = false;
  let freeAt = 0;

  /** Sends on what comes from `from`, as late as the line is long and as slowly as it is thin. */
  function carry(from, to, isDown) {
    const queue = [];
    let inFlight = 0;
    let timer = null;
    const pump = () => {
      timer = null;
      while (queue.length > 0 && queue[0].due <= performance.now()) {
        const { piece } = queue.shift();
        if (to.destroyed) continue;
        if (piece === null) {
          to.end();
          continue;
        }
        to.write(piece);
        inFlight -= piece.length;
        if (inFlight < IN_FLIGHT) from.resume();
      }
      if (queue.length > 0) timer = setTimeout(pump, queue[0].due - performance.now());
    };
    const put = (piece, due) => {
      queue.push({ piece, due });
      if (timer === null) pump();
    };
    from.on("data", (bytes) => {
      if (!isDown) {
        for (const head of bytes.toString("latin1").split("\r\n\r\n")) {
          const path = /^GET (\S+) HTTP/.exec(head)?.[1];
          if (path) line.requests.push({ path, range: /^range: *(\S+)/im.exec(head)?.[1] ?? null });
        }
      }
      for (let at = 0; at < bytes.length; at += PIECE) {
        const piece = bytes.subarray(at, at + PIECE);
        let due = performance.now();
        if (isDown && Number.isFinite(line.rate)) {
          freeAt = Math.max(due, freeAt) + (piece.length * 1000) / line.rate;
          due = freeAt;
        }
        inFlight += piece.length;
        put(piece, due + line.delay);
      }
      if (inFlight >= IN_FLIGHT) from.pause();
    });
    from.on("end", () => put(null, (queue.at(-1)?.due ?? performance.now()) + line.delay));
  }

  const server = net.createServer((client) => {
    if (isCut) {
      client.destroy();
      return;
    }
    const upstream = net.connect(Number(port), host);
    for (const [from, to] of [[client, upstream], [upstream, client]]) {
      sockets.add(from);
      from.on("close", () => {
        sockets.delete(from);
        setTimeout(() => to.destroy(), from.readableEnded ? 30_000 : 0).unref();
      });
      from.on("error", () => to.destroy());
    }
    client.setNoDelay(true);
    carry(client, upstream, false);
    carry(upstream, client, true);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return Object.assign(line, {
    url: `http://127.0.0.1:${server.address().port}`,
    cut() {
      isCut = true;
      for (const socket of sockets) {
        socket.destroy();
      }
    },
    mend() {
      isCut = false;
    },
    async close() {
      this.cut();
      await new Promise((resolve) => server.close(resolve));
    },
  });
}
