// Other windows of this browser: a second one in the same room keeps its sound off, or the room would howl.
type Word = { word: "here?" | "here" | "taken"; room: string; id: string };

export class Siblings {
  private readonly channel: BroadcastChannel | null;
  private readonly id = crypto.getRandomValues(new Uint32Array(2)).join("-");
  private room: string | null = null;

  /** `onTaken`: another window takes this one's place. */
  constructor(onTaken: () => void) {
    this.channel = typeof BroadcastChannel === "undefined" ? null : new BroadcastChannel("reelay.calls");
    if (!this.channel) return;
    this.channel.onmessage = ({ data }: MessageEvent<Word>) => {
      if (this.room === null || data.room !== this.room) return;
      if (data.word === "here?") this.say("here", this.room);
      if (data.word === "taken") onTaken();
    };
  }

  /** Asks around for a moment whether another window is in this room already. */
  async isAnotherIn(room: string): Promise<boolean> {
    const channel = this.channel;
    if (!channel) return false;
    return new Promise((resolve) => {
      const done = (found: boolean): void => {
        channel.removeEventListener("message", listen);
        clearTimeout(timer);
        resolve(found);
      };
      const listen = ({ data }: MessageEvent<Word>): void => {
        if (data.word === "here" && data.room === room && data.id !== this.id) done(true);
      };
      const timer = setTimeout(() => done(false), ASK_MS);
      channel.addEventListener("message", listen);
      this.say("here?", room);
    });
  }

  /** From now on this window answers that it is in. */
  enter(room: string): void {
    this.room = room;
  }

  /** The other windows in this room give way. */
  takeOver(room: string): void {
    this.say("taken", room);
  }

  close(): void {
    this.room = null;
    this.channel?.close();
  }

  private say(word: Word["word"], room: string): void {
    this.channel?.postMessage({ word, room, id: this.id } satisfies Word);
  }
}

const ASK_MS = 80;
