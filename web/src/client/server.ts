// Where the server is: where the page came from, or, for elements on a page of somebody else, where their script came from.
let base = "";

/** Everything goes to this origin from now on. */
export function useServer(origin: string): void {
  base = origin;
}

/** True on a page that is not ours. */
export function isEmbedded(): boolean {
  return base !== "";
}

/** A path of the server as an address that works on this page. */
export function serverUrl(path: string): string {
  return base === "" ? path : new URL(path, base).href;
}

/** Scheme and host of the server. */
export function serverPlace(): { protocol: string; host: string } {
  return base === "" ? location : new URL(base);
}
