// The list of recordings: what the address asks for, pages of it, deletions and their undoing. No DOM.
import { request } from "./api.ts";
import type { Manifest, Status, Summary } from "./replay/model.ts";

export type Sort = "newest" | "oldest" | "longest" | "largest";
export type When = "any" | "today" | "week" | "month";
export type Shown = Status | "any";

/** What the address of the library says. */
export interface Query {
  text: string;
  room: string;
  person: string;
  state: Shown;
  when: When;
  sort: Sort;
}

export const EVERYTHING: Query = { text: "", room: "", person: "", state: "any", when: "any", sort: "newest" };
const STATES: readonly Shown[] = ["complete", "recovered", "interrupted", "failed", "recording"];
const WHENS: readonly When[] = ["today", "week", "month"];
const SORTS: readonly Sort[] = ["oldest", "longest", "largest"];
const PAGE = 48;

export function readQuery(search: string): Query {
  const params = new URLSearchParams(search);
  const one = <T extends string>(name: string, known: readonly T[], fallback: T): T => known.find((value) => value === params.get(name)) ?? fallback;
  return {
    text: params.get("q") ?? "",
    room: params.get("room") ?? "",
    person: params.get("person") ?? "",
    state: one("state", STATES, "any"),
    when: one("when", WHENS, "any"),
    sort: one("sort", SORTS, "newest"),
  };
}

/** The address for a query; what is not set is not in it. */
export function writeQuery(query: Query): string {
  const params = new URLSearchParams();
  if (query.text.trim() !== "") params.set("q", query.text.trim());
  if (query.room !== "") params.set("room", query.room);
  if (query.person !== "") params.set("person", query.person);
  if (query.state !== "any") params.set("state", query.state);
  if (query.when !== "any") params.set("when", query.when);
  if (query.sort !== "newest") params.set("sort", query.sort);
  const text = params.toString();
  return text === "" ? "" : `?${text}`;
}

export function isFiltered(query: Query): boolean {
  return query.text.trim() !== "" || query.room !== "" || query.person !== "" || query.state !== "any" || query.when !== "any";
}

/** When a chosen stretch of time began: local midnight, 7 or 30 days before `now`. */
export function since(when: When, now: Date): Date | null {
  if (when === "any") return null;
  const start = new Date(now);
  start.setHours(0, 0, 0, 0);
  if (when === "week") start.setDate(start.getDate() - 6);
  if (when === "month") start.setDate(start.getDate() - 29);
  return start;
}

/** What the disk still takes. */
export interface Storage {
  free_bytes: number;
  free_hours: number;
  /** As long as recording goes on as in the last two weeks. */
  full_in_days?: number | null;
}

export interface Page {
  recordings: Summary[];
  next: string | null;
  /** Only for who may see all recordings. */
  storage?: Storage;
}

function params(query: Query, cursor: string | null, now: Date): URLSearchParams {
  const found = new URLSearchParams({ limit: String(PAGE) });
  if (query.text.trim() !== "") found.set("text", query.text.trim());
  if (query.room !== "") found.set("room", query.room);
  if (query.person !== "") found.set("person", query.person);
  if (query.state !== "any") found.set("state", query.state);
  const from = since(query.when, now);
  if (from !== null) found.set("from", from.toISOString());
  if (query.sort !== "newest") found.set("sort", query.sort);
  if (cursor !== null) found.set("cursor", cursor);
  return found;
}

/** One page, in the order that is asked for. */
export async function page(query: Query, cursor: string | null, signal: AbortSignal): Promise<Page> {
  return request<Page>(`/api/recordings?${params(query, cursor, new Date())}`, { signal });
}

/** As many pages as it takes to have `least` entries again after a way back, and what grows, wherever it would be. */
export async function pages(query: Query, least: number, signal: AbortSignal): Promise<Page> {
  const all: Page = { recordings: [], next: null };
  const growing = query.sort === "newest" || query.state !== "any" ? null : page({ ...query, state: "recording" }, null, signal);
  do {
    const next: Page = await page(query, all.next, signal);
    all.recordings.push(...next.recordings);
    all.next = next.next;
    if (next.storage) all.storage = next.storage;
  } while (all.next !== null && all.recordings.length < least);
  const known = new Set(all.recordings.map((one) => one.id));
  all.recordings.push(...((await growing)?.recordings ?? []).filter((one) => !known.has(one.id)));
  return all;
}

