// A page of somebody else with a script tag: a recording that plays there, a room that is watched there, with a key and without.
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { after, before, describe, test } from "node:test";

import { BROWSERS, launch, openPage } from "../harness/browsers.mjs";
import { idOf, makeRecording } from "../harness/folder.mjs";
import { shoot } from "../harness/look.mjs";
import { enter } from "../harness/people.mjs";
import { reelay, startServer, temporary } from "../harness/server.mjs";
import { until } from "../harness/wait.mjs";

const KEY = "0123456789abcdef0123456789abcdef";
const ID = idOf(1);
let foreign, folder, open, locked, caller;
let body = "";
/** The content security policy of the foreign page. */
let policy = null;

before(async () => {
  foreign = createServer((_, response) => {
    response.setHeader("content-type", "text/html; charset=utf-8");
    if (policy) response.setHeader("content-security-policy", policy);
    const style = policy ? "" : ' style="font: 20px serif; color: #603"';
    response.end(`<!doctype html><html lang="en"><title>A blog</title><body${style}><h1>A blog</h1>${body}<p id="after">The end</p></body></html>`);
  });
  await new Promise((resolve) => foreign.listen(0, "127.0.0.1", resolve));
  const origin = `http://127.0.0.1:${foreign.address().port}`;
  foreign.url = origin;
  folder = temporary("embed");
  await makeRecording(folder.path, { n: 1, people: [
    { name: "Ana", segments: [{ offset_ms: 0, duration_ms: 8_000, width: 320, height: 180 }] },
    { name: "Bo", segments: [{ offset_ms: 500, duration_ms: 7_500, width: 320, height: 180 }] },
  ] });
  const env = { REELAY_HTTP__ORIGINS: origin };
  const copy = temporary("embed-key");
  folder.copy = copy;
  await makeRecording(copy.path, { n: 1, people: [{ name: "Ana", segments: [{ offset_ms: 0, duration_ms: 8_000, width: 320, height: 180 }] }] });
  [open, locked, caller] = await Promise.all([
    startServer({ recordings: folder.path, env }),
    startServer({ recordings: copy.path, env: { ...env, REELAY_AUTH__KEY: KEY } }),
    launch("chromium"),
  ]);
});
after(async () => {
  await caller?.close();
  await Promise.all([open?.stop(), locked?.stop()]);
  foreign?.close();
  folder?.copy?.remove();
  folder?.remove();
});

const clocks = (page) => page.evaluate(() => window.reelayTest.clocksOf(window.reelayTest.all("video.shown")));

