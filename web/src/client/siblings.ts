// Other windows of this browser: a second one in the same room keeps its sound off, or the room would howl.
type Word = { word: "here?" | "here" | "taken"; room: string; id: string; participant?: string };

export class Siblings {
  private readonly channel: BroadcastChannel | null;
  private readonly id = crypto.getRandomValues(new Uint32Array(2)).join("-");
  private room: string | null = null;

  /** `onTaken`: another window takes the place of this participant. */
  constructor(onTaken: (participant: string) => void) {
    this.channel = typeof BroadcastChannel === "undefined" ? null : new BroadcastChannel("reelay.calls");
    if (!this.channel) return;
    this.channel.onmessage = ({ data }: MessageEvent<Word>) => {
      if (this.room === null || data.room !== this.room) return;
      if (data.word === "here?") this.say("here", this.room);
      if (data.word === "taken" && data.participant !== undefined) onTaken(data.participant);
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

  /** The window that is this participant gives way. */
  takeOver(room: string, participant: string): void {
    this.say("taken", room, participant);
  }

  close(): void {
    this.room = null;
    this.channel?.close();
  }

  private say(word: Word["word"], room: string, participant?: string): void {
    this.channel?.postMessage({ word, room, id: this.id, participant } satisfies Word);
  }
}

const ASK_MS = 80;
