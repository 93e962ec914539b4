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
  gauge: Gauge;
  /** A rate other than the plain one is set. */
  bends: boolean;
  /** Since when it has been outside the dead band. */
  outSince: number | null;
  /** When it was last told something. */
  toldAt: number;
  /** When it was last sought, by the caller's clock. */
  soughtAt: number;
  /** Running mean of how late a seek lands, because others go on meanwhile. */
  seekCost: number;
  /** A seek is under way. */
  isSeeking: boolean;
  /** How late the last seek landed is still to be learnt. */
  learns: boolean;
  /** Since when it has had no data. */
  waitsSince: number | null;
}

/** How often to look: each look is a reading, and many readings make a good one. */
export const LOOK_MS = 50;
/**
 * Beyond this an element is bent back by its rate: two that err in opposite directions still show the same frame. Where
 * readings are exact (Chromium) it is narrow, as each picture is up to half a frame beside its place already.
 */
const DEAD_BAND = { least: 4, most: 12 };
/** Closer than this share of the dead band the bending ends. */
const SETTLED = 0.25;
/** What a single reading may be wrong by. */
const JITTER = 60;
/** Beyond this it is sought, because bending would take seconds. */
export const SEEK_BEYOND = 250;
/** The rate is bent by this share at most. */
export const LIMIT = 0.1;
/** More for a moment where a picture is visibly off, as right after the start. */
const LIMIT_FAR = 0.25;
const FAR = 40;
/** So long a small distance has to last before it is believed. */
const SURE_AFTER = 400;
/** A distance is bent away over about this time. */
const BENT_OVER = 400;
/** A rate that was set shows in the readings after about this time; before that nothing new is learnt. */
const TELL_GAP = 250;
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

/**
 * Where an element really is. What it says is up to a frame old (Firefox tells a page once a frame, later under load)
 * and never ahead of the truth, so the reading that is furthest ahead of its pace is the freshest one.
 */
class Gauge {
  private readings: { at: number; lead: number }[] = [];
  private lookedAt = 0;
  /** Where an element would be that has kept exactly to the rates that were set. */
  private paced = 0;
  rate = 1;

  read(now: number, position: number): void {
    this.paced = this.readings.length === 0 ? position : this.paced + (now - this.lookedAt) * this.rate;
    this.lookedAt = now;
    this.readings = this.readings.filter((reading) => now - reading.at < WINDOW);
    this.readings.push({ at: now, lead: position - this.paced });
  }

  clear(): void {
    this.readings = [];
  }

  /** Of the moment of the last reading; null before the first. */
  get position(): number | null {
    return this.readings.length === 0 ? null : this.paced + Math.max(...this.readings.map((reading) => reading.lead));
  }

  /** How far apart the readings are that were taken in the window. */
  get jitter(): number {
    const leads = this.readings.map((reading) => reading.lead);
    return Math.max(...leads) - Math.min(...leads);
  }

  /** A few readings are there. In a hidden page timers come once a second, and there never are. */
  get isSure(): boolean {
    return this.readings.length >= 4;
  }
}

/** Readings older than this do not count. */
const WINDOW = 400;

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

  /** Looks at the members while the group plays at `rate`; call it every `LOOK_MS`. */
  look(now: number, members: Member[], rate: number): Verdict {
    this.forget(members);
    const places = new Map<string, number>();
    let hold = false;
    for (const member of members) {
      const state = this.stateOf(member.id, rate);
      if (member.ready) {
        state.waitsSince = null;
        state.isSeeking = false;
        if (!state.bends) state.gauge.rate = rate;
        state.gauge.read(now, member.position);
        places.set(member.id, state.gauge.position ?? member.position);
        continue;
      }
      state.gauge.clear();
      state.waitsSince ??= now;
      const dry = now - state.waitsSince;
      // An element that we sought ourselves is late by our doing; the others need not stop for it.
      hold ||= !state.isSeeking && dry >= GRACE && dry < GRACE + PATIENCE;
    }
    const position = median([...places.values()]);
    const actions = [...places].flatMap(([id, place]) => (position === null ? [] : (this.correct(now, id, place - position, position, rate) ?? [])));
    return { position, hold, actions };
  }

  private correct(now: number, id: string, off: number, master: number, rate: number): Action | null {
    const state = this.stateOf(id, rate);
    if (now - state.toldAt < TELL_GAP || (!state.gauge.isSure && Math.abs(off) < JITTER)) {
      return null;
    }
    if (state.learns) {
      // The first sure look after a seek tells how late it landed; the next seek aims ahead by that much.
      state.seekCost = Math.min(500, Math.max(0, state.seekCost - 0.5 * off));
      state.learns = false;
    }
    if (Math.abs(off) > SEEK_BEYOND && now - state.soughtAt >= SEEK_GAP) {
      state.soughtAt = now;
      state.toldAt = now;
      state.bends = false;
      state.gauge.clear();
      state.isSeeking = true;
      state.learns = true;
      return { type: "seek", id, to: master + state.seekCost * rate };
    }
    const band = Math.min(DEAD_BAND.most, Math.max(DEAD_BAND.least, state.gauge.jitter / 2));
    state.outSince = Math.abs(off) > band ? (state.outSince ?? now) : null;
    const isOut = state.outSince !== null && (now - state.outSince >= SURE_AFTER || Math.abs(off) > FAR);
    if (isOut || (state.bends && Math.abs(off) > band * SETTLED)) {
      const limit = Math.abs(off) > FAR ? LIMIT_FAR : LIMIT;
      const share = Math.min(limit, Math.max(-limit, off / (BENT_OVER * rate)));
      return this.setRate(now, id, state, rate * (1 - share), true);
    }
    return state.bends ? this.setRate(now, id, state, rate, false) : null;
  }

  private setRate(now: number, id: string, state: Correction, rate: number, bends: boolean): Action {
    state.bends = bends;
    state.toldAt = now;
    state.gauge.rate = rate;
    return { type: "rate", id, rate };
  }

  private stateOf(id: string, rate: number): Correction {
    let state = this.corrections.get(id);
    if (!state) {
      const gauge = new Gauge();
      gauge.rate = rate;
      state = { gauge, bends: false, outSince: null, toldAt: -Infinity, soughtAt: -Infinity, seekCost: 80, isSeeking: false, learns: false, waitsSince: null };
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
