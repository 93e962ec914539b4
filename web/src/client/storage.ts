// What fills the disk, what goes by itself, who did what, and what other programs were told. For who may do everything.
import { request } from "./api.ts";

export interface Retention {
  max_age_s: number | null;
  max_total_bytes: number | null;
  min_free_bytes: number | null;
  would_go: Going[];
  kept: number;
  total_bytes: number;
  free_bytes: number | null;
  bytes_per_day: number;
  /** A day, as `2026-11-20`. */
  full_on: string | null;
}

/** A recording that the next look deletes. */
export interface Going {
  id: string;
  room: string;
  started_at: string;
  size_bytes: number;
  reason: "age" | "total" | "free";
}

export interface AuditEntry {
  n: number;
  at: string;
  action: string;
  who?: string;
  name?: string;
  from?: string;
  room?: string;
  recording?: string;
  what?: string;
}

export interface Hooks {
  targets: { url: string; done: number }[];
  events: { n: number; event: string; body: unknown }[];
}

export const storage = {
  retention: (signal: AbortSignal): Promise<Retention> => request("/api/retention", { signal }),
  /** The last entries, newest first. */
  audit: async (wanted: Record<string, string>, signal: AbortSignal): Promise<AuditEntry[]> => {
    const { entries } = await request<{ entries: AuditEntry[] }>(`/api/audit?${new URLSearchParams({ latest: "true", ...wanted })}`, { signal });
    return entries.toReversed();
  },
  hooks: (signal: AbortSignal): Promise<Hooks> => request("/api/webhooks", { signal }),
  /** Tells every program again what came after an event. */
  tellAgain: (after: number): Promise<unknown> => request("/api/webhooks/replay", { method: "POST", json: { after } }),
};
