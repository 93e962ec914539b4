// What remains when the call is over for this person: why, what is safe, and the next step.
import { css, html, nothing } from "lit";
import type { Call } from "../../client/call.ts";
import type { ClosedReason } from "../../client/protocol.ts";
import { duration } from "../../words/format.ts";
import { base, ReElement } from "../base.ts";
import { paths } from "../route.ts";

interface Sentence {
  heading: string;
  rejoin: string | null;
  how: "plain" | "take-over";
}

const plain = (heading: string, rejoin: string | null): Sentence => ({ heading, rejoin, how: "plain" });

export class ReOver extends ReElement {
  static override properties = { call: { attribute: false } };
  declare call: Call | null;

  constructor() {
    super();
    this.call = null;
  }

  private sentences({ phase }: Call): Sentence {
    const w = this.words.over;
    switch (phase.name) {
      case "lost": return plain(w.lost, w.rejoin);
      case "refused": {
        const known = this.words.refused.byCode[phase.code as keyof typeof this.words.refused.byCode];
        return plain(known ?? this.words.refused.other(phase.message), this.words.common.tryAgain);
      }
      case "closed": return this.closed(phase.reason, phase.by);
      default: return plain(w.left, w.rejoin);
    }
  }

  private closed(reason: ClosedReason, by: string | null): Sentence {
    const w = this.words.over;
    switch (reason) {
      case "replaced": return { heading: w.replaced, rejoin: w.useHere, how: "take-over" };
      case "removed": return plain(by ? w.removedBy(by) : w.removed, null);
      case "ended": return plain(by ? w.endedBy(by) : w.ended, null);
      case "expired": return plain(w.expired, null);
      case "stopping": return plain(w.stopping, w.rejoin);
      case "dropped": return plain(w.dropped, w.rejoin);
    }
  }

  override render() {
    const { call } = this;
    if (!call) return nothing;
    const w = this.words.over;
    const { heading, rejoin, how } = this.sentences(call);
    const recording = call.room?.recording;
    const isRunning = recording !== undefined && recording.state !== "off" && recording.id !== undefined;
    const id = isRunning ? recording.id : call.saved?.id;
    const length = duration((isRunning ? recording.duration_ms : call.saved?.duration_ms) ?? 0);
    const isEndedForAll = call.phase.name === "closed" && (call.phase.reason === "ended" || call.phase.reason === "stopping");
    return html`<main>
      <h1>${heading}</h1>
      ${id === undefined ? nothing : html`<p class="second">${isRunning && !isEndedForAll ? w.safeUpTo(length) : w.saved(length)}</p>`}
      <div class="actions">
        ${rejoin === null ? nothing : html`<button class="main" @click=${() => this.dispatchEvent(new CustomEvent("re-rejoin", { detail: how }))}>${rejoin}</button>`}
        ${id === undefined || call.room?.grants.replay === false ? nothing : html`<a class="button ${rejoin === null ? "main" : ""}" href=${paths.replay(id)}>${w.play}</a>`}
        <a class="button quiet" href=${paths.home}>${this.words.common.toHome}</a>
      </div>
      <p class="hint"><a href=${paths.test}>${this.words.lobby.testLink}</a></p>
    </main>`;
  }

  static override styles = [
    base,
    css`
      :host { display: block; }
      main { display: grid; gap: var(--s4); justify-items: center; align-content: center; max-width: 640px; min-height: calc(100dvh - 120px); margin: 0 auto; padding: var(--s5) var(--s4); text-align: center; }
      h1 { font-size: var(--t4); text-wrap: balance; overflow-wrap: anywhere; }
      .actions { display: flex; flex-wrap: wrap; justify-content: center; gap: var(--s2); }
    `,
  ];
}

customElements.define("re-over", ReOver);
