// `<reelay-watch room="…">`: the watch page as an element on a page of somebody else.
import { css } from "lit";
import { RePageWatch } from "./watch.ts";

class ReelayWatch extends RePageWatch {
  static override styles = [
    ...RePageWatch.styles,
    css`
      /* What is fixed to the window on our own page is fixed to the element here. */
      :host { position: relative; min-height: 240px; aspect-ratio: 16 / 9; overflow: hidden; contain: layout paint; border-radius: var(--r3); background: var(--sunken); color-scheme: dark; color: var(--text); }
      .past { max-height: calc(100% - 120px); }
      .card { height: 100%; min-height: 0; }
    `,
  ];
}

customElements.define("reelay-watch", ReelayWatch);
