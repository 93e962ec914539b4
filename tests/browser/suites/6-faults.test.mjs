// What can go wrong while somebody watches a recording: the page says it, keeps what it has, and goes on when it can.
import assert from "node:assert/strict";
import { openSync, readFileSync, statSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";

import { BROWSERS, launch, openPage } from "../harness/browsers.mjs";
import { idOf, makeRecording } from "../harness/folder.mjs";
import { startLine } from "../harness/proxy.mjs";
import { startServer, temporary } from "../harness/server.mjs";
import { until } from "../harness/wait.mjs";

const MBIT = 125_000;
const HOSTILE = "<img src=x onerror=alert(1)>";
const LENGTH = 48_000;
const [DAMAGED, LONG, FIRST_GONE] = [idOf(1), idOf(2), 10];
let folder, server, line;

before(async () => {
  folder = temporary("faults");
  const short = { offset_ms: 0, duration_ms: 6_000, width: 320, height: 180 };
  const long = { offset_ms: 0, duration_ms: LENGTH, fps: 10, width: 320, height: 180, bitrate: "600k" };
  // The first file of a recording that is made already, once more.
  const again = (segment, id) => ({ ...segment, copyOf: join(folder.path, id, "pabcdefghia-camera-1.webm") });
  await makeRecording(folder.path, {
    n: 1, people: [{ name: "Ana", segments: [short] }, { name: "Bo", segments: [again(short, DAMAGED)] }, { name: "Cleo", segments: [again(short, DAMAGED)] }],
    events: [{ t_ms: 100, type: "chat", participant: "pabcdefghia", name: HOSTILE, text: HOSTILE }],
  });
  await makeRecording(folder.path, { n: 2, people: [{ name: "Ana", segments: [long] }] });
  for (const [i] of BROWSERS.entries()) await makeRecording(folder.path, { n: FIRST_GONE + i, people: [{ name: "Ana", segments: [again(long, LONG)] }] });
  // Bo's file is nothing but noise behind its name, in Cleo's a disk has lost a part.
  const file = (who) => join(folder.path, DAMAGED, `pabcdefghi${who}-camera-1.webm`);
  writeFileSync(file("b"), Buffer.alloc(statSync(file("b")).size, 0xab));
  const size = statSync(file("c")).size;
  writeSync(openSync(file("c"), "r+"), Buffer.alloc(20_000, 0xab), 0, 20_000, Math.floor(size / 2));
  writeFileSync(join(folder.path, DAMAGED, "notes.json"), JSON.stringify({ title: HOSTILE, tags: [HOSTILE.slice(0, 40)] }));
  server = await startServer({ recordings: folder.path });
  line = await startLine(server.listen);
  await until("all are listed", async () => (await (await fetch(`${server.url}/api/recordings`)).json()).recordings.length === 2 + BROWSERS.length);
});
after(async () => {
  await line?.close();
  await server?.stop();
  folder?.remove();
});

const clocks = (page) => page.evaluate(() => {
  const [group] = window.reelayTest.all("re-media-group");
  return { at: group.currentTime * 1000, isPaused: group.paused, isSeeking: group.seeking, isEnded: group.ended, seen: window.reelayTest.clocksOf(window.reelayTest.all("video.shown")) };
});
const seek = (page, ms) => page.evaluate((ms) => void (window.reelayTest.all("re-media-group")[0].currentTime = ms / 1000), ms);
const play = (page) => page.getByRole("button", { name: /play/i }).first().click();
/** Nothing is said to be wrong; that a line is slow may be said. */
const isAlone = async (page) => (await page.evaluate(() => window.reelayTest.all("re-notice").filter((one) => one.getAttribute("kind") !== "info").length)) === 0;
/** Waits for the frame of `at`; pictures come ten times a second. */
const shows = (page, at, within = 30_000) => until(`the frame of ${at} ms`, async () => {
  const { seen, isSeeking } = await clocks(page);
  return !isSeeking && seen.length > 0 && seen.every((clock) => clock !== null && Math.abs(clock - at) <= 150);
}, within);

/** Opens a recording over the line, which then lets hardly anything more through. */
async function openSlowly(browser, id) {
  line.rate = Infinity;
  const page = await openPage(browser, `${line.url}/api/config`, { media: "none" });
  // The whole file would take a minute.
  line.rate = MBIT / 2;
  await page.goto(`${line.url}/recordings/${id}`);
  await shows(page, 0, 45_000);
  line.rate = MBIT / 12;
  return page;
}

for (const [i, name] of BROWSERS.entries()) {
  describe(`faults in ${name}`, () => {
    let browser;
    before(async () => {
      browser = await launch(name);
    });
    after(async () => {
      line.rate = Infinity;
      await browser?.close();
    });

    test("a file that is noise is named, one that is damaged in the middle holds up nobody, and hostile words are words", { timeout: 120_000 }, async () => {
      const page = await openPage(browser, `${server.url}/recordings/${DAMAGED}`, { media: "none" });
      // The page names the last one that it met; not every browser calls Cleo's broken.
      await page.getByText(/(Bo|Cleo)'s file cannot be played. The others go on./).waitFor();
      await page.getByRole("heading", { name: HOSTILE }).waitFor();
      await play(page);
      const ana = () => page.evaluate(() => window.reelayTest.clocksOf(window.reelayTest.all("video.shown").filter((video) => video.dataset.file.startsWith("pabcdefghia")))[0]);
      await until("Ana is seen to the end", async () => (await ana()) >= 5_800, 60_000);
      await until("it ends", async () => (await clocks(page)).isEnded, 60_000);
      await page.getByRole("tab", { name: "Chat" }).click();
      await page.getByRole("log").getByText(HOSTILE, { exact: true }).first().waitFor();
      assert.equal(await page.evaluate(() => window.reelayTest.all("img[src=x]").length), 0);
      await page.goto(`${server.url}/recordings`);
      await page.getByText(HOSTILE).first().waitFor();
      assert.equal(await page.evaluate(() => window.reelayTest.all("img[src=x]").length), 0);
      await page.context().close();
    });

    test("over a line of 1 Mbit/s it begins soon, plays, and seeks, and nothing is called broken", { timeout: 180_000 }, async () => {
      line.rate = MBIT;
      const began = Date.now();
      const page = await openPage(browser, `${line.url}/recordings/${LONG}`, { media: "none" });
      await shows(page, 0, 60_000);
      console.log(`  first picture after ${Date.now() - began} ms`);
      await play(page);
      await until("it plays", async () => (await clocks(page)).seen.some((clock) => clock > 4_000), 60_000);
      const asked = Date.now();
      await seek(page, 38_000);
      await until("it plays on from there", async () => (await clocks(page)).seen.some((clock) => clock > 39_000), 60_000);
      console.log(`  a second behind the seek after ${Date.now() - asked} ms`);
      assert.ok(await isAlone(page), "nothing is called broken");
      await page.context().close();
    });

    test("deleted while somebody watches: it is said, and what is loaded stays", { timeout: 180_000 }, async () => {
      const id = idOf(FIRST_GONE + i);
      const page = await openSlowly(browser, id);
      assert.equal((await fetch(`${server.url}/api/recordings/${id}`, { method: "DELETE" })).status, 200);
      // Otherwise the page's question waits for a minute behind what was asked for before.
      line.rate = MBIT / 2;
      await seek(page, LENGTH - 5_000);
      await page.getByText("This recording was deleted just now. What is loaded can still be seen.").waitFor({ timeout: 60_000 });
      await page.context().close();
    });

    test("the server starts again in the middle: it is said, and playback goes on by itself", { timeout: 240_000 }, async () => {
      const page = await openSlowly(browser, LONG);
      await play(page);
      await until("it plays", async () => (await clocks(page)).at > 300, 60_000);
      await server.kill();
      line.cut();
      line.rate = Infinity;
      await seek(page, 40_000);
      await page.getByText("The server does not answer", { exact: false }).first().waitFor({ timeout: 60_000 });
      server = await startServer({ recordings: folder.path, listen: server.listen });
      line.mend();
      await until("it plays from where it was sent to", async () => (await clocks(page)).seen.some((clock) => clock > 40_300), 60_000);
      await until("nothing is said any more", () => isAlone(page), 60_000);
      await page.context().close();
    });
  });
}

test("a download that broke off goes on where it was, also after the server started again", { timeout: 120_000 }, async () => {
  line.rate = Infinity;
  const manifest = await (await fetch(`${server.url}/api/recordings/${LONG}`)).json();
  const [{ file }] = manifest.files;
  const url = (base) => `${base}${manifest.media[file].download_url}`;
  line.rate = MBIT;
  const first = await fetch(url(line.url));
  const etag = first.headers.get("etag");
  const reader = first.body.getReader();
  const got = [];
  while (got.reduce((sum, piece) => sum + piece.length, 0) < 50_000) got.push((await reader.read()).value);
  await server.kill();
  await reader.cancel().catch(() => {});
  server = await startServer({ recordings: folder.path, listen: server.listen });
  const begun = Buffer.concat(got);
  const rest = await fetch(url(server.url), { headers: { Range: `bytes=${begun.length}-`, "If-Range": etag } });
  assert.equal(rest.status, 206);
  const whole = Buffer.concat([begun, Buffer.from(await rest.arrayBuffer())]);
  assert.ok(whole.equals(readFileSync(join(folder.path, LONG, file))));
});
