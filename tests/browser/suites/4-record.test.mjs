// The main job, whole: a call across browsers is recorded, stopped, and plays at once with the right frames; a killed
// server loses nothing that was on disk; somebody watches live and looks back.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";

import { launch, openPage } from "../harness/browsers.mjs";
import { scan, shoot, VIEWPORTS } from "../harness/look.mjs";
import { enter, hears, sees } from "../harness/people.mjs";
import { startServer, temporary } from "../harness/server.mjs";
import { until } from "../harness/wait.mjs";

let chromium, firefox, folder, server;
before(async () => {
  folder = temporary("record");
  [server, chromium, firefox] = await Promise.all([startServer({ recordings: folder.path }), launch("chromium"), launch("firefox")]);
});
after(async () => {
  await chromium?.close();
  await firefox?.close();
  await server?.stop();
  folder?.remove();
});

const api = async (path) => (await fetch(`${server.url}${path}`)).json();
const room = async (name) => (await api("/api/rooms")).rooms.find((one) => one.room === name);

/** Waits until so many milliseconds of a room are on disk. */
const onDisk = (name, ms) => until(`${ms} ms of ${name} are on disk`, async () => ((await room(name))?.recording.duration_ms ?? 0) >= ms, 45_000);

const complete = (id) => until("it is listed as complete", async () => (await api("/api/recordings")).recordings.find((one) => one.id === id && one.state === "complete"), 15_000);

/** ffmpeg reads the whole file without a word. */
function decodes(path) {
  const result = spawnSync("ffmpeg", ["-v", "error", "-xerror", "-i", path, "-f", "null", "-"], { encoding: "utf8", timeout: 60_000 });
  return `${result.stderr}${result.status === 0 ? "" : `ended with ${result.status}`}`.trim();
}

const replayed = (page) => page.evaluate(() => {
  const [group] = window.reelayTest.all("re-media-group");
  const videos = window.reelayTest.all("video.shown");
  const clocks = window.reelayTest.clocksOf(videos);
  return group && {
    at: group.currentTime * 1000,
    isSeeking: group.seeking,
    seen: clocks,
    pictures: videos.map((video, i) => ({ file: video.dataset.file, at: video.currentTime * 1000, clock: clocks[i] })),
  };
});

/** Times of the pictures in a file, which may still grow, in ms, rising. */
function pictureTimes(file) {
  const path = [file, `${file}.part`].find(existsSync);
  const { stdout } = spawnSync("ffprobe", ["-v", "error", "-select_streams", "v", "-show_entries", "packet=pts_time", "-of", "csv=p=0", path], { encoding: "utf8", timeout: 60_000, maxBuffer: 1 << 26 });
  return stdout.split("\n").filter((line) => line !== "").map((line) => Number.parseFloat(line) * 1000);
}

/**
 * The wall clock of time 0, as each picture tells it at each moment. The clock in a picture is compared with the time
 * that this picture has in its file, so a camera that stood still on a loaded machine is no fault of the recording.
 */
async function origins(page, place, moments) {
  const { files } = JSON.parse(readFileSync(join(place, "manifest.json"), "utf8"));
  const found = [];
  for (const moment of moments) {
    // A picture that the camera blurred cannot be read: the next moment may be.
    let now;
    for (let at = moment; now === undefined; at += 250) {
      await page.evaluate((at) => {
        window.reelayTest.all("re-media-group")[0].currentTime = at / 1000;
      }, at);
      now = await until(`pictures at ${at} ms`, async () => {
        const now = await replayed(page);
        const isThere = now && !now.isSeeking && Math.abs(now.at - at) < 50 && now.seen.length > 0 && now.seen.every((clock) => clock !== null);
        if (!isThere) throw new Error(JSON.stringify(now));
        return now;
      }, at < moment + 1_000 ? 5_000 : 25_000).catch((error) => {
        if (at >= moment + 1_000) throw error;
      });
    }
    for (const picture of now.pictures) {
      const shown = pictureTimes(join(place, picture.file)).findLast((time) => time <= picture.at + 5);
      found.push(picture.clock - shown - files.find((file) => file.file === picture.file).offset_ms);
    }
  }
  return found;
}

