// `<re-rec-pill>`: what the recording does, as the server says. It follows the file, not the button.
import { css, html, nothing } from "lit";
import { BEHIND_MS } from "../../client/news.ts";
import type { RecordingAction, RoomRecording } from "../../client/protocol.ts";
import { duration, number } from "../../words/format.ts";
import type { Gaps } from "../../client/room-state.ts";
import { base, ReElement } from "../base.ts";

export type PillState = "off" | "starting" | "recording" | "paused" | "behind" | "not-saving" | "finishing";

/** What the pill shows for a state of the server and a wish on its way. */
export function pillState(recording: RoomRecording, wish: RecordingAction | null): PillState {
  switch (recording.state) {
    case "off": return wish === "start" ? "starting" : "off";
    case "waiting": return wish === "stop" ? "finishing" : "starting";
    case "paused": return wish === "stop" ? "finishing" : "paused";
    case "interrupted": return "not-saving";
    case "recording":
      if (wish === "stop") return "finishing";
      return recording.behind_ms > BEHIND_MS ? "behind" : "recording";
  }
}

export class ReRecPill extends ReElement {
  static override properties = { recording: { attribute: false }, gaps: { attribute: false }, wish: {} };
  declare recording: RoomRecording | null;
  declare gaps: Gaps | null;
  declare wish: RecordingAction | null;

  constructor() {
    super();
    this.recording = null;
    this.gaps = null;
    this.wish = null;
  }

  override render() {
    const { recording } = this;
    if (!recording) return nothing;
    const state = pillState(recording, this.wish);
    if (state === "off") return nothing;
    const w = this.words.pill;
    const time = duration(recording.duration_ms);
    const text = {
      starting: w.starting,
      recording: w.recording,
      paused: w.paused,
      behind: w.behind(Math.round(recording.behind_ms / 1000)),
      "not-saving": w.notSaving,
      finishing: w.finishing,
    }[state];
    const hasTime = state === "recording" || state === "behind" || state === "paused";
    return html`<span class="pill ${state}" title=${state === "recording" && recording.by ? w.by(recording.by) : text}>
      <span class="mark" aria-hidden="true"></span><span class="text">${text}</span>${hasTime ? html`<span class="time numbers">${time}</span>${this.missing()}` : nothing}</span>`;
  }

  /** How many holes the recording has, and the last one in the title. */
  private missing() {
    const { last, count } = this.gaps ?? { last: null, count: 0 };
    if (last === null) return nothing;
    const w = this.words.pill;
    const text = `${w.gaps(count)} ${w.gap(last.name, last.kind, number(last.lasted_ms / 1000))}`;
    return html`<span class="gaps numbers" title=${text}><span class="hatch" aria-hidden="true"></span><span aria-hidden="true">${count}</span><span class="unseen">${text}</span></span>`;
  }

  static override styles = [
    base,
    css`
      :host { display: inline-flex; flex: none; }
      .pill {
        display: inline-flex; align-items: center; gap: var(--s2); min-height: 32px; padding: 0 var(--s3); border-radius: var(--round);
        font: 600 var(--t2)/1 var(--font); white-space: nowrap;
      }
      .mark { flex: none; width: 10px; height: 10px; border-radius: 50%; background: currentColor; }
      .recording { background: var(--rec); color: var(--on-rec); }
      .starting, .finishing, .paused { background: var(--ctl); color: #EEF0F5; }
      .starting .mark, .finishing .mark { background: none; border: 2px solid currentColor; }
      .paused .mark { border-radius: 0; width: 9px; background: none; border: solid currentColor; border-width: 0 3px; }
      .behind { background: var(--warn-bg); color: var(--warn); }
      .not-saving { background: var(--bad-bg); color: var(--bad); }
      .behind .mark, .not-saving .mark { border-radius: 0; clip-path: polygon(50% 0, 100% 100%, 0 100%); }
      .gaps { display: inline-flex; align-items: center; gap: var(--s1); padding-left: var(--s2); border-left: 1px solid currentColor; }
      .hatch { width: 14px; height: 10px; border: 1px solid currentColor; background: repeating-linear-gradient(135deg, currentColor 0 2px, transparent 2px 4px); }
      @container (max-width: 359px) { .pill { gap: 6px; padding: 0 var(--s2); font-size: var(--t1); } }
      @container (max-width: 719px) { .behind .time { display: none; } }
    `,
  ];
}

customElements.define("re-rec-pill", ReRecPill);
