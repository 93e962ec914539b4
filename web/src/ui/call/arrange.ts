// Who is on the first page: nobody moves, except that somebody hidden who speaks takes the last place there.

/** `recent`: who spoke lately, the latest first; `swapped`: who holds that last place by having spoken. */
export function arrange(
  keys: readonly string[],
  perPage: number,
  recent: readonly string[],
  swapped: string | null,
): { keys: string[]; swapped: string | null } {
  if (keys.length <= perPage || perPage < 1) return { keys: [...keys], swapped: null };
  const seated = new Set(keys.slice(0, perPage - 1));
  const owner = keys[perPage - 1] ?? "";
  const holder = swapped !== null && keys.includes(swapped) && !seated.has(swapped) ? swapped : null;
  const [latest] = recent.filter((key) => keys.includes(key) && !seated.has(key));
  // Whoever holds the place keeps it until somebody else without a place speaks.
  const next = latest ?? holder;
  if (next === undefined || next === null || next === owner) return { keys: [...keys], swapped: null };
  const order = [...keys];
  order[keys.indexOf(next)] = owner;
  order[perPage - 1] = next;
  return { keys: order, swapped: next };
}
