// A room name that is easy to say and unlikely to be taken.
const FIRST = ["amber", "bright", "calm", "clear", "early", "gentle", "green", "honest", "kind", "light", "quiet", "silver", "steady", "warm"];
const SECOND = ["bridge", "field", "garden", "harbour", "hill", "lake", "lamp", "maple", "meadow", "orchard", "river", "stone", "valley", "window"];

export function suggestRoom(random: () => number = Math.random): string {
  const pick = (from: readonly string[]): string => from[Math.floor(random() * from.length)] ?? "room";
  return `${pick(FIRST)}-${pick(SECOND)}-${10 + Math.floor(random() * 90)}`;
}
