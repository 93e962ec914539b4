// What is wrong with a device, as a fact, and what to do, for this browser and this system.
import type { Device } from "../../client/devices.ts";
import type { Kind } from "../../client/protocol.ts";
import type { Words } from "../../words/index.ts";

export interface ProblemText {
  fact: string;
  /** True when trying again makes sense. */
  canRetry: boolean;
}

export function isProblem(device: Device): boolean {
  return !["off", "on", "asking", "starting"].includes(device.state);
}

/** `both`: the same is wrong with camera and microphone, so it is said once. */
export function problemText(words: Words, device: Device | null, kind: Kind | "both"): ProblemText {
  const w = words.device;
  const name = { audio: w.theMicrophone, video: w.theCamera, both: w.theBoth }[kind];
  const setting = { audio: w.microphone, video: w.camera, both: w.both }[kind];
  switch (device?.state) {
    case "blocked": return { fact: browser() === "firefox" ? w.blockedFirefox(name, setting) : w.blocked(name, setting), canRetry: true };
    case "blocked-by-system": return { fact: `${w.blockedBySystem(name)} ${w.systemSteps(system(), setting)}`, canRetry: true };
    case "none": return { fact: { audio: w.noMicrophone, video: w.noCamera, both: w.noneOfBoth }[kind], canRetry: false };
    case "in-use": return { fact: w.inUse(device.label === "" || kind === "both" ? name : device.label), canRetry: true };
    case "insecure": return { fact: w.insecure(`https://${location.host}`), canRetry: false };
    default: return { fact: w.failed(name), canRetry: true };
  }
}

function browser(): "firefox" | "safari" | "chromium" {
  const agent = navigator.userAgent;
  if (/Firefox\//.test(agent)) return "firefox";
  return /Chrome\//.test(agent) ? "chromium" : "safari";
}

export type System = "windows" | "mac" | "ios" | "android" | "other";

function system(): System {
  const agent = navigator.userAgent;
  if (/Windows/.test(agent)) return "windows";
  if (/Android/.test(agent)) return "android";
  if (/iPhone|iPad/.test(agent)) return "ios";
  return /Mac OS/.test(agent) ? "mac" : "other";
}
