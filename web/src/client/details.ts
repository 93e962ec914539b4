// The numbers behind a call, for "Connection details".

export interface Details {
  state: string;
  /** How the packets travel: `host → host, udp`. */
  path: string;
  rtt_ms: number | null;
  flows: { mid: string; kind: string; codec: string; size: string; fps: number | null; lost: number; bytes: number }[];
}

/** Reads one connection. */
export async function detailsOf(connection: RTCPeerConnection): Promise<Details> {
  const entries = new Map<string, Record<string, unknown>>();
  (await connection.getStats()).forEach((entry: Record<string, unknown>, id: string) => entries.set(id, entry));
  const all = [...entries.values()];
  const pair = all.find((one) => one["type"] === "candidate-pair" && (one["nominated"] === true || one["selected"] === true) && one["state"] === "succeeded");
  const end = (id: unknown): Record<string, unknown> | undefined => (typeof id === "string" ? entries.get(id) : undefined);
  const [local, remote] = [end(pair?.["localCandidateId"]), end(pair?.["remoteCandidateId"])];
  const rtt = pair?.["currentRoundTripTime"];
  return {
    state: connection.connectionState,
    path: local && remote ? `${text(local["candidateType"])} → ${text(remote["candidateType"])}, ${text(local["protocol"])}` : "–",
    rtt_ms: typeof rtt === "number" ? Math.round(rtt * 1000) : null,
    flows: all
      .filter((one) => one["type"] === "inbound-rtp" || one["type"] === "outbound-rtp")
      .map((one) => ({
        mid: text(one["mid"]),
        kind: text(one["kind"]),
        codec: text(end(one["codecId"])?.["mimeType"]).replace(/^\w+\//, ""),
        size: typeof one["frameWidth"] === "number" ? `${one["frameWidth"]}×${text(one["frameHeight"])}` : "",
        fps: typeof one["framesPerSecond"] === "number" ? Math.round(one["framesPerSecond"]) : null,
        lost: typeof one["packetsLost"] === "number" ? one["packetsLost"] : 0,
        bytes: Number(one["bytesReceived"] ?? one["bytesSent"] ?? 0),
      })),
  };
}

function text(value: unknown): string {
  return typeof value === "string" || typeof value === "number" ? String(value) : "";
}