/** Growing ones first in every order; the rest as asked. */
export function order(recordings: readonly Summary[], sort: Sort): Summary[] {
  const time = (one: Summary): number => Date.parse(one.started_at);
  const by: Record<Sort, (a: Summary, b: Summary) => number> = {
    newest: (a, b) => time(b) - time(a),
    oldest: (a, b) => time(a) - time(b),
    longest: (a, b) => b.duration_ms - a.duration_ms,
    largest: (a, b) => (b.size_bytes ?? 0) - (a.size_bytes ?? 0),
  };
  const grows = (one: Summary): number => (one.state === "recording" || one.state === "paused" || one.state === "waiting" ? 0 : 1);
  return recordings.toSorted((a, b) => grows(a) - grows(b) || by[sort](a, b) || b.id.localeCompare(a.id));
}

/** What came since the list was drawn goes in; what is known is brought up to date and keeps its place. */
export function merge(shown: readonly Summary[], latest: readonly Summary[]): { updated: Summary[]; fresh: Summary[] } {
  const byId = new Map(latest.map((one) => [one.id, one]));
  const known = new Set(shown.map((one) => one.id));
  return {
    updated: shown.map((one) => byId.get(one.id) ?? one),
    fresh: latest.filter((one) => !known.has(one.id)),
  };
}

/** What people say about a recording. */
export interface Notes {
  title: string;
  tags: string[];
  /** Not to be deleted. */
  keep: boolean;
}

/** A link to a span. */
export interface Shared {
  url: string;
  /** When it ends; null where links do not. */
  expires_at: string | null;
}

/** What ffmpeg is to make of a recording. */
export interface Order {
  kind: "movie" | "editor";
  layout?: "grid" | "speaker";
}

/** How far that is. */
export interface Job {
  id: string;
  state: "waiting" | "running" | "done" | "failed" | "cancelled";
  /** From 0 to 1. */
  progress: number;
  left_ms: number | null;
  error: string | null;
  url: string | null;
}

export const recordings = {
  manifest: (id: string, signal?: AbortSignal): Promise<Manifest> => request(`/api/recordings/${encodeURIComponent(id)}`, { signal }),
  remove: (id: string): Promise<unknown> => request(`/api/recordings/${encodeURIComponent(id)}`, { method: "DELETE" }),
  annotate: (id: string, change: Partial<Notes>): Promise<Notes> => request(`/api/recordings/${encodeURIComponent(id)}`, { method: "PATCH", json: change }),
  erase: (id: string, participant: string): Promise<unknown> =>
    request(`/api/recordings/${encodeURIComponent(id)}/participants/${encodeURIComponent(participant)}`, { method: "DELETE" }),
  mark: (url: string, t_ms: number, text: string): Promise<unknown> => request(url, { method: "POST", json: { t_ms, text } }),
  unmark: (url: string, mark: string): Promise<unknown> => request(`${url}/${encodeURIComponent(mark)}`, { method: "DELETE" }),
  share: (url: string, from: number, to: number, participant: string | null): Promise<Shared> => request(url, { method: "POST", json: { from, to, participant } }),
  make: (id: string, order: Order): Promise<Job> => request(`/api/recordings/${encodeURIComponent(id)}/export`, { method: "POST", json: order }),
  job: (id: string, signal?: AbortSignal): Promise<Job> => request(`/api/jobs/${encodeURIComponent(id)}`, { signal }),
  cancelJob: (id: string): Promise<unknown> => request(`/api/jobs/${encodeURIComponent(id)}`, { method: "DELETE" }),
  restore: (id: string): Promise<unknown> => request(`/api/recordings/${encodeURIComponent(id)}/undo`, { method: "POST" }),
};

/** What people read first: the title they gave, or the room. */
export function titleOf(one: Pick<Summary, "title" | "room">): string {
  return one.title?.trim() || one.room;
}

/** Everybody once, in the order of the manifest. */
export function namesOf(one: Pick<Summary, "participants">): string[] {
  const seen = new Map<string, string>();
  for (const human of one.participants ?? []) seen.set(human.person ?? human.id, human.name);
  return [...new Set(seen.values())];
}
