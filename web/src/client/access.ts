// The access token of this tab: it comes in the link's fragment, which no server and no log ever sees.
const STORED = "reelay.token";

/** The token, taken out of the address when the page was opened with one (`…#token=…`). */
export function accessToken(): string | null {
  if (given !== undefined) return given;
  const fragment = new URLSearchParams(location.hash.slice(1));
  const fresh = fragment.get("token");
  if (fresh !== null) {
    write(fresh);
    // Out of the address: what is copied from there must not carry a key.
    history.replaceState(history.state, "", location.pathname + location.search);
    return fresh;
  }
  return read();
}

/** The name that the token gives its owner. Only the server can tell whether a token is good. */
export function nameInToken(token: string | null): string {
  const { name } = claimsOf(token);
  return typeof name === "string" ? name : "";
}

/** False when the token says that its owner only listens: then no device is worth asking for. */
export function mayPublish(token: string | null): boolean {
  const { grants } = claimsOf(token);
  if (typeof grants !== "object" || grants === null) return true;
  const { publish, admin } = grants as { publish?: unknown; admin?: unknown };
  return publish === true || admin === true;
}

function claimsOf(token: string | null): { name?: unknown; grants?: unknown } {
  try {
    const body = (token ?? "").split(".")[1] ?? "";
    const bytes = Uint8Array.from(atob(body.replaceAll("-", "+").replaceAll("_", "/")), (letter) => letter.charCodeAt(0));
    return (JSON.parse(new TextDecoder().decode(bytes)) ?? {}) as { name?: unknown; grants?: unknown };
  } catch {
    return {};
  }
}

/** An address for a new tab, which would otherwise come without the key of this one. */
export function withAccess(path: string): string {
  const token = accessToken();
  return token === null ? path : `${path}#${new URLSearchParams({ token })}`;
}

/** Forgets a token that the server refused. */
export function forgetToken(): void {
  try {
    sessionStorage.removeItem(STORED);
  } catch {
    // Nothing was stored then.
  }
}

/** Takes this token and looks for no other: a page of somebody else keeps its address and its storage to itself. */
export function useToken(token: string | null): void {
  given = token;
}

let given: string | null | undefined;
let inMemory: string | null = null;

function read(): string | null {
  try {
    return sessionStorage.getItem(STORED) ?? inMemory;
  } catch {
    return inMemory;
  }
}

function write(token: string): void {
  inMemory = token;
  try {
    sessionStorage.setItem(STORED, token);
  } catch {
    // A browser without storage keeps it until the next reload.
  }
}
