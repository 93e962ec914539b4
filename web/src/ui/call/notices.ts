// What is wrong right now, in its order of weight; at most two are shown over the stage.
import { html, nothing } from "lit";
import type { TemplateResult } from "lit";
import type { Call } from "../../client/call.ts";
import { BEHIND_MS } from "../../client/news.ts";
import { clock } from "../../words/format.ts";
import { words } from "../../words/index.ts";
import { isProblem, problemText } from "../devices/problems.ts";

export interface NoticeContext {
  isSoundHeld: boolean;
  isQuiet: boolean;
  isTalkingMuted: boolean;
  isLeftAlone: boolean;
  troubleSince: number | null;
  turnSoundOn: () => void;
  showDetails: () => void;
  keepRecording: () => void;
}

export function noticesOf(call: Call, context: NoticeContext): TemplateResult[] {
  const all = words();
  const w = all.notice;
  const { room } = call;
  const { local } = call.options;
  const found: (TemplateResult | typeof nothing)[] = [];
  const action = (label: string, run: () => void, main = false) => html`<button slot="action" class="small ${main ? "main" : ""}" @click=${run}>${label}</button>`;
  if (room?.recording.state === "interrupted") {
    const why = room.recording.reason === "disk-full" ? w.diskFull : w.diskFault;
    found.push(html`<re-notice kind="bad">${w.notSaving(clock(context.troubleSince ?? Date.now()), why)}</re-notice>`);
  }
  if (context.isSoundHeld) found.push(html`<re-notice>${w.soundHeld}${action(w.turnSoundOn, context.turnSoundOn, true)}</re-notice>`);
  else if (context.isQuiet) found.push(html`<re-notice>${w.quiet}${action(w.turnSoundOn, context.turnSoundOn)}</re-notice>`);
  if (call.isExpiring) found.push(html`<re-notice kind="warn">${w.expiring}</re-notice>`);
  if (call.hasNoPath) found.push(html`<re-notice kind="bad">${w.noPath}${action(w.details, context.showDetails)}</re-notice>`);
  if (context.isLeftAlone) {
    found.push(html`<re-notice kind="warn">${w.alone}${action(w.stop, () => call.record("stop"))}${action(w.keep, context.keepRecording)}</re-notice>`);
  }
  for (const device of local ? [local.microphone, local.camera] : []) {
    if (!isProblem(device) || !device.isWanted) continue;
    const { fact, canRetry } = problemText(all, device, device.kind);
    found.push(html`<re-notice kind="warn">${fact}${canRetry ? action(all.common.tryAgain, () => void local?.retry(device.kind)) : nothing}</re-notice>`);
  }
  if (context.isTalkingMuted) found.push(html`<re-notice>${w.talkingMuted}</re-notice>`);
  if (local?.microphone.isWanted && local.microphone.isSystemMuted) found.push(html`<re-notice kind="warn">${all.device.systemMuted}</re-notice>`);
  else if (local?.microphone.isWanted && local.microphone.isSilent) found.push(html`<re-notice kind="warn">${all.device.silent}</re-notice>`);
  if (room?.recording.state === "recording" && room.recording.behind_ms > BEHIND_MS) {
    found.push(html`<re-notice kind="warn">${w.behind(Math.round(room.recording.behind_ms / 1000))}</re-notice>`);
  }
  if (call.own !== "none") found.push(html`<re-notice kind="warn">${call.own === "upload" ? w.weakUpload : w.slowComputer}</re-notice>`);
  if (call.screen !== null) found.push(html`<re-notice>${w.sharing}${action(w.stopSharing, () => void call.unshare())}</re-notice>`);
  return found.filter((one): one is TemplateResult => one !== nothing).slice(0, AT_MOST);
}

const AT_MOST = 2;
