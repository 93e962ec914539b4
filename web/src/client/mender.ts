// When a media connection is to be mended: not for a short loss, and again and again while it lasts. A restart that is
// tried while the network is gone fails too, and a connection that stays "failed" tells nobody a second time.

/** Short losses heal by themselves. */
const WAIT_MS = 2_000;
const AGAIN_MS = 5_000;

export class Mender {
  private timer: ReturnType<typeof setTimeout> | undefined;
  private readonly restart: () => void;

  constructor(restart: () => void) {
    this.restart = restart;
  }

  onState(state: RTCPeerConnectionState): void {
    switch (state) {
      case "failed": this.mend(); break;
      case "disconnected": this.plan(WAIT_MS); break;
      // A restart under way; if it leads nowhere, the plan that stands tries again.
      case "connecting": break;
      default: this.stop();
    }
  }

  stop(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
  }

  private mend(): void {
    this.restart();
    this.plan(AGAIN_MS);
  }

  private plan(after: number): void {
    this.stop();
    this.timer = setTimeout(() => this.mend(), after);
  }
}
