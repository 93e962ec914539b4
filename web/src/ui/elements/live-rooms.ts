// The rooms that run now, as a list with a way in.
import { html, nothing } from "lit";
import type { TemplateResult } from "lit";
import type { LiveRoom } from "../../client/api.ts";
import { duration, list } from "../../words/format.ts";
import type { Words } from "../../words/index.ts";
import { paths } from "../route.ts";
import { icon } from "./icon.ts";

/** Nothing when no room runs. */
export function liveRooms(rooms: readonly LiveRoom[], words: Words): TemplateResult | typeof nothing {
  if (rooms.length === 0) return nothing;
  const w = words.library;
  return html`<section class="live" aria-labelledby="live"><h2 id="live">${w.live}</h2><ul>
    ${rooms.map((room) => html`<li>
      <div class="what"><b>${room.room}</b>
        <span class="second">${room.participants.length > 0 ? list(room.participants.map((one) => one.name)) : w.nobodyYet}${room.watchers > 0 ? ` · ${words.home.watching(room.watchers)}` : ""}</span></div>
      ${room.recording.state === "recording" ? html`<span class="rec numbers"><span class="dot"></span>${w.recordedNow} ${duration(room.recording.duration_ms)}</span>` : nothing}
      <span class="ways">
        ${room.watch ? html`<a class="button small" href=${paths.watch(room.room)} aria-label=${w.watchRoom(room.room)}>${icon("eye")}${w.watch}</a>` : nothing}
        <a class="button small" href=${paths.room(room.room)} aria-label=${w.enter(room.room)}>${w.join}</a></span>
    </li>`)}</ul></section>`;
}
