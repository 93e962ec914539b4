// Turns news of a call into sentences: toasts for what concerns the eye, one voice for those who listen.
import { withAccess } from "../../client/access.ts";
import type { News } from "../../client/news.ts";
import { duration, list, number } from "../../words/format.ts";
import { words } from "../../words/index.ts";
import { announce, announceNow } from "../announce.ts";
import { toast } from "../elements/toast.ts";
import { paths } from "../route.ts";

export class Reporter {
  private came: string[] = [];
  private went: string[] = [];
  private gapAt = 0;
  private timer: ReturnType<typeof setTimeout> | undefined;

  report(news: News): void {
    const w = words().news;
    switch (news.type) {
      case "came": return this.collect(this.came, news.name);
      case "went": return this.collect(this.went, news.name);
      case "chat": if (!news.isMine) announce(w.chat(news.line.name, news.line.text)); return;
      case "recording-started": return toast({ text: news.by === null ? w.recording : w.recordingBy(news.by) });
      case "recording-paused": return toast({ text: w.paused });
      case "recording-resumed": return toast({ text: w.resumed });
      case "recording-stopped": return this.stopped(news.id, news.duration_ms);
      case "recording-trouble": return announceNow(news.reason === "disk-full" ? words().notice.diskFull : words().notice.diskFault);
      case "recording-behind": return announceNow(words().notice.behind(Math.round(news.behind_ms / 1000)));
      case "recording-gap": return this.gap(news.name, news.kind, news.lasted_ms);
      case "screen-on": if (!news.isMine) announce(w.screenOn(news.name)); return;
      case "screen-off": if (!news.isMine) announce(w.screenOff(news.name)); return;
      case "muted-by": return toast({ text: news.kind === "audio" ? w.mutedBy(news.by) : w.cameraOffBy(news.by) });
      case "device-gone": return toast({ text: w.deviceGone(news.label, news.now) });
      case "refused": {
        const known = words().refused.byCode[news.code as keyof ReturnType<typeof words>["refused"]["byCode"]];
        return toast({ text: known ?? words().refused.other(news.message) });
      }
    }
  }

  private stopped(id: string | null, duration_ms: number): void {
    const w = words().news;
    const text = w.saved(duration(duration_ms));
    // In a new tab: nobody should fall out of the call for a look back.
    toast(id === null ? { text } : { text, action: { label: w.play, run: () => void open(withAccess(paths.replay(id)), "_blank", "noopener") } });
  }

  // A bad line makes many; the mark at the recording counts them all.
  private gap(name: string, kind: "audio" | "video", lasted_ms: number): void {
    if (Date.now() - this.gapAt < GAPS_MS) return;
    this.gapAt = Date.now();
    announce(words().pill.gap(name, kind, number(lasted_ms / 1000)));
  }

  // Several people at once are one sentence.
  private collect(into: string[], name: string): void {
    into.push(name);
    this.timer ??= setTimeout(() => {
      const w = words().news;
      this.timer = undefined;
      if (this.came.length > 0) announce(w.came(list(this.came.splice(0))));
      if (this.went.length > 0) announce(w.went(list(this.went.splice(0))));
    }, SUM_MS);
  }
}

const SUM_MS = 2_000;
const GAPS_MS = 30_000;
