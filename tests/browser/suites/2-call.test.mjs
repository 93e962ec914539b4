// A call across two browsers: seen and heard on both sides, through a reload, a dropped line and a dead network; by keys alone.
import assert from "node:assert/strict";
import { availableParallelism, loadavg } from "node:os";
import { after, before, describe, test } from "node:test";

import { launch, openPage } from "../harness/browsers.mjs";
import { scan, shoot, VIEWPORTS } from "../harness/look.mjs";
import { enter, hears, sees } from "../harness/people.mjs";
import { startLine } from "../harness/proxy.mjs";
import { startServer, udp } from "../harness/server.mjs";
import { until } from "../harness/wait.mjs";

let server, chromium, firefox;
before(async () => {
  [server, chromium, firefox] = await Promise.all([startServer(), launch("chromium"), launch("firefox")]);
});
after(async () => {
  await chromium?.close();
  await firefox?.close();
  await server?.stop();
});

const roomOf = async (name) => (await (await fetch(`${server.url}/api/rooms`)).json()).rooms.find((one) => one.room === name);
/** How old the oldest picture in the page is. */
const ageOfOldest = (page) =>
  page.evaluate(() => {
    const now = Date.now() % 2 ** 24;
    return Math.max(...window.reelayTest.clocksOf(window.reelayTest.all("video")).filter((clock) => clock !== null).map((clock) => now - clock));
  });
/** Waits until so much time has passed and nobody else moves in the page: the last picture stands, or is gone. */
const stays = (ms, page) => {
  const began = Date.now();
  return until(`nothing moves after ${ms} ms`, async () => Date.now() - began > ms && (await sees(page, "nobody", 1, 1).catch(() => null)) === null, ms + 15_000);
};
const movesAgain = async (page, who) => {
  await sees(page, `${who}, again,`, 1, 30_000);
  await until(`nothing stands still at ${who}'s`, async () => (await ageOfOldest(page)) < 1_500, 30_000);
};
const close = (...pages) => Promise.all(pages.map((page) => page.context().close()));