describe("a recorded call", () => {
  test("starts, shows its pill, stops, and plays at once with the right frames", { timeout: 180_000 }, async () => {
    const ana = await enter(chromium, server.url, "talk", "Ana", { tone: 440 });
    const bo = await enter(firefox, server.url, "talk", "Bo", { tone: 660 });
    await Promise.all([sees(ana, "Ana"), sees(bo, "Bo"), hears(ana, "Ana"), hears(bo, "Bo")]);
    await until("the pill says so", () => ana.getByText("Recording", { exact: true }).first().isVisible());
    await onDisk("talk", 6_000);
    await shoot(ana, "call-recording");
    await ana.getByRole("button", { name: /chat/i }).first().click();
    await ana.getByRole("textbox", { name: /message/i }).fill("the budget & <b>more</b>");
    await ana.keyboard.press("Enter");
    await onDisk("talk", 9_000);
    const { id } = (await room("talk")).recording;
    await ana.getByRole("button", { name: "Stop recording" }).click();
    const listed = await complete(id);
    assert.equal(listed.participants.length, 2);

    const page = await openPage(chromium, `${server.url}/recordings/${id}`, { media: "none" });
    await until("it plays", async () => (await replayed(page))?.seen.length > 0);
    // Both are there from the later one's first block on.
    const from = Math.max(...(await api(`/api/recordings/${id}`)).files.map((file) => file.offset_ms));
    const places = await origins(page, join(folder.path, id), [from + 500, from + 4_000, from + 2_000, from + 1_000]);
    const spread = Math.max(...places) - Math.min(...places);
    // All pictures of both people must agree on when the recording began, within a few frames.
    assert.ok(spread <= 150, `pictures disagree by ${spread} ms: ${places}`);
    await page.getByRole("tab", { name: "Chat" }).click();
    await page.getByRole("log").getByText("the budget & <b>more</b>").waitFor();
    await shoot(page, "replay-of-call");
    assert.deepEqual(await scan(page), []);
    const fox = await openPage(firefox, `${server.url}/recordings/${id}`, { media: "none" });
    await until("it plays in Firefox", async () => (await replayed(fox))?.seen.length > 0);
    await origins(fox, join(folder.path, id), [from + 3_000, from + 1_000]);
    for (const one of [ana, bo, page, fox]) await one.context().close();

    const files = readdirSync(join(folder.path, id)).filter((name) => name.endsWith(".webm"));
    assert.equal(files.length, 2);
    for (const file of files) assert.equal(decodes(join(folder.path, id, file)), "", file);
    const library = await openPage(chromium, `${server.url}/recordings`, { media: "none" });
    await until("posters without a decoder", () => library.evaluate(() => window.reelayTest.all("img").some((image) => image.complete && image.naturalWidth > 0)));
    await shoot(library, "library-of-call");
    await library.context().close();
  });

  test("is listed as complete within a second of the stop", { timeout: 120_000 }, async () => {
    const pages = [await enter(chromium, server.url, "soon", "Ana"), await enter(firefox, server.url, "soon", "Bo")];
    const times = [];
    // A machine that was busy with something else may be measured once more.
    do {
      if (times.length > 0) assert.ok((await fetch(`${server.url}/api/rooms/soon/recording`, { method: "POST" })).ok);
      await onDisk("soon", 6_000);
      const { id } = (await room("soon")).recording;
      const stopped = performance.now();
      assert.ok((await fetch(`${server.url}/api/rooms/soon/recording`, { method: "DELETE" })).ok);
      await complete(id);
      times.push(Math.round(performance.now() - stopped));
    } while (times.at(-1) > 1_000 && times.length < 2);
    console.log(`  from the stop to the complete recording of two people: ${times.join(" ms, then ")} ms`);
    assert.ok(times.at(-1) <= 1_000, `${times} ms`);
    for (const page of pages) await page.context().close();
  });

  test("somebody watches live, counted and unseen, and finds the recording at the end", { timeout: 180_000 }, async () => {
    const watcher = await openPage(firefox, `${server.url}/watch/show`, { media: "none" });
    await watcher.getByText("Nobody is live yet.").waitFor();
    const ana = await enter(chromium, server.url, "show", "Ana");
    await until("the watcher sees it move", () => watcher.evaluate(() => {
      const clocks = window.reelayTest.clocksOf(window.reelayTest.all("video")).filter((clock) => clock !== null);
      return clocks.some((clock) => (Date.now() % 2 ** 24) - clock < 3_000);
    }), 20_000);
    assert.equal((await room("show")).watchers, 1);
    assert.equal((await room("show")).participants.length, 1);
    await onDisk("show", 1_500);
    await shoot(watcher, "watch-live");
    assert.deepEqual(await scan(watcher), []);
    await onDisk("show", 14_000);
    await watcher.mouse.move(300, 300);
    await watcher.getByRole("button", { name: "See what was" }).click();
    await until("what was, ten seconds ago", () => watcher.evaluate(() => {
      const clocks = window.reelayTest.clocksOf(window.reelayTest.all("video.shown")).filter((clock) => clock !== null);
      const ago = clocks.map((clock) => (Date.now() % 2 ** 24) - clock);
      return ago.some((ms) => ms > 4_000 && ms < 20_000);
    }));
    await shoot(watcher, "watch-back");
    await watcher.getByRole("button", { name: "Catch up at 1.5×" }).click();
    await until("it runs faster", () => watcher.evaluate(() => window.reelayTest.all("re-media-group")[0]?.playbackRate === 1.5));
    await until("it has caught up and is live by itself", () => watcher.evaluate(() => window.reelayTest.all("re-look-back").length === 0), 60_000);
    await until("live again", () => watcher.evaluate(() => window.reelayTest.clocksOf(window.reelayTest.all("video")).some((clock) => clock !== null && (Date.now() % 2 ** 24) - clock < 2_000)));
    await ana.getByRole("button", { name: "More" }).click();
    await ana.getByRole("button", { name: "See what was" }).click();
    await ana.getByText("The call goes on: others still see and hear you.").waitFor();
    await until("Ana sees what was, and is seen meanwhile", async () => {
      const [ago, now] = await Promise.all([ana, watcher].map((page) => page.evaluate(() => window.reelayTest.clocksOf(window.reelayTest.all("video").filter((video) => video.checkVisibility())).filter((clock) => clock !== null).map((clock) => (Date.now() % 2 ** 24) - clock))));
      return ago.some((ms) => ms > 4_000 && ms < 20_000) && now.some((ms) => ms < 2_000);
    });
    await shoot(ana, "call-back");
    assert.deepEqual(await scan(ana), []);
    await ana.getByRole("button", { name: /Go to live/ }).click();
    await until("the call is back", () => ana.evaluate(() => window.reelayTest.all("re-look-back").length === 0));
    await ana.getByRole("button", { name: "Stop recording" }).click();
    await ana.getByRole("button", { name: /Leave/ }).click();
    await watcher.getByRole("link", { name: "Watch the recording" }).waitFor({ timeout: 20_000 });
    await shoot(watcher, "watch-ended");
    await watcher.context().close();
    await ana.context().close();
  });

  test("plays while it grows, and on to the end when it is stopped", { timeout: 200_000 }, async () => {
    const ana = await enter(chromium, server.url, "grow", "Ana");
    const bo = await enter(firefox, server.url, "grow", "Bo");
    await Promise.all([sees(ana, "Ana"), sees(bo, "Bo")]);
    await onDisk("grow", 9_000);
    const { id } = (await room("grow")).recording;
    const pages = [];
    for (const browser of [chromium, firefox]) {
      const page = await openPage(browser, `${server.url}/recordings/${id}`, { media: "none" });
      await page.getByText("Still recording").first().waitFor();
      await until("a picture", async () => (await replayed(page))?.seen.some((clock) => clock !== null));
      const from = Math.max(...(await api(`/api/recordings/${id}`)).files.map((file) => file.offset_ms));
      const places = await origins(page, join(folder.path, id), [from + 2_000, from + 500, from + 3_000]);
      assert.ok(Math.max(...places) - Math.min(...places) <= 150, `pictures disagree: ${places}`);
      await page.getByRole("button", { name: /play/i }).first().click();
      await until("it plays past what was known when it was opened", async () => (await replayed(page)).at > from + 6_000, 20_000);
      pages.push(page);
    }
    await shoot(pages[0], "replay-growing");
    assert.deepEqual(await scan(pages[0]), []);
    await ana.getByRole("button", { name: "Stop recording" }).click();
    for (const page of pages) {
      await page.getByText("Still recording").first().waitFor({ state: "hidden", timeout: 20_000 });
      await until("it ends", () => page.evaluate(() => window.reelayTest.all("re-media-group")[0].ended), 60_000);
    }
    for (const page of [ana, bo, ...pages]) await page.context().close();
  });

  test("goes on while it grows through a camera that is off and one of another size", { timeout: 200_000 }, async () => {
    const ana = await enter(chromium, server.url, "shift", "Ana");
    await onDisk("shift", 5_000);
    const { id } = (await room("shift")).recording;
    const viewers = [];
    for (const browser of [chromium, firefox]) {
      const page = await openPage(browser, `${server.url}/recordings/${id}`, { media: "none" });
      await until("a picture", async () => (await replayed(page))?.seen.some((clock) => clock !== null));
      await page.getByRole("button", { name: /play/i }).first().click();
      viewers.push(page);
    }
    await ana.keyboard.press("Control+e");
    const offAt = (await room("shift")).recording.duration_ms;
    await onDisk("shift", offAt + 5_000);
    await ana.keyboard.press("Control+e");
    await until("a smaller camera", () => ana.evaluate(async () => {
      const sender = window.reelayTest.connections.flatMap((one) => one.getSenders()).find((one) => one.track?.kind === "video");
      const [small] = (await navigator.mediaDevices.getUserMedia({ video: { width: 256, height: 192 } })).getVideoTracks();
      await sender?.replaceTrack(small);
      return sender !== undefined;
    }));
    const onAt = (await room("shift")).recording.duration_ms;
    await onDisk("shift", onAt + 4_000);
    for (const page of viewers) {
      const behind = await until("it shows the picture of the other size", () => page.evaluate(() => {
        const [video] = window.reelayTest.all("video.shown");
        const clock = video && window.reelayTest.clockOf(video);
        const isSmall = video?.videoWidth === 256 && clock !== null;
        return isSmall && { clock, at: window.reelayTest.all("re-media-group")[0].currentTime * 1000 };
      }), 60_000).catch(async (error) => {
        throw new Error(`${error.message}: ${JSON.stringify(await replayed(page))}`);
      });
      assert.ok(behind.at > offAt + 3_000, `it jumped: ${JSON.stringify(behind)}`);
    }
    for (const page of [ana, ...viewers]) await page.context().close();
  });

  test("a killed server loses nothing that was on disk", { timeout: 180_000 }, async () => {
    const place = temporary("kill");
    const first = await startServer({ recordings: place.path });
    const ana = await enter(chromium, first.url, "crash", "Ana");
    const bo = await enter(firefox, first.url, "crash", "Bo");
    await Promise.all([sees(ana, "Ana"), sees(bo, "Bo")]);
    const { id, duration_ms } = await until("eight seconds are on disk", async () => {
      const { rooms } = await (await fetch(`${first.url}/api/rooms`)).json();
      return rooms[0]?.recording.duration_ms >= 8_000 && rooms[0].recording;
    }, 30_000);
    await first.kill();
    await ana.context().close();
    await bo.context().close();
    assert.ok(readdirSync(join(place.path, id)).some((name) => name.endsWith(".part")), "nothing was open when it was killed");

    const second = await startServer({ recordings: place.path });
    const manifest = await until("it is repaired", async () => {
      const manifest = await (await fetch(`${second.url}/api/recordings/${id}`)).json();
      return manifest.state === "recovered" && manifest;
    }, 30_000);
    assert.ok(manifest.duration_ms >= duration_ms - 2_000, `${manifest.duration_ms} of ${duration_ms} ms are left`);
    for (const { file } of manifest.files) assert.equal(decodes(join(place.path, id, file)), "", file);
    const page = await openPage(firefox, `${second.url}/recordings/${id}`, { media: "none" });
    await page.getByText("Repaired: the server stopped during this call.", { exact: false }).waitFor();
    await origins(page, join(place.path, id), [2_000, 5_000, 1_000]);
    await shoot(page, "replay-recovered");
    await page.context().close();
    await second.stop();
    place.remove();
  });

  test("the self-test passes, and leaves nothing behind", { timeout: 180_000 }, async () => {
    for (const browser of [chromium, firefox]) {
      const page = await openPage(browser, `${server.url}/test`, { viewport: VIEWPORTS.phone });
      await page.getByRole("button", { name: "Start the test" }).click();
      await page.getByText("Everything works.").first().waitFor({ timeout: 60_000 }).catch(async (error) => {
        throw new Error(`${error.message}\n${await page.evaluate(() => window.reelayTest.all("li").map((one) => one.innerText).join("\n"))}`);
      });
      await shoot(page, `self-test-${browser.browserType().name()}`);
      assert.deepEqual(await scan(page), []);
      await page.context().close();
    }
    await until("its recordings are gone", async () => (await api("/api/recordings")).recordings.every((one) => !one.room.startsWith("self-test")));
  });
});
