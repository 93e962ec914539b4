// What the stage can do beside playing: picture in picture, full screen, pitch, silence, loudness, pictures on hover.
import assert from "node:assert/strict";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";

import { BROWSERS, launch, openPage } from "../harness/browsers.mjs";
import { idOf, makeRecording } from "../harness/folder.mjs";
import { scan, shoot } from "../harness/look.mjs";
import { startServer, temporary } from "../harness/server.mjs";
import { until } from "../harness/wait.mjs";

const ID = idOf(1);
const LENGTH = 24_000;
const ANA_HZ = 330;
let server, folder;

before(async () => {
  folder = temporary("stage");
  const [ana, bo] = ["pabcdefghia", "pabcdefghib"];
  const small = { width: 320, height: 180, fps: 10, isOurs: true };
  await makeRecording(folder.path, {
    n: 1,
    room: "stage",
    people: [
      // Two files of one person: what is set for a person and for speed has to hold for the second one as well.
      { name: "Ana", segments: [{ ...small, offset_ms: 0, duration_ms: 8_000 }, { ...small, offset_ms: 8_500, duration_ms: 15_500 }] },
      { name: "Bo", segments: [{ ...small, offset_ms: 0, duration_ms: LENGTH }] },
    ],
    events: [
      { t_ms: 500, type: "speaking", participants: [ana] },
      { t_ms: 4_000, type: "speaking", participants: [] },
      { t_ms: 16_000, type: "speaking", participants: [bo] },
      { t_ms: LENGTH, type: "speaking", participants: [] },
    ],
  });
  mkdirSync(join(folder.path, ID, "captions"));
  writeFileSync(join(folder.path, ID, "captions", "en.vtt"), "WEBVTT\n\n00:14.000 --> 00:16.000\n<v Bo>About the giraffe\n");
  const gaps = [{ kind: "video", from_ms: 500, to_ms: 1_500, cause: "loss" }];
  await makeRecording(folder.path, { n: 2, room: "modern", started_at: "2026-03-03T09:00:00Z", people: [{ name: "Ana", segments: [{ ...small, codec: "av1", offset_ms: 0, duration_ms: 6_000, gaps }] }] });
  server = await startServer({ recordings: folder.path });
});
after(async () => {
  await server?.stop();
  folder?.remove();
});

const state = (page) => page.evaluate(() => {
  const [group] = window.reelayTest.all("re-media-group");
  return { at: group.currentTime * 1000, isPaused: group.paused, rate: group.playbackRate };
});

async function openReplay(browser, path) {
  const page = await openPage(browser, `${server.url}${path}`, { media: "none" });
  await until("the player is ready", () => page.evaluate(() => {
    const [group] = window.reelayTest.all("re-media-group");
    return group && group.readyState >= 2 && !group.seeking;
  }));
  return page;
}

