// When a media connection is to be mended, and how: not for a short loss, and again and again while it lasts. A restart that
// is tried while the network is gone fails too, and a connection that stays "failed" tells nobody a second time.

/** New ICE credentials, or another connection: Firefox never sends on a failed one again, whatever its states say. */
export type Cure = "restart" | "replace";

/** Short losses heal by themselves. */
const WAIT_MS = 2_000;
/** Less than the 5 s after which Firefox gives a restart up and fails. */
const AGAIN_MS = 4_000;

export class Mender {
  private timer: ReturnType<typeof setTimeout> | undefined;
  private readonly cure: (cure: Cure) => void;

  constructor(cure: (cure: Cure) => void) {
    this.cure = cure;
  }

  onState(state: RTCPeerConnectionState): void {
    switch (state) {
      case "failed": this.mend("replace"); break;
      case "disconnected": this.plan(WAIT_MS); break;
      // A cure under way; if it leads nowhere, the plan that stands tries again.
      case "connecting": break;
      default: this.stop();
    }
  }

  stop(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
  }

  private mend(cure: Cure): void {
    this.plan(AGAIN_MS);
    this.cure(cure);
  }

  private plan(after: number): void {
    this.stop();
    this.timer = setTimeout(() => this.mend("restart"), after);
  }
}
