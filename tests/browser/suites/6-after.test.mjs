// What people do with a recording afterwards: name and tag it, find it again, protect it, save all or a part of it.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";

import { BROWSERS, launch, openPage } from "../harness/browsers.mjs";
import { scan, shoot, VIEWPORTS } from "../harness/look.mjs";
import { enter, sees } from "../harness/people.mjs";
import { startServer, temporary } from "../harness/server.mjs";
import { until } from "../harness/wait.mjs";

let server, folder, saved, id;
before(async () => {
  [folder, saved] = [temporary("after"), temporary("saved")];
  server = await startServer({ recordings: folder.path });
  const browser = await launch("chromium");
  const ana = await enter(browser, server.url, "talk", "Ana");
  const bo = await enter(browser, server.url, "talk", "Bo");
  await Promise.all([sees(ana, "Ana"), sees(bo, "Bo")]);
  const recording = await until("six seconds are on disk", async () => {
    const { rooms } = await api("/api/rooms");
    return rooms[0]?.recording.duration_ms >= 6_000 && rooms[0].recording;
  }, 60_000);
  id = recording.id;
  await ana.getByRole("button", { name: "Stop recording" }).click();
  await until("it is complete", async () => (await api(`/api/recordings/${id}`)).state === "complete");
  await browser.close();
});
after(async () => {
  await server?.stop();
  folder?.remove();
  saved?.remove();
});

const api = async (path) => (await fetch(`${server.url}${path}`)).json();

