// Recordings made with ffmpeg, in the layout of recordings/README.md, with a clock burnt into each picture
// and a beep at each whole second. The clock is the time since the recording began.
import { spawn, spawnSync } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { copyFileSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const BITS = 24;
const CELLS = BITS + 2;

/** A recording id that sorts by time, from a number: handy in tests. */
export function idOf(n) {
  return `01920000-0000-7000-8000-${n.toString(16).padStart(12, "0")}`;
}

/** One frame: grey ground with a bar that tells people apart, and the clock on top (see in-page.mjs). */
function paint(frame, width, height, ms, shade, noise) {
  frame.fill(shade);
  noise?.copy(frame, Math.floor(height * 0.35) * width, ms % 997, (ms % 997) + Math.floor(height * 0.4) * width);
  const bar = Math.floor(height / 6);
  const x = Math.floor((ms / 10) % (width - 40));
  for (let y = Math.floor(height * 0.8); y < height * 0.9; y++) {
    frame.fill(235, y * width + x, y * width + x + 40);
  }
  for (let i = 0; i < CELLS; i++) {
    const bit = i === 0 ? 1 : i === 1 ? 0 : (ms >> (BITS - 1 - (i - 2))) & 1;
    const from = Math.floor((i * width) / CELLS);
    const to = Math.floor(((i + 1) * width) / CELLS);
    for (let y = 0; y < bar; y++) {
      frame.fill(bit ? 235 : 16, y * width + from, y * width + to);
    }
  }
}

const ENCODERS = {
  vp8: ["-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "12"],
  av1: ["-c:v", "libaom-av1", "-usage", "realtime", "-cpu-used", "8"],
};

/**
 * Writes one segment: VP8 (or AV1) with a key frame every two seconds, Opus, or one of the two. With `copyOf` it is that file
 * again, and with `repeats` it is played so many times on end. A grey picture needs next to no bits; with a `bitrate`
 * there is noise in it that takes as many as one of a real room. With `isOurs` it is laid out so that the server can copy
 * pictures out of it.
 */
export async function makeSegment(path, { duration_ms, offset_ms = 0, video = true, audio = true, width = 640, height = 360, fps = 30, shade = 90, tone = 440, bitrate, copyOf, repeats = 1, isOurs = false, codec = "vp8" }) {
  if (copyOf) {
    copyFileSync(copyOf, path);
    return;
  }
  if (repeats > 1) {
    const once = `${path}.once.webm`;
    await makeSegment(once, { duration_ms, offset_ms, video, audio, width, height, fps, shade, tone, bitrate });
    const { status, stderr } = spawnSync("ffmpeg", ["-v", "error", "-y", "-stream_loop", String(repeats - 1), "-i", once, "-c", "copy", "-cues_to_front", "1", "-reserve_index_space", "65536", "-f", "webm", path], { encoding: "utf8", timeout: 120_000 });
    rmSync(once);
    if (status !== 0) {
      throw new Error(`ffmpeg ended with ${status}: ${stderr}`);
    }
    return;
  }
  const seconds = duration_ms / 1000;
  const inputs = [];
  if (video) {
    inputs.push("-f", "rawvideo", "-pix_fmt", "yuv420p", "-s", `${width}x${height}`, "-r", String(fps), "-i", "pipe:0");
  }
  if (audio) {
    const beep = `aevalsrc='0.4*sin(2*PI*${tone}*t)*lt(mod(t+${offset_ms / 1000}\\,1)\\,0.5)':s=48000:d=${seconds}`;
    inputs.push("-f", "lavfi", "-i", beep);
  }
  const child = spawn(
    "ffmpeg",
    ["-v", "error", "-y", ...inputs, ...ENCODERS[codec], "-b:v", bitrate ?? "600k", "-g", String(2 * fps), "-c:a", "libopus", "-b:a", "32k",
      "-t", String(seconds), "-cues_to_front", "1", "-reserve_index_space", "65536", "-f", "webm", path],
    { stdio: ["pipe", "inherit", "inherit"] },
  );
  const ended = new Promise((resolve, reject) => {
    child.on("exit", (code) => (code === 0 ? resolve() : reject(new Error(`ffmpeg ended with ${code}`))));
    child.on("error", reject);
  });
  child.stdin.on("error", () => {});
  if (video) {
    const size = width * height;
    const noise = bitrate && randomBytes(size + 1000);
    for (let n = 0; n < Math.ceil(seconds * fps); n++) {
      const frame = Buffer.alloc(size * 1.5, 128);
      paint(frame.subarray(0, size), width, height, Math.round(offset_ms + (n * 1000) / fps), shade, noise);
      if (!child.stdin.write(frame)) {
        await Promise.race([new Promise((resolve) => child.stdin.once("drain", resolve)), ended]);
      }
    }
  }
  child.stdin.end();
  await ended;
  if (isOurs) {
    moveClusters(path);
  }
}

/** Where our recorder puts the first cluster: from there on the server finds keyframes for its pictures. */
const FIRST_CLUSTER_AT = 4096 + 65_536;
const CLUSTER = Buffer.from([0x1f, 0x43, 0xb6, 0x75]);

/** Writes the file again with its first cluster where ours has it. */
function moveClusters(path) {
  const before = `${path}.before.webm`;
  for (let reserved = 65_536, left = 2; ; left--) {
    const at = readFileSync(path).indexOf(CLUSTER);
    if (at === FIRST_CLUSTER_AT) {
      return;
    }
    if (left === 0) {
      throw new Error(`the first cluster of ${path} is at ${at}`);
    }
    reserved += FIRST_CLUSTER_AT - at;
    copyFileSync(path, before);
    const { status, stderr } = spawnSync("ffmpeg", ["-v", "error", "-y", "-i", before, "-c", "copy", "-cues_to_front", "1", "-reserve_index_space", String(reserved), "-f", "webm", path], { encoding: "utf8", timeout: 60_000 });
    rmSync(before);
    if (status !== 0) {
      throw new Error(`ffmpeg ended with ${status}: ${stderr}`);
    }
  }
}

/**
 * Writes a whole recording. `people` = [{name, person?, segments: [{source?, offset_ms, duration_ms, video?, audio?, gaps?}]}].
 * Gives the manifest.
 */
export async function makeRecording(folder, { n, room = "team", state = "complete", started_at = "2026-03-02T09:00:00Z", duration_ms, people, events = [], extra = {} }) {
  const id = idOf(n);
  const place = join(folder, id);
  mkdirSync(place, { recursive: true });
  const participants = [];
  const files = [];
  for (const [index, human] of people.entries()) {
    const participant = `p${"abcdefghij".slice(0, 9)}${"abcdefghijklmnopqrstuvwxyz"[index]}`;
    const first = Math.min(...human.segments.map((segment) => segment.offset_ms));
    const last = Math.max(...human.segments.map((segment) => segment.offset_ms + segment.duration_ms * (segment.repeats ?? 1)));
    participants.push({ id: participant, person: human.person ?? `person-${index}`, name: human.name, joined_ms: first, left_ms: last });
    const counts = {};
    for (const segment of human.segments) {
      const source = segment.source ?? "camera";
      counts[source] = (counts[source] ?? 0) + 1;
      const file = `${participant}-${source}-${counts[source]}.webm`;
      const path = join(place, file);
      const { video = true, audio = true, width = 640, height = 360 } = segment;
      // `has_ms`: a file that ends before the manifest says.
      await makeSegment(path, { shade: 60 + ((25 * index) % 150), tone: 330 + 110 * index, ...segment, duration_ms: segment.has_ms ?? segment.duration_ms });
      files.push({
        file, participant, person: participants.at(-1).person, name: human.name, source,
        offset_ms: segment.offset_ms, duration_ms: segment.duration_ms * (segment.repeats ?? 1),
        video: video ? { codec: segment.codec ?? "vp8", width, height } : null,
        audio: audio ? { codec: "opus", channels: 1 } : null,
        bytes: statSync(path).size, sha256: createHash("sha256").update(readFileSync(path)).digest("hex"), hashed_at: started_at,
        close_reason: "stopped", gaps: segment.gaps ?? [], counters: segment.counters ?? {},
      });
    }
  }
  const length = duration_ms ?? Math.max(...files.map((file) => file.offset_ms + file.duration_ms));
  const manifest = {
    version: 1, id, room, state, started_at, ended_at: new Date(Date.parse(started_at) + length).toISOString(), duration_ms: length,
    participants, files, ...extra,
  };
  writeFileSync(join(place, "manifest.json"), JSON.stringify(manifest, null, 2));
  writeFileSync(join(place, "events.jsonl"), events.map((event) => `${JSON.stringify({ at: started_at, ...event })}\n`).join(""));
  return manifest;
}
