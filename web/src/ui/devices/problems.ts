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

export function problemText(words: Words, device: Device | null, kind: Kind): ProblemText {
  const w = words.device;
  const name = kind === "audio" ? w.theMicrophone : w.theCamera;
  const setting = kind === "audio" ? w.microphone : w.camera;
  switch (device?.state) {
    case "blocked": return { fact: browser() === "firefox" ? w.blockedFirefox(name, setting) : w.blocked(name, setting), canRetry: true };
    case "blocked-by-system": return { fact: `${w.blockedBySystem(name)} ${w.systemSteps(system(), setting)}`, canRetry: true };
    case "none": return { fact: kind === "audio" ? w.noMicrophone : w.noCamera, canRetry: false };
    case "in-use": return { fact: w.inUse(device.label === "" ? name : device.label), canRetry: true };
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
