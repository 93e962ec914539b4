// The library over a folder of recordings: what is listed, found, deleted and brought back; the address tells all of it.
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";

import { BROWSERS, launch, openPage } from "../harness/browsers.mjs";
import { idOf, makeRecording } from "../harness/folder.mjs";
import { scan, shoot, VIEWPORTS } from "../harness/look.mjs";
import { reelay, startServer, temporary } from "../harness/server.mjs";
import { until } from "../harness/wait.mjs";

let server, folder;
const day = (n) => new Date(Date.UTC(2026, 2, n, 9)).toISOString().replace(".000", "");

before(async () => {
  folder = temporary("library");
  const tiny = { offset_ms: 0, duration_ms: 2_000, width: 320, height: 180 };
  const rooms = ["weekly", "budget", "会议室", "one-to-one", "standup", "interview"];
  for (const [i, room] of rooms.entries()) {
    await makeRecording(folder.path, {
      n: i + 1, room, started_at: day(i + 1), state: ["complete", "complete", "recovered", "complete", "interrupted", "complete"][i],
      people: [{ name: "Ana Müller", segments: [{ ...tiny, duration_ms: 2_000 + 500 * i, video: i !== 2 }] }, ...(i % 2 ? [{ name: "Bo", segments: [tiny] }] : [])],
      events: i === 3 ? [{ t_ms: 500, type: "chat", participant: "pabcdefghia", name: "Ana Müller", text: "about the giraffe" }] : [],
    });
  }
  server = await startServer({ recordings: folder.path });
});
after(async () => {
  await server?.stop();
  folder?.remove();
});

const cards = (page) => page.getByRole("link", { name: /^Play / });
const listed = (page, count) => until(`${count} cards`, async () => (await cards(page).count()) === count);

for (const name of BROWSERS) {
  describe(`library in ${name}`, () => {
    let browser;
    before(async () => {
      browser = await launch(name);
    });
    after(() => browser?.close());

    test("lists with posters, newest first, and opens one", { timeout: 120_000 }, async () => {
      const page = await openPage(browser, `${server.url}/recordings`, { media: "none" });
      await listed(page, 6);
      assert.match(await cards(page).first().getAttribute("aria-label"), /interview/);
      await cards(page).first().click();
      await page.getByRole("heading", { name: "interview" }).waitFor();
      await page.goBack();
      await listed(page, 6);
      // These files were not written by our muxer, so there is nothing to copy a poster from.
      assert.deepEqual(page.problems.filter((problem) => !problem.includes("/thumb/")), []);
      await page.context().close();
    });

    test("finds by room, person and chat, keeps it in the address, and says when nothing matches", { timeout: 120_000 }, async () => {
      const page = await openPage(browser, `${server.url}/recordings`, { media: "none" });
      await listed(page, 6);
      const search = page.getByRole("searchbox");
      for (const [text, count] of [["budget", 1], ["giraffe", 1], ["会", 1], ["Bo", 3]]) {
        await search.fill(text);
        await listed(page, count);
        await until("the address says it", () => new URL(page.url()).searchParams.get("q") === text);
      }
      await page.reload();
      await listed(page, 3);
      await search.fill("nothing like that");
      await page.getByText("No recording matches 'nothing like that'.").waitFor();
      await page.getByRole("button", { name: "Clear search" }).last().click();
      await listed(page, 6);
      await page.getByRole("combobox", { name: "State" }).selectOption("recovered");
      await listed(page, 1);
      await page.goto(`${server.url}/recordings?sort=longest`);
      await listed(page, 6);
      assert.match(await cards(page).first().getAttribute("aria-label"), /interview/);
      await page.goto(`${server.url}/recordings?sort=oldest`);
      await listed(page, 6);
      assert.match(await cards(page).first().getAttribute("aria-label"), /weekly/);
      await page.context().close();
    });

    test("deletes at once and brings back", { timeout: 120_000 }, async () => {
      const page = await openPage(browser, `${server.url}/recordings`, { media: "none" });
      await listed(page, 6);
      await cards(page).nth(4).hover();
      await page.getByRole("button", { name: "Delete budget" }).click();
      await listed(page, 5);
      await until("it is out of the folder", () => !existsSync(join(folder.path, idOf(2))));
      await page.getByRole("button", { name: "Undo" }).first().click();
      await listed(page, 6);
      await until("it is back in the folder", () => existsSync(join(folder.path, idOf(2), "manifest.json")));
      await page.context().close();
    });

    test("says what fills the disk, what goes, and who did what", { timeout: 120_000 }, async () => {
      const page = await openPage(browser, `${server.url}/recordings`, { media: "none" });
      await listed(page, 6);
      await page.getByRole("link", { name: / free/ }).click();
      await page.getByRole("heading", { name: "Storage", exact: true }).waitFor();
      await page.getByText("Nothing. The server's settings", { exact: false }).waitFor();
      await page.getByText("Recordings take", { exact: false }).waitFor();
      await page.getByText("No program is told.", { exact: false }).waitFor();
      for (const n of [4, 6]) await fetch(`${server.url}/api/recordings/${idOf(n)}`);
      await page.reload();
      await page.getByRole("row").filter({ hasText: "interview" }).first().waitFor();
      await page.getByLabel("Recording", { exact: true }).fill(`${server.url}/recordings/${idOf(4)}?t=3`);
      await page.getByLabel("Recording", { exact: true }).press("Enter");
      const rows = () => page.getByRole("row").filter({ hasText: "one-to-one" }).count();
      await until("the log of this one", async () => (await rows()) > 0 && (await page.getByRole("row").filter({ hasText: "interview" }).count()) === 0);
      await until("the address says it", () => new URL(page.url()).searchParams.get("recording") === idOf(4));
      await page.reload();
      await until("it is there again", async () => (await rows()) > 0);
      assert.deepEqual(await scan(page), []);
      await page.context().close();
    });

    test("works by keys alone", { timeout: 120_000 }, async () => {
      const page = await openPage(browser, `${server.url}/recordings`, { media: "none" });
      await listed(page, 6);
      await page.keyboard.press("/");
      await page.keyboard.type("sta");
      await listed(page, 1);
      await page.keyboard.press("Escape");
      await page.getByRole("searchbox").fill("");
      await listed(page, 6);
      await cards(page).first().focus();
      await page.keyboard.press("ArrowRight");
      await page.keyboard.press("x");
      await page.getByText("1 recording selected").waitFor();
      await page.keyboard.press("x");
      await page.keyboard.press("Enter");
      await page.getByRole("heading", { name: "standup" }).waitFor();
      await page.context().close();
    });
  });
}

