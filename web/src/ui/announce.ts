// The only live regions of a page: what is said there is heard once, in order.
const PAUSE_MS = 1_200;
const queue: string[] = [];
let isSpeaking = false;

/** Says something politely, after what was said before. */
export function announce(text: string): void {
  queue.push(text);
  if (!isSpeaking) speak();
}

/** Says trouble at once. */
export function announceNow(text: string): void {
  say("assertive", text);
}

function speak(): void {
  const text = queue.shift();
  isSpeaking = text !== undefined;
  if (text === undefined) return;
  say("polite", text);
  setTimeout(speak, PAUSE_MS);
}

function say(region: "polite" | "assertive", text: string): void {
  const element = document.getElementById(region);
  if (!element) return;
  // The same sentence twice is only heard when the region was empty in between.
  element.textContent = "";
  requestAnimationFrame(() => (element.textContent = text));
}
