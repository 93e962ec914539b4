// Keeps many media elements on one clock. Decides only: it gets positions and time, and answers with actions.
// Knows no element and no timer, so a test runs an hour of playing in milliseconds.
//
// The master is the median of what the elements themselves say, never the wall clock: under load the media
// clock runs slower than the wall, and a wall master then corrects everybody all the time.

/** One element as it is at this instant; all positions are milliseconds since the recording began. */
export interface Member {
  id: string;
  /** Its `currentTime`, on the clock of the recording. */
  position: number;
  /** It has data to go on and is not seeking. */
  ready: boolean;
}

/** What to do with one element. */
export type Action =
  | { type: "seek"; id: string; to: number }
  | { type: "rate"; id: string; rate: number };

interface Correction {
  /** A rate other than the plain one is set. */
  bends: boolean;
  /** When it was last sought, by the caller's clock. */
  soughtAt: number;
  /** Running mean of how late a seek lands, because others go on meanwhile. */
  seekCost: number;
  /** The seek that is under way was aimed here. */
  aimedAt: number | null;
  /** Smoothed distance from the master, because what an element says of its place jitters by half a frame. */
  drift: number;
  /** Since when it has had no data. */
  waitsSince: number | null;
}

/** Beyond this an element is bent back by its rate: two that err in opposite directions still show the same frame. */
export const DEAD_BAND = 12;
/** Closer than this the bending ends. */
export const SETTLED = 4;
/** A jump of more than this is no jitter and is believed at once. */
const JITTER = 60;
/** Beyond this it is sought, because bending would take seconds. */
export const SEEK_BEYOND = 250;
/** The rate is bent by this share at most. */
export const LIMIT = 0.1;
/** A distance is bent away over about this time. */
const BENT_OVER = 400;
/** One element is sought at most this often. */
export const SEEK_GAP = 2_000;
/** The group waits for an element that has run dry this long before it goes on without. */
export const PATIENCE = 4_000;
/** An element may be dry this long before the group stops for it. */
export const GRACE = 300;

/** The middle value; of an even count the lower of the two, so that it is always somebody's real position. */
export function median(values: number[]): number | null {
  if (values.length === 0) {
    return null;
  }
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[(sorted.length - 1) >> 1] ?? null;
}

/** The answer to one look at the group. */
export interface Verdict {
  /** Where the recording is, or null when no element can tell. */
  position: number | null;
  /** Somebody has run dry and is worth waiting for: pause all until it is over. */
  hold: boolean;
  actions: Action[];
}

/** The controller of one group. */
export class Sync {
  private corrections = new Map<string, Correction>();

  /** All members were put to a place by the caller; forget what was under way. */
  reset(): void {
    this.corrections.clear();
  }

  /** Looks at the members while the group plays at `rate`; call it every 250 ms. */
  look(now: number, members: Member[], rate: number): Verdict {
    this.forget(members);
    const ready = members.filter((member) => member.ready);
    const position = median(ready.map((member) => member.position));
    const actions: Action[] = [];
    let hold = false;
    for (const member of members) {
      const state = this.stateOf(member.id);
      if (!member.ready) {
        state.waitsSince ??= now;
        const dry = now - state.waitsSince;
        // An element that we sought ourselves is late by our doing; the others need not stop for it.
        hold ||= state.aimedAt === null && dry >= GRACE && dry < GRACE + PATIENCE;
        continue;
      }
      state.waitsSince = null;
      if (position !== null) {
        const action = this.correct(now, member, position, rate, state);
        if (action) {
          actions.push(action);
        }
      }
    }
    return { position, hold, actions };
  }

  private correct(now: number, member: Member, master: number, rate: number, state: Correction): Action | null {
    const found = member.position - master;
    state.drift = Math.abs(found - state.drift) > JITTER ? found : (state.drift + found) / 2;
    const off = state.drift;
    if (state.aimedAt !== null) {
      // The first look after a seek tells how late it landed; the next seek aims ahead by that much.
      state.seekCost = Math.min(500, Math.max(0, 0.5 * state.seekCost + 0.5 * (state.seekCost - off)));
      state.aimedAt = null;
    }
    if (Math.abs(off) > SEEK_BEYOND) {
      if (now - state.soughtAt < SEEK_GAP) {
        return this.bend(member.id, off, rate, state);
      }
      state.soughtAt = now;
      state.bends = false;
      state.aimedAt = master + state.seekCost * rate;
      return { type: "seek", id: member.id, to: state.aimedAt };
    }
    if (Math.abs(off) > DEAD_BAND || (state.bends && Math.abs(off) > SETTLED)) {
      return this.bend(member.id, off, rate, state);
    }
    if (state.bends) {
      state.bends = false;
      return { type: "rate", id: member.id, rate };
    }
    return null;
  }

  private bend(id: string, off: number, rate: number, state: Correction): Action {
    state.bends = true;
    const share = Math.min(LIMIT, Math.max(-LIMIT, off / BENT_OVER));
    return { type: "rate", id, rate: rate * (1 - share) };
  }

  private stateOf(id: string): Correction {
    let state = this.corrections.get(id);
    if (!state) {
      state = { bends: false, soughtAt: -Infinity, seekCost: 80, aimedAt: null, drift: 0, waitsSince: null };
      this.corrections.set(id, state);
    }
    return state;
  }

  private forget(members: Member[]): void {
    const ids = new Set(members.map((member) => member.id));
    for (const id of this.corrections.keys()) {
      if (!ids.has(id)) {
        this.corrections.delete(id);
      }
    }
  }
}
