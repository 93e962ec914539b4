// Watching while it records, for long: no stall, no growing memory, through a camera that is off for minutes and one
// of another size. Only with REELAY_SOAK_MINUTES. What each second showed goes to artifacts/soak.jsonl.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { appendFileSync, cpSync, mkdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { setInterval as ticks } from "node:timers/promises";

import { launch, openPage } from "../harness/browsers.mjs";
import { below, firefoxHeld, usage } from "../harness/memory.mjs";
import { enter } from "../harness/people.mjs";
import { binary, root, startServer, temporary } from "../harness/server.mjs";
import { until } from "../harness/wait.mjs";

const MINUTES = Number(process.env.REELAY_SOAK_MINUTES ?? 0);
/** What Ana's camera does when, as shares of the whole time. */
const PLAN = [[0.2, "off"], [0.35, "on"], [0.5, 256], [0.65, "off"], [0.75, "on"], [0.85, 320]];
/** Memory is looked at closely at these shares of the time. */
const CLOSELY = [1 / 12, 1 / 4, 1 / 2, 3 / 4, 1];
/** Of windows, because it is not the drawing that is tested either. */
const SMALL = { width: 640, height: 480 };
const LOG = join(root, "artifacts/soak.jsonl");

/** In the page: keeps how long it stood still although it should play. */
function keepWatch() {
  const [group] = window.reelayTest.all("re-media-group");
  const videos = window.reelayTest.all("video").filter((video) => video.dataset.file);
  const soak = { stalls: [], waits: [], elements: 0, errors: 0 };
  let since = null;
  group.addEventListener("waiting", () => {
    since ??= performance.now();
  });
  group.addEventListener("playing", () => {
    if (since !== null) soak.waits.push(Math.round(performance.now() - since));
    since = null;
  });
  for (const video of videos) {
    video.addEventListener("waiting", () => soak.elements++);
    video.addEventListener("error", () => soak.errors++);
  }
  // A stall: the least that the group was late by in one second is more than in the second before. What a busy page only
  // notices late is no stall.
  const [firstAt, firstWall] = [group.currentTime, performance.now()];
  const late = () => performance.now() - firstWall - (group.currentTime - firstAt) * 1000;
  let [before, least, count] = [Infinity, Infinity, 0];
  setInterval(() => {
    least = Math.min(least, late());
    if (++count % 10 !== 0) return;
    if (least - before > 100) soak.stalls.push({ at: Math.round(group.currentTime), ms: Math.round(least - before) });
    [before, least] = [least, Infinity];
  }, 100);
  const tenths = (seconds) => Math.round(seconds * 10) / 10;
  window.soakLook = () => ({
    at: Math.round(group.currentTime * 1000),
    /** How much less was played than time went by. */
    lost: Math.round(late()),
    isPaused: group.paused,
    places: videos.map((video) => Math.round(video.currentTime * 1000) + group.manifest.files.find(({ file }) => file === video.dataset.file).offset_ms),
    rates: videos.map((video) => Math.round(video.playbackRate * 1000) / 1000),
    ready: videos.map((video) => video.readyState),
    /** From how many seconds behind the place to how many before it, of each stretch. */
    buffered: videos.map(({ currentTime, buffered }) => Array.from({ length: buffered.length }, (_, i) => [tenths(buffered.start(i) - currentTime), tenths(buffered.end(i) - currentTime)])),
    size: videos.map((video) => `${video.videoWidth}x${video.videoHeight}`),
    frames: videos.map((video) => video.getVideoPlaybackQuality().totalVideoFrames),
    dropped: videos.map((video) => video.getVideoPlaybackQuality().droppedVideoFrames),
    ...soak,
  });
}

/** In Ana's page. */
async function anotherSize(width) {
  const sender = window.reelayTest.connections.flatMap((one) => one.getSenders()).find((one) => one.track?.kind === "video");
  const [track] = (await navigator.mediaDevices.getUserMedia({ video: { width, height: width * 0.75, isOther: true } })).getVideoTracks();
  await sender.replaceTrack(track);
}

/** Before Ana's page begins: a small camera, because it is not the encoder that is tested. */
function smallCamera() {
  const real = navigator.mediaDevices.getUserMedia;
  navigator.mediaDevices.getUserMedia = (wishes = {}) => real({ ...wishes, video: wishes.video && (wishes.video.isOther ? wishes.video : { width: 320, height: 180 }) });
}

