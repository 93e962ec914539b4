// `/embed.js`: `<reelay-player recording="…">` and `<reelay-watch room="…">` for pages of others. They talk to the server
// that this script came from. See docs/embed.md.
import tokens from "./ui/tokens.css?inline";
import { useToken } from "./client/access.ts";
import { useServer } from "./client/server.ts";

const ELEMENTS = "reelay-player, reelay-watch";

useServer(new URL(import.meta.url).origin);
useToken(document.querySelector("reelay-player[token], reelay-watch[token]")?.getAttribute("token") ?? null);

const look = new CSSStyleSheet();
look.replaceSync(`${tokens.replaceAll(":root", `:is(${ELEMENTS})`)} :is(${ELEMENTS}) { display: block; color: var(--text); font: 400 1rem/1.5 var(--font); text-align: start; }`);
document.adoptedStyleSheets = [...document.adoptedStyleSheets, look];

// Only now, so that the elements come to life with all of that in place.
void import("./ui/player/player.ts");
void import("./ui/pages/embedded-watch.ts");