test("an empty library says what to do", { timeout: 120_000 }, async () => {
  const place = temporary("empty");
  const other = await startServer({ recordings: place.path });
  const browser = await launch("chromium");
  const page = await openPage(browser, `${other.url}/recordings`, { media: "none" });
  await page.getByText("Recordings appear here the moment a call ends.").waitFor();
  await shoot(page, "library-empty");
  assert.deepEqual(await scan(page), []);
  await other.stop();
  await page.reload().catch(() => {});
  await browser.close();
  place.remove();
});

test("storage shows the rules, what goes by them, and which programs are told", { timeout: 180_000 }, async () => {
  const place = temporary("rules");
  const rules = { MAX_AGE: "30d", MAX_TOTAL: "1TB", MIN_FREE: "1MB", EVERY: "1h" };
  const env = Object.fromEntries(Object.entries(rules).map(([name, value]) => [`REELAY_RETENTION__${name}`, value]));
  // Nobody listens there.
  const other = await startServer({ recordings: place.path, env: { ...env, REELAY_WEBHOOKS__URLS: '["http://127.0.0.1:9/told"]', REELAY_WEBHOOKS__SECRET: "s".repeat(40) } });
  const people = [{ name: "Ana", segments: [{ offset_ms: 0, duration_ms: 1_000, width: 320, height: 180 }] }];
  for (const [i, room] of ["old", "taken-out"].entries()) await makeRecording(place.path, { n: i + 1, room, started_at: day(i + 1), people });
  assert.equal(reelay(["reindex", "--recordings", place.path]).status, 0);
  await fetch(`${other.url}/api/recordings/${idOf(2)}`, { method: "DELETE" });
  const browser = await launch("chromium");
  const page = await openPage(browser, `${other.url}/storage`, { media: "none" });
  for (const rule of ["Recordings that ended more than 30 days ago", "The oldest, when all together take more than 1 TB", "The oldest, when less than 1 MB is free"]) {
    await page.getByText(rule, { exact: true }).waitFor();
  }
  // It goes next, or it went if the look of the start came late.
  await page.getByRole("row").filter({ hasText: "Too old" }).filter({ hasText: "old" }).first().waitFor();
  await page.getByRole("row").filter({ hasText: "http://127.0.0.1:9/told" }).filter({ hasText: "tried again" }).waitFor();
  // It is shown for a few seconds only, so somebody looks from before the click on.
  await Promise.all([page.getByText("It is on its way.").first().waitFor(), page.getByRole("button", { name: "Tell again" }).click()]);
  await shoot(page, "storage-rules");
  assert.deepEqual(await scan(page), []);
  await other.stop();
  await browser.close();
  place.remove();
});

// One test for each look, so that a slow machine needs no deadline that hides a page that hangs.
const PAGES = { home: "/", storage: "/storage", library: "/recordings", "self-test": "/test", lobby: "/r/team", "watch-waiting": "/watch/nobody", "replay-missing": `/recordings/${idOf(999)}`, "not-found": "/nothing/here/at-all" };

describe("looks right, and has no finding of axe", () => {
  let browser;
  before(async () => {
    browser = await launch("chromium");
  });
  after(() => browser?.close());

  for (const scheme of ["light", "dark"]) {
    for (const [size, viewport] of Object.entries(VIEWPORTS)) {
      test(`${scheme}, ${size}`, { timeout: 180_000 }, async () => {
        for (const [name, path] of Object.entries(PAGES)) {
          const page = await openPage(browser, `${server.url}${path}`, { viewport, scheme, media: "none" });
          if (name === "library") {
            await listed(page, 6);
            await until("posters", () => page.evaluate(() => window.reelayTest.all("img").every((image) => image.complete || image.getBoundingClientRect().top > innerHeight)));
          }
          await until("something is drawn", () => page.evaluate(() => document.title !== "" && window.reelayTest.all("h1, re-empty").length > 0));
          await shoot(page, `${name}-${scheme}-${size}`);
          assert.deepEqual(await scan(page), [], `${name} ${scheme} ${size}`);
          assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), `${name} ${size}: wider than the screen`);
          await page.context().close();
        }
      });
    }
  }
});