for (const name of BROWSERS) {
  describe(`stage in ${name}`, () => {
    let browser;
    before(async () => {
      browser = await launch(name);
    });
    after(() => browser?.close());

    test("picture in picture, by button and key, where the browser has it", { timeout: 120_000 }, async () => {
      const page = await openReplay(browser, `/recordings/${ID}?t=2`);
      const button = page.locator("media-pip-button");
      const can = await page.evaluate(() => document.pictureInPictureEnabled === true && "requestPictureInPicture" in HTMLVideoElement.prototype);
      assert.equal(await button.count(), can ? 1 : 0, "the button is there only where it works");
      console.log(`  ${name}: picture in picture ${can ? "works" : "is not offered to pages"}`);
      if (can) {
        const isOut = (wanted) => until(wanted ? "it is out" : "it is back", () => page.evaluate(() => document.pictureInPictureElement !== null).then((is) => is === wanted));
        await button.click();
        await isOut(true);
        await until("the button knows", () => button.evaluate((one) => one.hasAttribute("mediaispip")));
        await button.click();
        await isOut(false);
        await page.getByRole("slider", { name: "Position" }).focus();
        await page.keyboard.press("p");
        await isOut(true);
        await page.keyboard.press("p");
        await isOut(false);
      }
      await page.context().close();
    });

    test("full screen with its controls, and out of it again", { timeout: 120_000 }, async () => {
      const page = await openReplay(browser, `/recordings/${ID}?t=2`);
      const full = () => page.evaluate(() => {
        let one = document.fullscreenElement;
        while (one?.shadowRoot?.fullscreenElement) one = one.shadowRoot.fullscreenElement;
        return one?.className ?? null;
      });
      await page.getByRole("slider", { name: "Position" }).focus();
      await page.keyboard.press("f");
      await until("full screen", async () => (await full()) === "player");
      await until("the controls are there", () => page.evaluate(() => {
        const boxes = window.reelayTest.all(".bar, re-timeline").map((one) => one.getBoundingClientRect());
        return boxes.length > 0 && boxes.every(({ top, bottom, width }) => width > 200 && top >= 0 && bottom <= innerHeight + 1);
      }));
      await shoot(page, `replay-full-screen-${name}`);
      await page.keyboard.press("f");
      await until("it is over", async () => (await full()) === null);
      await page.locator("media-fullscreen-button").click();
      await until("full screen again", async () => (await full()) === "player");
      await page.locator("media-fullscreen-button").click();
      await until("it is over again", async () => (await full()) === null);
      await page.context().close();
    });

    test("voices keep their pitch at any speed, also in the next file", { timeout: 120_000 }, async () => {
      const page = await openReplay(browser, `/recordings/${ID}?t=2`);
      for (const [speed, to] of [["0.5", 1_000], ["3", 5_000]]) {
        await page.getByRole("combobox", { name: "Speed" }).selectOption(speed);
        await page.evaluate((to) => {
          const [group] = window.reelayTest.all("re-media-group");
          group.currentTime = to / 1000;
          return group.play();
        }, to);
        for (const file of speed === "3" ? ["pabcdefghia-camera-1.webm", "pabcdefghia-camera-2.webm"] : ["pabcdefghia-camera-1.webm"]) {
          const hz = await until(`a tone in ${file} at ${speed}×`, () => page.evaluate((file) => window.reelayTest.elementTone(window.reelayTest.all(`[data-file="${file}"]`)[0]), file));
          console.log(`  ${name} at ${speed}×, ${file}: ${hz.toFixed(0)} Hz`);
          assert.ok(Math.abs(hz - ANA_HZ) < 60, `${hz} Hz instead of ${ANA_HZ} at ${speed}×`);
        }
      }
      assert.ok(await page.evaluate(() => window.reelayTest.all("[data-file]").every((one) => one.preservesPitch)));
      await page.context().close();
    });

    test("silence is leapt over, and the timeline says where", { timeout: 120_000 }, async () => {
      const page = await openReplay(browser, `/recordings/${ID}?t=2`);
      const marked = () => page.evaluate((length) => window.reelayTest.all(".skipped").map((one) => Math.round((parseFloat(one.style.width) / 100000) * length)), LENGTH);
      assert.deepEqual(await marked(), []);
      await page.getByRole("button", { name: "Skip silence" }).click();
      await until("the timeline says where", async () => (await marked()).length === 1 && Math.abs((await marked())[0] - 11) <= 1);
      await page.evaluate(() => {
        const [group] = window.reelayTest.all("re-media-group");
        window.seen = [];
        group.addEventListener("timeupdate", () => window.seen.push(group.currentTime));
      });
      await page.getByRole("button", { name: /play/i }).first().click();
      await until("it is behind the silence", async () => (await state(page)).at > 15_600);
      await page.getByText(/0:(10|11) of silence skipped/).first().waitFor();
      const inside = await page.evaluate(() => window.seen.filter((at) => at > 7 && at < 15).length);
      assert.equal(inside, 0, "nothing of the silence was played");
      await page.context().close();
    });

    test("one person is softer than the others, in all their files", { timeout: 120_000 }, async () => {
      const page = await openReplay(browser, `/recordings/${ID}?t=2`);
      const loudness = () => page.evaluate(() => window.reelayTest.all("[data-file]").map((one) => one.volume));
      await page.getByRole("slider", { name: "Volume of Ana" }).fill("0.4");
      await until("hers alone", async () => JSON.stringify(await loudness()) === "[0.4,0.4,1]");
      await page.getByRole("slider", { name: "Position" }).focus();
      for (let i = 0; i < 10; i++) await page.keyboard.press("ArrowDown");
      await until("all are softer", async () => (await loudness()).every((one, i) => Math.abs(one - [0.2, 0.2, 0.5][i]) < 0.001));
      await page.evaluate(() => (window.reelayTest.all("re-media-group")[0].currentTime = 14));
      await until("her second file is there", () => page.evaluate(() => window.reelayTest.all('[data-file="pabcdefghia-camera-2.webm"].shown').length === 1));
      assert.ok((await loudness()).every((one, i) => Math.abs(one - [0.2, 0.2, 0.5][i]) < 0.001));
      await page.context().close();
    });

    test("pointing at the timeline shows the picture of that time", { timeout: 120_000 }, async () => {
      const page = await openReplay(browser, `/recordings/${ID}`);
      const box = await page.getByRole("slider", { name: "Position" }).boundingBox();
      for (const share of [0.5, 0.2, 0.9]) {
        await page.mouse.move(box.x + box.width * share, box.y + box.height / 2);
        const at = share * LENGTH;
        await until(`the picture of ${at} ms`, () => page.evaluate((at) => {
          const { all, clocksOf } = window.reelayTest;
          const [clock] = clocksOf(all(".preview img"));
          return clock !== null && clock !== undefined && clock <= at + 50 && clock > at - 4_100;
        }, at));
      }
      await shoot(page, `replay-hover-${name}`);
      await page.context().close();
    });

    test("a card in the library shows its picture, and plays under the pointer", { timeout: 120_000 }, async () => {
      const page = await openPage(browser, `${server.url}/recordings`, { media: "none" });
      const clocks = (selector) => page.evaluate((selector) => window.reelayTest.clocksOf(window.reelayTest.all(selector)), selector);
      const clock = async (selector) => (await clocks(selector))[0] ?? null;
      // The newest first: one of AV1, one of VP8.
      const posters = await until("posters", async () => {
        const all = await clocks("article img");
        return all.length === 2 && all.every((one) => one !== null) && all;
      });
      assert.ok(posters.every((one) => one >= 0 && one <= 3_000), `posters of ${posters} ms`);
      const types = await page.evaluate(() => Promise.all(window.reelayTest.all("article img").map(async (one) => (await fetch(one.src)).headers.get("content-type"))));
      assert.deepEqual(types, ["image/avif", "image/webp"]);
      await page.getByRole("img", { name: "Much is missing: 1 s" }).waitFor();
      await page.getByRole("img", { name: "Whole: nothing is missing" }).waitFor();
      assert.deepEqual(await scan(page), []);
      await shoot(page, `library-marks-${name}`);
      await page.locator("re-card").first().hover();
      const first = await until("a moving picture", () => clock("article video"));
      const isPart = await page.evaluate(() => { const [one] = window.reelayTest.all("article video"); return one.muted && one.getAttribute("src").includes("part=1"); });
      assert.ok(isPart, "silent, and in parts");
      await until("it moves", async () => (await clock("article video")) > first + 200);
      await page.mouse.move(0, 0);
      await until("it is gone", () => page.evaluate(() => window.reelayTest.all("article video").length === 0));
      await page.context().close();
    });

    test("what was said is found, and a click leads to that moment", { timeout: 120_000 }, async () => {
      const page = await openPage(browser, `${server.url}/recordings?q=giraffe`, { media: "none" });
      await page.getByText("About the giraffe").waitFor();
      assert.deepEqual(await scan(page), []);
      await shoot(page, `library-said-${name}`);
      await page.getByRole("link", { name: "Said at 0:14" }).click();
      await until("that moment", async () => Math.abs((await state(page)).at - 14_000) < 100);
      await page.context().close();
    });
  });
}
