// One catalogue for every word on every page. `Words` is the English one's type, so a word that is missing in
// Chinese, or one too many there, does not compile.
import { en } from "./en.ts";
import { zh } from "./zh.ts";

export type Words = typeof en;
export type Language = "en" | "zh";

const CATALOGUE: Record<Language, Words> = { en, zh };
const STORED = "reelay.language";
const changes = new EventTarget();
let current: Language = pick();

/** The words in the language of the page. Read it anew at each render. */
export function words(): Words {
  return CATALOGUE[current];
}

export function language(): Language {
  return current;
}

export function setLanguage(next: Language): void {
  current = next;
  remember(next);
  apply();
  changes.dispatchEvent(new Event("change"));
}

/** Calls back at each change of language until `signal` ends. */
export function onLanguage(listener: () => void, signal: AbortSignal): void {
  changes.addEventListener("change", listener, { signal });
}

/** The first of the browser's languages that there are words for. */
export function choose(preferred: readonly string[]): Language {
  for (const tag of preferred) {
    if (/^zh\b/i.test(tag)) return "zh";
    if (/^en\b/i.test(tag)) return "en";
  }
  return "en";
}

function pick(): Language {
  const stored = recall();
  if (stored === "en" || stored === "zh") return stored;
  return typeof navigator === "undefined" ? "en" : choose(navigator.languages ?? [navigator.language]);
}

function apply(): void {
  if (typeof document !== "undefined") document.documentElement.lang = current === "zh" ? "zh-Hans" : "en";
}

function recall(): string | null {
  try {
    return localStorage.getItem(STORED);
  } catch {
    return null;
  }
}

function remember(next: Language): void {
  try {
    localStorage.setItem(STORED, next);
  } catch {
    // A browser without storage asks again next time.
  }
}

apply();