for (const name of BROWSERS) {
  describe(`afterwards in ${name}`, () => {
    let browser;
    before(async () => {
      browser = await launch(name);
    });
    after(() => browser?.close());

    test("a name and tags are kept, shown and found", { timeout: 90_000 }, async () => {
      const page = await openPage(browser, `${server.url}/recordings/${id}`, { media: "none" });
      await page.getByRole("button", { name: "More", exact: true }).click();
      await page.getByRole("button", { name: "Name and tags" }).click();
      await page.getByLabel("Name", { exact: true }).fill(`Board <b>${name}</b>`);
      await page.getByRole("textbox", { name: /^Tags/ }).fill("budget, 会议");
      assert.deepEqual(await scan(page), []);
      await shoot(page, `replay-notes-${name}`);
      await page.getByRole("button", { name: "Save", exact: true }).click();
      await page.getByRole("heading", { name: `Board <b>${name}</b>` }).waitFor();
      await page.getByRole("link", { name: "会议" }).click();
      await page.getByRole("link", { name: `Board <b>${name}</b>` }).first().waitFor();
      await page.context().close();
    });

    test("what is protected cannot be deleted until that is taken back", { timeout: 90_000 }, async () => {
      const page = await openPage(browser, `${server.url}/recordings/${id}`, { media: "none" });
      const choose = async (item) => {
        await page.getByRole("button", { name: "More", exact: true }).click();
        await item.click();
      };
      await choose(page.getByRole("button", { name: "Protect from deletion" }));
      await until("it is protected", async () => (await api(`/api/recordings/${id}`)).keep === true);
      assert.equal((await fetch(`${server.url}/api/recordings/${id}`, { method: "DELETE" })).status, 409);
      await page.getByRole("button", { name: "More", exact: true }).click();
      assert.ok(await page.getByRole("button", { name: "Delete" }).isDisabled());
      await page.keyboard.press("Escape");
      await choose(page.getByRole("button", { name: "Protect from deletion" }));
      await until("it is not protected any more", async () => (await api(`/api/recordings/${id}`)).keep === false);
      await page.context().close();
    });

    test("a part is saved as a file that plays, and everything as an archive", { timeout: 90_000 }, async () => {
      const page = await openPage(browser, `${server.url}/recordings/${id}`, { media: "none" });
      const save = async (link, file) => {
        const [download] = await Promise.all([page.waitForEvent("download"), link.click()]);
        await download.saveAs(join(saved.path, file));
        return download.suggestedFilename();
      };
      await page.getByRole("button", { name: "More", exact: true }).click();
      assert.match(await save(page.getByRole("link", { name: /ZIP/ }), "all.zip"), /^talk - .*\.zip$/);
      await page.getByRole("button", { name: "More", exact: true }).click();
      await page.getByRole("button", { name: "Save a part" }).click();
      await page.getByRole("textbox", { name: "From" }).fill("later");
      await page.getByText("Times are written").waitFor();
      await page.getByRole("textbox", { name: "From" }).fill("0:01");
      await page.getByRole("textbox", { name: "To", exact: true }).fill("0:04");
      await page.getByLabel("What").selectOption({ label: "Ana" });
      await shoot(page, `replay-part-${name}`);
      assert.deepEqual(await scan(page), []);
      assert.match(await save(page.getByRole("link", { name: "Download", exact: true }), "part.webm"), /^talk - Ana - .*\.webm$/);
      await page.context().close();
      const run = (command, ...words) => spawnSync(command, words, { encoding: "utf8", timeout: 60_000 });
      assert.equal(run("ffmpeg", "-v", "error", "-xerror", "-i", join(saved.path, "part.webm"), "-f", "null", "-").stderr, "");
      const length = Number.parseFloat(run("ffprobe", "-v", "error", "-show_entries", "format=duration", "-of", "csv=p=0", join(saved.path, "part.webm")).stdout);
      assert.ok(length >= 2.9 && length <= 4.1, `${length} s`);
      assert.equal(run("python3", "-m", "zipfile", "-t", join(saved.path, "all.zip")).status, 0);
    });

    test("a part becomes a page of its own that plays, stops, repeats and is kept", { timeout: 120_000 }, async () => {
      mkdirSync(join(folder.path, id, "captions"), { recursive: true });
      writeFileSync(join(folder.path, id, "captions", "en.vtt"), "WEBVTT\n\n00:00.000 --> 00:06.000\n<v Ana>A giraffe\n\n00:00.000 --> 00:06.000\n<v Bo>A zebra\n");
      const page = await openPage(browser, `${server.url}/recordings/${id}`, { media: "none" });
      const share = async (who) => {
        await page.getByRole("button", { name: "Share", exact: true }).click();
        await page.getByLabel("From", { exact: true }).fill("0:02");
        await page.getByLabel("To", { exact: true }).fill("0:04");
        await page.getByRole("combobox", { name: "Who" }).selectOption({ label: who });
        await page.evaluate(() => {
          window.copied = null;
          Object.defineProperty(navigator, "clipboard", { value: { writeText: async (link) => void (window.copied = link) }, configurable: true });
        });
        await page.getByRole("button", { name: "Copy link to a page with only this part" }).click();
        return until("a link", () => page.evaluate(() => window.copied));
      };
      const one = await share("Ana");
      const all = await share("Everybody");
      await page.goto(one);
      await page.getByText("0:02 of", { exact: false }).waitFor();
      const tiles = () => page.evaluate(() => window.reelayTest.all("figure.tile").length);
      const now = () => page.evaluate(() => {
        const { currentTime, paused, seeking, readyState } = window.reelayTest.all("re-media-group")[0];
        return { at: currentTime, paused, seeking, readyState };
      });
      await until("its first picture", async () => (await now()).readyState >= 2 && (await page.evaluate(() => window.reelayTest.clocksOf(window.reelayTest.all("video.shown")).some((clock) => clock !== null))));
      assert.equal(await tiles(), 1, "Ana alone");
      assert.equal(await page.getByRole("link", { name: "All recordings" }).count(), 0);
      const captions = page.locator("reelay-player .captions");
      await page.getByRole("combobox", { name: "Captions" }).selectOption("en");
      await captions.getByText("A giraffe", { exact: true }).waitFor();
      assert.equal(await captions.getByText("A zebra").count(), 0, "what others say stays away");
      const from = (await now()).at;
      await page.getByRole("button", { name: "Play from the start" }).click();
      await until("it plays", async () => (await now()).at > from + 0.5);
      const end = await until("it stops", async () => { const state = await now(); return state.paused && !state.seeking && state; });
      assert.ok(end.at >= from + 1.9 && end.at < from + 3, `from ${from} to ${end.at}`);
      await page.getByRole("button", { name: "Repeat" }).click();
      await page.getByRole("button", { name: "Play from the start" }).click();
      await until("its second half", async () => (await now()).at > from + 1);
      await until("it begins anew", async () => { const state = await now(); return !state.paused && state.at < from + 1; });
      await shoot(page, `clip-${name}`);
      assert.deepEqual(await scan(page), []);
      const [download] = await Promise.all([page.waitForEvent("download"), page.getByRole("link", { name: "Download", exact: true }).click()]);
      assert.match(download.suggestedFilename(), /Ana.*\.webm$/);
      await page.goto(all);
      await until("both", async () => (await tiles()) === 2);
      await page.getByRole("combobox", { name: "Captions" }).selectOption("en");
      await captions.getByText("A zebra", { exact: true }).waitFor();
      await page.getByRole("link", { name: "Open the whole recording" }).click();
      await page.getByRole("button", { name: "Share", exact: true }).waitFor();
      await page.goto(`${server.url}/clip/${id}?from=900000`);
      await page.getByText("This part is not here.").waitFor();
      await page.context().close();
    });
  });
}

