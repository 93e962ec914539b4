// Who can open the link of a room: pure.
import type { Config } from "../../client/api.ts";
import { paths } from "../route.ts";

export type Reach = "this-computer" | "network" | "key";

/** What others open, and who of them can. */
export function invitation(room: string, config: Config | null, here: { origin: string; hostname: string }): { url: string; reach: Reach } {
  const path = paths.room(room);
  const isLocal = isLoopback(here.hostname);
  const lan = config?.lan?.urls[0];
  const origin = isLocal && lan !== undefined ? new URL(lan).origin : here.origin;
  const url = origin + path;
  if (config?.auth === "token") return { url, reach: "key" };
  return { url, reach: isLoopback(new URL(origin).hostname) ? "this-computer" : "network" };
}

function isLoopback(hostname: string): boolean {
  return hostname === "localhost" || hostname.endsWith(".localhost") || hostname === "[::1]" || hostname.startsWith("127.");
}