test("watching for long while it records", { skip: MINUTES === 0, timeout: (MINUTES + 5) * 60_000 }, async () => {
  mkdirSync(join(root, "artifacts"), { recursive: true });
  rmSync(LOG, { force: true });
  const say = (what) => appendFileSync(LOG, `${JSON.stringify(what)}\n`);
  const place = temporary("soak");
  // A copy, so that somebody can build the pages meanwhile.
  cpSync(join(root, "web/dist"), join(place.path, "pages"), { recursive: true });
  const server = await startServer({ recordings: join(place.path, "recordings"), env: { REELAY_HTTP__WEB_DIR: join(place.path, "pages") } });
  const publisher = spawn(binary, ["publish", "--to", `${server.url}/whip/soak/Bo`, "--test-pattern", "--duration", `${Math.round(60 * MINUTES) + 240}s`], { stdio: "ignore" });
  process.on("exit", () => publisher.kill("SIGKILL"));
  const saved = async () => (await (await fetch(`${server.url}/api/rooms`)).json()).rooms.find(({ room }) => room === "soak")?.recording.duration_ms ?? 0;

  const started = async (name) => {
    const before = new Set(below(process.pid));
    // The mock sound card of Firefox loses time, and with it what plays by its clock; without one it plays by the system's.
    const browser = await launch(name, { firefoxPrefs: { "media.cubeb.force_mock_context": false } });
    const pid = below(process.pid).find((pid) => !before.has(pid));
    return { browser, pid, use: () => usage([pid, ...below(pid)]) };
  };
  const camera = await started("chromium");
  const ana = await enter(camera.browser, server.url, "soak", "Ana", { fps: 15, viewport: SMALL, prepare: smallCamera });
  await until("20 s are on disk", async () => (await saved()) > 20_000, 60_000);

  const viewers = [];
  for (const name of ["chromium", "firefox"]) {
    const viewer = { name, ...(await started(name)) };
    viewer.page = await openPage(viewer.browser, `${server.url}/watch/soak`, { media: "none", viewport: SMALL });
    await viewer.page.mouse.move(300, 300);
    await viewer.page.getByRole("button", { name: "See what was" }).click();
    await until("what was plays", () => viewer.page.evaluate(() => {
      const [group] = window.reelayTest.all("re-media-group");
      return group?.currentTime > 5 && !group.paused && window.reelayTest.all("video").filter((video) => video.dataset.file).every((video) => video.readyState === 4);
    }));
    if (name === "chromium") viewer.session = await viewer.page.context().newCDPSession(viewer.page);
    viewer.held = name === "firefox"
      ? () => firefoxHeld(viewer.pid)
      : async () => {
        await viewer.session.send("HeapProfiler.collectGarbage");
        return Math.round((await viewer.session.send("Runtime.getHeapUsage")).usedSize / 1e4) / 100;
      };
    viewers.push(viewer);
  }
  for (const { page } of viewers) await page.evaluate(keepWatch);
  const all = () => [["camera", camera.use()], ["server", usage([server.pid])], ...viewers.map(({ name, use }) => [name, use()])];

  const began = Date.now();
  const plan = [...PLAN];
  const closely = [...CLOSELY];
  const looks = [];
  let [second, busy] = [0, all()];
  for await (const _ of ticks(1_000)) {
    const share = (Date.now() - began) / 60_000 / MINUTES;
    second++;
    const onDisk = await saved();
    const now = { second: Math.round((Date.now() - began) / 1000), load: Number(readFileSync("/proc/loadavg", "utf8").split(" ")[0]) };
    for (const { name, page } of viewers) {
      now[name] = await page.evaluate(() => window.soakLook());
      now[name].behind = onDisk - now[name].at;
    }
    if (second % 60 === 0 || share >= closely[0]) {
      const before = busy;
      busy = all();
      now.use = Object.fromEntries(busy.map(([name, { mb, most, cpu }], i) => [name, { mb, most, cpu: Math.round((cpu - before[i][1].cpu) * 100) / 100 }]));
    }
    if (share >= closely[0]) {
      closely.shift();
      now.held = {};
      for (const { name, held } of viewers) now.held[name] = await held();
      looks.push(now);
    }
    say(now);
    if (share >= 1) break;
    const [, what] = share >= plan[0]?.[0] ? plan.shift() : [];
    if (typeof what === "number") await ana.evaluate(anotherSize, what);
    else if (what) await ana.keyboard.press("Control+e");
    if (what) say({ second: now.second, camera: what });
  }

  for (const look of looks) {
    for (const { name } of viewers) {
      const { at, lost, behind, stalls, waits, elements, errors, buffered, dropped, frames } = look[name];
      console.log(`  ${Math.round(look.second / 6) / 10} min ${name}: at ${Math.round(at / 1000)} s, ${behind} ms behind the disk, ${lost} ms lost, stalls ${JSON.stringify(stalls)}, waits ${JSON.stringify(waits)}, `
        + `${elements} waits of elements, ${errors} errors, dropped ${dropped} of ${frames}, buffered ${JSON.stringify(buffered)}, holds ${look.held[name]} MB, processes ${look.use[name].mb} MB, server ${look.use.server.mb} MB`);
    }
  }
  await Promise.all([camera, ...viewers].map(({ browser }) => browser.close()));
  publisher.kill();
  await server.stop();
  place.remove();

  const [, early] = looks;
  const last = looks.at(-1);
  for (const { name } of viewers) {
    const { stalls, waits, errors, lost, buffered } = last[name];
    assert.deepEqual({ stalls, waits, errors }, { stalls: [], waits: [], errors: 0 }, name);
    assert.ok(Math.abs(lost) < 2_000, `${name} lost ${lost} ms`);
    assert.ok(buffered.flat().every(([from, to]) => to - from < 200), `${name} keeps ${JSON.stringify(buffered)}`);
    assert.ok(last.held[name] < early.held[name] * 1.25 + 5, `${name} held ${early.held[name]} MB, then ${last.held[name]} MB`);
  }
});