test("a movie is made on the server, with progress", { timeout: 180_000 }, async () => {
  const browser = await launch("chromium");
  const page = await openPage(browser, `${server.url}/recordings/${id}`, { media: "none" });
  await page.getByRole("button", { name: "More", exact: true }).click();
  await page.getByRole("button", { name: "Make a movie" }).click();
  assert.deepEqual(await scan(page), []);
  await shoot(page, "replay-make");
  await page.getByRole("button", { name: "Make it" }).click();
  await page.getByRole("progressbar").waitFor();
  const link = page.getByRole("link", { name: "Download", exact: true });
  await link.waitFor({ timeout: 150_000 });
  await shoot(page, "replay-made");
  const [download] = await Promise.all([page.waitForEvent("download"), link.click()]);
  await download.saveAs(join(saved.path, "movie.mp4"));
  const seen = spawnSync("ffprobe", ["-v", "error", "-show_entries", "stream=codec_type", "-of", "csv=p=0", join(saved.path, "movie.mp4")], { encoding: "utf8" });
  assert.equal(seen.stdout.trim().split("\n").sort().join(), "audio,video");
  await browser.close();
});

test("one person is erased for good, and the others play on", { timeout: 90_000 }, async () => {
  const browser = await launch("chromium");
  // Near the end both are there.
  const moment = Math.floor((await api(`/api/recordings/${id}`)).duration_ms / 1000) - 2;
  const page = await openPage(browser, `${server.url}/recordings/${id}?t=${moment}`, { media: "none" });
  const shown = () => page.evaluate(() => window.reelayTest.all("figure.tile").filter((tile) => !tile.hasAttribute("data-hidden")).length);
  await until("two people", async () => (await shown()) === 2);
  await page.getByRole("button", { name: "More", exact: true }).click();
  await page.getByRole("button", { name: "Erase a person" }).click();
  await page.getByRole("combobox", { name: "Who" }).selectOption({ label: "Bo" });
  assert.deepEqual(await scan(page), []);
  await shoot(page, "replay-erase");
  await page.getByRole("button", { name: "Erase for good" }).click();
  await until("one is left", async () => (await shown()) === 1);
  await until("and plays", () => page.evaluate(() => window.reelayTest.clocksOf(window.reelayTest.all("video.shown")).some((clock) => clock !== null)));
  const manifest = JSON.stringify(await api(`/api/recordings/${id}`));
  assert.ok(manifest.includes("Ana") && !manifest.includes("Bo\""), manifest);
  await browser.close();
});

test("menus and the page of a part fit every screen", { timeout: 120_000 }, async () => {
  for (const scheme of ["light", "dark"]) {
    const browser = await launch("chromium", { scheme });
    for (const [size, viewport] of Object.entries(VIEWPORTS)) {
      const page = await openPage(browser, `${server.url}/recordings/${id}`, { viewport, scheme, media: "none" });
      await page.getByRole("button", { name: "More", exact: true }).click();
      await shoot(page, `replay-menu-${scheme}-${size}`);
      assert.deepEqual(await scan(page), [], `${scheme} ${size}`);
      await page.keyboard.press("Escape");
      await page.getByRole("button", { name: "Share", exact: true }).click();
      await shoot(page, `replay-share-${scheme}-${size}`);
      assert.deepEqual(await scan(page), [], `share ${scheme} ${size}`);
      await page.goto(`${server.url}/clip/${id}?from=1000&to=3000`);
      await page.getByRole("button", { name: "Repeat" }).waitFor();
      await shoot(page, `clip-${scheme}-${size}`);
      assert.deepEqual(await scan(page), [], `clip ${scheme} ${size}`);
      assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), `clip ${size}: wider than the screen`);
      await page.context().close();
    }
    await browser.close();
  }
});