for (const name of BROWSERS) {
  describe(`on a page of somebody else, in ${name}`, () => {
    let browser;
    before(async () => {
      browser = await launch(name);
    });
    after(() => browser?.close());

    test("a recording plays, and seeks to the right frame", { timeout: 180_000 }, async () => {
      body = `<script type="module" src="${open.url}/embed.js"></script><reelay-player recording="${ID}" start="3"></reelay-player>`;
      const page = await openPage(browser, foreign.url, { media: "none" });
      const at = (ms) => until(`everybody at ${ms} ms`, async () => {
        const seen = await clocks(page);
        return seen.length === 2 && seen.every((clock) => clock !== null && Math.abs(clock - ms) <= 70);
      });
      await at(3_000);
      await page.evaluate(() => (window.reelayTest.all("re-media-group")[0].currentTime = 6));
      await at(6_000);
      await page.getByRole("button", { name: /play/i }).first().click();
      await until("it plays", () => page.evaluate(() => window.reelayTest.all("re-media-group")[0].currentTime > 6.5));
      await shoot(page, `embed-player-${name}`, { fullPage: true });
      const look = await page.evaluate(() => {
        const after = getComputedStyle(document.querySelector("#after"));
        const player = getComputedStyle(document.querySelector("reelay-player"));
        return { font: after.fontFamily, color: after.color, token: after.getPropertyValue("--accent"), own: player.getPropertyValue("--accent") };
      });
      assert.equal(look.font, "serif", "the page keeps its look");
      assert.equal(look.token, "", "and gets none of ours");
      assert.notEqual(look.own, "");
      assert.deepEqual(page.problems.filter((problem) => !problem.includes("/thumb/") && !problem.includes("favicon")), []);
      await page.context().close();
    });

    test("a room is watched", { timeout: 180_000 }, async () => {
      const ana = await enter(caller, open.url, `embed-${name}`, "Ana");
      body = `<script type="module" src="${open.url}/embed.js"></script><reelay-watch room="embed-${name}"></reelay-watch>`;
      const page = await openPage(browser, foreign.url, { media: "none" });
      await until("the picture moves", () => page.evaluate(() => {
        const now = Date.now() % 2 ** 24;
        return window.reelayTest.clocksOf(window.reelayTest.all("video")).some((clock) => clock !== null && now - clock >= 0 && now - clock < 3_000);
      }));
      const place = await page.evaluate(() => {
        const [stage] = window.reelayTest.all(".stage");
        const outer = document.querySelector("reelay-watch").getBoundingClientRect();
        const inner = stage.getBoundingClientRect();
        return { isInside: inner.top >= outer.top - 1 && inner.bottom <= outer.bottom + 1 && inner.right <= outer.right + 1, height: outer.height };
      });
      assert.ok(place.isInside && place.height >= 240, JSON.stringify(place));
      await shoot(page, `embed-watch-${name}`, { fullPage: true });
      assert.equal(await page.getByRole("link", { name: "Join" }).getAttribute("href"), `${open.url}/r/embed-${name}`);
      await Promise.all([page, ana].map((one) => one.context().close()));
    });

    test("on a page with a strict policy everything is shown, and nothing asks for more than the guide says", { timeout: 180_000 }, async (t) => {
      t.after(() => (policy = null));
      const room = `embed-policy-${name}`;
      const ana = await enter(caller, open.url, room, "Ana");
      // The words of docs/embed.md, and nothing else.
      policy = `default-src 'none'; script-src ${open.url}; connect-src ${open.url} ${open.url.replace("http", "ws")}; img-src ${open.url}; media-src ${open.url} blob:; style-src 'unsafe-inline'`;
      body = `<script type="module" src="${open.url}/embed.js"></script><reelay-player recording="${ID}" start="3"></reelay-player><reelay-watch room="${room}"></reelay-watch>`;
      const page = await openPage(browser, foreign.url, { media: "none" });
      await until("the recording's pictures", async () => (await clocks(page)).filter((clock) => clock !== null && Math.abs(clock - 3_000) <= 70).length === 2);
      await until("the room's picture moves", () => page.evaluate(() => {
        const now = Date.now() % 2 ** 24;
        return window.reelayTest.clocksOf(window.reelayTest.all("video")).some((clock) => clock !== null && now - clock >= 0 && now - clock < 3_000);
      }));
      // Tiles and controls lie where they belong.
      const boxes = await page.evaluate(() => window.reelayTest.all("video.shown").map((video) => video.getBoundingClientRect()).map(({ width, height }) => width > 100 && height > 60));
      assert.deepEqual(boxes, [true, true]);
      await page.getByRole("button", { name: /play/i }).first().click();
      await until("it plays", () => page.evaluate(() => window.reelayTest.all("re-media-group")[0].currentTime > 3.5));
      // The room's recording may not be listed yet when it is asked for.
      assert.deepEqual(page.problems.filter((problem) => !/\/thumb\/|favicon|404 \(Not Found\)/.test(problem)), []);
      await Promise.all([page, ana].map((one) => one.context().close()));
    });

    test("with a key a token plays it, and without one it says what is missing", { timeout: 180_000 }, async () => {
      const made = reelay(["token", "--room", "team", "--grant", "replay", "--quiet"], { cwd: folder.path, env: { ...process.env, REELAY_AUTH__KEY: KEY } });
      assert.equal(made.status, 0, made.stderr);
      const token = made.stdout.trim();
      const script = `<script type="module" src="${locked.url}/embed.js"></script>`;
      body = `${script}<reelay-player recording="${ID}" start="2" token="${token}"></reelay-player>`;
      const page = await openPage(browser, foreign.url, { media: "none" });
      await until("its picture", async () => (await clocks(page)).some((clock) => clock !== null && Math.abs(clock - 2_000) <= 70));
      body = `${script}<reelay-player recording="${ID}"></reelay-player>`;
      await page.reload();
      await page.getByText("This recording needs an access link.").waitFor();
      await page.context().close();
    });
  });
}
