// Which page an address means. One app answers for all of them.
export type Route =
  | { page: "home" }
  | { page: "room"; room: string }
  | { page: "watch"; room: string }
  | { page: "library" }
  | { page: "replay"; recording: string }
  | { page: "clip"; recording: string }
  | { page: "storage" }
  | { page: "test" }
  | { page: "unknown" };

export function route(pathname: string): Route {
  const parts = pathname.split("/").filter((part) => part !== "");
  const [first, second] = parts;
  if (parts.length > 2) return { page: "unknown" };
  switch (first) {
    case undefined: return { page: "home" };
    case "r": return withName(second, (room) => ({ page: "room", room }));
    case "watch": return withName(second, (room) => ({ page: "watch", room }));
    case "recordings": return second === undefined ? { page: "library" } : withName(second, (recording) => ({ page: "replay", recording }));
    case "clip": return withName(second, (recording) => ({ page: "clip", recording }));
    case "storage": return second === undefined ? { page: "storage" } : { page: "unknown" };
    case "test": return second === undefined ? { page: "test" } : { page: "unknown" };
    default: return { page: "unknown" };
  }
}

export const paths = {
  home: "/",
  room: (room: string): string => `/r/${encodeURIComponent(room)}`,
  watch: (room: string): string => `/watch/${encodeURIComponent(room)}`,
  library: "/recordings",
  replay: (recording: string): string => `/recordings/${encodeURIComponent(recording)}`,
  storage: "/storage",
  test: "/test",
};

/** Goes to another page of this app without loading anew. */
export function navigate(path: string, how: "push" | "replace" = "push"): void {
  if (how === "push") history.pushState(null, "", path);
  else history.replaceState(null, "", path);
  dispatchEvent(new PopStateEvent("popstate"));
}

function withName(raw: string | undefined, then: (name: string) => Route): Route {
  if (raw === undefined) return { page: "unknown" };
  try {
    return then(decodeURIComponent(raw));
  } catch {
    return { page: "unknown" };
  }
}