describe("a call across browsers", () => {
  test("pictures move and sound is heard on both sides, soon", { timeout: 180_000 }, async () => {
    const ana = await enter(chromium, server.url, "team", "Ana", { tone: 440 });
    const bo = await enter(firefox, server.url, "team", "Bo", { tone: 660 });
    await Promise.all([sees(ana, "Ana"), sees(bo, "Bo"), hears(ana, "Ana"), hears(bo, "Bo")]);
    await shoot(ana, "call-two-chromium");
    await shoot(bo, "call-two-firefox");
    assert.deepEqual(await scan(ana), []);
    await close(ana, bo);
  });

  // From one canvas to another, through camera, encoder, server, decoder and screen. Without microphones: where there is no
  // sound card, sound in Firefox goes slower than time on a busy machine, and both browsers make pictures wait for it.
  test("pictures take at most 150 ms from glass to glass", { timeout: 180_000 }, async () => {
    const ana = await enter(chromium, server.url, "glass", "Ana", { tone: 0 });
    const bo = await enter(firefox, server.url, "glass", "Bo", { tone: 0 });
    await Promise.all([sees(ana, "Ana"), sees(bo, "Bo")]);
    const delays = async (page) =>
      (await page.evaluate(async () => {
        const found = [];
        const began = performance.now();
        while (found.length < 80 && performance.now() - began < 20_000) {
          // About two pictures of 30 a second apart.
          for (let i = 0; i < 4; i++) await new Promise((resolve) => requestAnimationFrame(resolve));
          const clocks = window.reelayTest.clocksOf(window.reelayTest.all("video"));
          const now = Date.now() % 2 ** 24;
          found.push(Math.max(...clocks.filter((clock) => clock !== null).map((clock) => now - clock)));
        }
        return found;
      })).sort((a, b) => a - b);
    for (const [page, way] of [[ana, "Firefox to Chromium"], [bo, "Chromium to Firefox"]]) {
      for (let attempt = 1; ; attempt++) {
        // A machine that was busy with something else may be measured once more.
        const found = await delays(page);
        const [median, p95] = [found[found.length >> 1], found[Math.floor(found.length * 0.95)]];
        console.log(`  glass to glass, ${way}: median ${median} ms, p95 ${p95} ms, at most ${found.at(-1)} ms of ${found.length}`);
        assert.ok(found.length >= 60, `${found.length} samples`);
        // More than four are waiting for each processor: then it says nothing about us.
        const isBusy = loadavg()[0] > 4 * availableParallelism();
        if (p95 <= (isBusy ? 1_000 : 150)) break;
        assert.ok(attempt < 2, `p95 ${p95} ms, ${way}: ${found}`);
      }
    }
    await close(ana, bo);
  });

  test("mute and camera-off are shown to all, a shared screen takes the stage", { timeout: 180_000 }, async () => {
    const ana = await enter(chromium, server.url, "states", "Ana");
    const bo = await enter(firefox, server.url, "states", "Bo");
    await Promise.all([sees(ana, "Ana"), sees(bo, "Bo")]);
    await ana.getByRole("button", { name: "Microphone, turn it off" }).click();
    await until("Bo sees that Ana is muted", async () => (await roomOf("states")) && bo.getByRole("img", { name: "Muted" }).first().isVisible());
    await ana.getByRole("button", { name: "Camera, turn it off" }).click();
    await until("Ana's picture is gone at Bo's", () => bo.evaluate(() => window.reelayTest.clocksOf(window.reelayTest.all("video").filter((video) => video.checkVisibility())).filter((clock) => clock !== null).length === 1));
    await ana.getByRole("button", { name: /^Share/ }).click();
    await until("Bo sees the screen", () => bo.getByText("Ana, screen").first().isVisible());
    await until("its picture moves", () => bo.evaluate(() => window.reelayTest.all("video").some((video) => video.videoWidth >= 640 && window.reelayTest.clockOf(video) !== null)));
    await shoot(bo, "call-screen-share");
    assert.deepEqual(await scan(bo), []);
    await close(ana, bo);
  });

  test("a reload comes back into the same seat", { timeout: 180_000 }, async () => {
    const ana = await enter(chromium, server.url, "reload", "Ana");
    const bo = await enter(firefox, server.url, "reload", "Bo");
    await Promise.all([sees(ana, "Ana"), sees(bo, "Bo")]);
    const before = (await roomOf("reload")).participants.map((one) => one.id).sort();
    for (const [page, who] of [[ana, "Ana"], [bo, "Bo"]]) {
      await page.reload();
      await until(`${who} is back`, () => page.getByRole("button", { name: /Leave/ }).isVisible());
      await Promise.all([sees(ana, "Ana"), sees(bo, "Bo")]);
    }
    assert.deepEqual((await roomOf("reload")).participants.map((one) => one.id).sort(), before);
    await close(ana, bo);
  });

  test("a dropped line is said and mended, and the pictures go on meanwhile", { timeout: 180_000 }, async () => {
    const line = await startLine(new URL(server.url).host);
    const ana = await enter(chromium, line.url, "line", "Ana");
    const bo = await enter(firefox, server.url, "line", "Bo");
    await Promise.all([sees(ana, "Ana"), sees(bo, "Bo")]);
    const [seat] = (await roomOf("line")).participants.filter((one) => one.name === "Ana");
    line.cut();
    await until("it is said", () => ana.getByText("Reconnecting", { exact: false }).first().isVisible(), 10_000);
    await sees(bo, "Bo still");
    line.mend();
    await until("it is over", async () => !(await ana.getByText("Reconnecting", { exact: false }).first().isVisible()), 20_000);
    await Promise.all([sees(ana, "Ana"), sees(bo, "Bo")]);
    assert.ok((await roomOf("line")).participants.some((one) => one.id === seat.id), "the seat was kept");
    await close(ana, bo);
    await line.close();
  });

  test("a network that was gone for eight seconds comes back", { timeout: 180_000 }, async () => {
    const ana = await enter(chromium, server.url, "network", "Ana");
    const bo = await enter(firefox, server.url, "network", "Bo");
    await Promise.all([sees(ana, "Ana"), sees(bo, "Bo")]);
    udp(server.udpPort, "cut");
    try {
      await stays(8_000, ana);
    } finally {
      udp(server.udpPort, "mend");
    }
    await Promise.all([movesAgain(ana, "Ana"), movesAgain(bo, "Bo")]);
    await until("what is missing is marked at the recording", () => ana.locator("re-rec-pill .gaps").isVisible(), 30_000);
    assert.match(await ana.locator("re-rec-pill .gaps").getAttribute("title"), /gaps? in the recording\. .* s of (Ana|Bo)'s (sound|picture) did not arrive/);
    await shoot(ana, "call-gap");
    await close(ana, bo);
  });

  // Long enough that browsers give their connections up: Firefox never sends on such a one again.
  test("line and media gone for fifteen seconds: the same people see each other again", { timeout: 240_000 }, async () => {
    const line = await startLine(new URL(server.url).host);
    const ana = await enter(chromium, line.url, "offline", "Ana");
    const bo = await enter(firefox, line.url, "offline", "Bo");
    await Promise.all([sees(ana, "Ana"), sees(bo, "Bo")]);
    const seats = async () => (await roomOf("offline")).participants.map((one) => one.id).sort();
    const before = await seats();
    line.cut();
    udp(server.udpPort, "cut");
    try {
      await stays(15_000, ana);
      for (const page of [ana, bo]) {
        assert.equal(await page.evaluate(() => window.reelayTest.all("video").filter((video) => !video.hidden && video.videoWidth > 0).length), 2, "the last picture stays");
      }
    } finally {
      udp(server.udpPort, "mend");
      line.mend();
    }
    await Promise.all([movesAgain(ana, "Ana"), movesAgain(bo, "Bo")]);
    assert.deepEqual(await seats(), before, "the seats were kept");
    await close(ana, bo);
    await line.close();
  });

  test("by keys alone: join, mute, chat, stop and start the recording, leave", { timeout: 180_000 }, async () => {
    const lee = await enter(firefox, server.url, "keys", "Lee");
    const page = await openPage(chromium, `${server.url}/r/keys`);
    const reach = async (name) => {
      for (let i = 0; i < 40; i++) {
        const focused = await page.evaluate(() => {
          let element = document.activeElement;
          while (element?.shadowRoot?.activeElement) element = element.shadowRoot.activeElement;
          return element?.getAttribute("aria-label") ?? (element?.labels?.[0]?.innerText || element?.innerText) ?? "";
        });
        if (name.test(focused.trim())) {
          return;
        }
        await page.keyboard.press("Tab");
      }
      await shoot(page, "keys-lost");
      throw new Error(`the Tab key does not lead to ${name}`);
    };
    await until("a preview, because the browser has allowed it before", () => page.evaluate(() => window.reelayTest.all("video").some((video) => window.reelayTest.clockOf(video) !== null)));
    await reach(/^Your name$/);
    await page.keyboard.type("Kim");
    await page.keyboard.press("Enter");
    await until("in the call", () => page.getByRole("button", { name: /Leave/ }).isVisible());
    await page.keyboard.press("Control+d");
    await until("muted, for the others too", () => lee.getByRole("img", { name: "Muted" }).first().isVisible());
    await page.keyboard.press("Control+d");
    await until("heard again", async () => !(await lee.getByRole("img", { name: "Muted" }).first().isVisible()));
    await reach(/^Chat/);
    await page.keyboard.press("Enter");
    await reach(/message/i);
    await page.keyboard.type("said with keys");
    await page.keyboard.press("Enter");
    await lee.getByRole("button", { name: /^Chat/ }).first().click();
    await lee.getByText("said with keys", { exact: true }).waitFor();
    const recording = async () => (await roomOf("keys")).recording;
    await until("it records by itself", async () => (await recording()).state === "recording");
    const first = (await recording()).id;
    for (const [name, state] of [[/^Stop recording$/, "off"], [/^Record this call$/, "recording"], [/^Stop recording$/, "off"]]) {
      await page.keyboard.press("F2");
      await reach(name);
      await page.keyboard.press("Enter");
      await until(`${name} leads to ${state}`, async () => (await recording()).state === state);
    }
    const { recordings } = await (await fetch(`${server.url}/api/recordings`)).json();
    assert.equal(recordings.filter((one) => one.room === "keys").length, 2, `two recordings, the first ${first}`);
    await page.keyboard.press("F2");
    await reach(/Leave/);
    await page.keyboard.press("Enter");
    await page.getByText("You left the call.").waitFor();
    await until("Lee is alone", async () => (await roomOf("keys")).participants.length === 1);
    await close(page, lee);
  });
});

test("looks right on every screen", { timeout: 300_000 }, async () => {
  const bo = await enter(firefox, server.url, "screens", "Bo");
  for (const [size, viewport] of Object.entries(VIEWPORTS)) {
    const page = await enter(chromium, server.url, "screens", "Ana", { viewport });
    await sees(page, "Ana");
    await shoot(page, `call-${size}`);
    assert.deepEqual(await scan(page), [], size);
    await close(page);
  }
  await close(bo);
});
