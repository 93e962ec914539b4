// A recording as a live source by WHEP, in both browsers: it plays, in step and with sound, and ends when it is over.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { BROWSERS, launch, openPage } from "../harness/browsers.mjs";
import { idOf, makeRecording } from "../harness/folder.mjs";
import { startServer, temporary } from "../harness/server.mjs";
import { until } from "../harness/wait.mjs";

const ID = idOf(1);
let folder, server;
const browsers = [];
before(async () => {
  folder = temporary("playback");
  await makeRecording(folder.path, { n: 1, people: [{ name: "Ana", segments: [{ offset_ms: 0, duration_ms: 150_000, fps: 5, width: 320, height: 180 }] }] });
  server = await startServer({ recordings: folder.path });
  browsers.push(...(await Promise.all(BROWSERS.map((name) => launch(name)))));
  await until("it is listed", async () => (await fetch(`${server.url}/api/recordings/${ID}`)).ok);
});
after(async () => {
  await Promise.all(browsers.map((browser) => browser.close()));
  await server?.stop();
  folder?.remove();
});

/** Opens a page that views by WHEP with what every browser has, and nothing of ours. */
async function view(browser, query) {
  const page = await openPage(browser, `${server.url}/recordings`, { media: "none" });
  await page.evaluate(
    async (path) => {
      const connection = new RTCPeerConnection({ bundlePolicy: "max-bundle" });
      const video = Object.assign(document.createElement("video"), { id: "whep", muted: true, autoplay: true, srcObject: new MediaStream() });
      document.body.replaceChildren(video);
      connection.ontrack = ({ track }) => video.srcObject.addTrack(track);
      for (const kind of ["audio", "video"]) connection.addTransceiver(kind, { direction: "recvonly" });
      await connection.setLocalDescription();
      await new Promise((resolve) => {
        connection.onicegatheringstatechange = () => connection.iceGatheringState === "complete" && resolve();
        if (connection.iceGatheringState === "complete") resolve();
      });
      const answer = await fetch(path, { method: "POST", headers: { "Content-Type": "application/sdp" }, body: connection.localDescription.sdp });
      if (answer.status !== 201) throw new Error(`${answer.status} ${await answer.text()}`);
      await connection.setRemoteDescription({ type: "answer", sdp: await answer.text() });
      window.whep = { connection, location: answer.headers.get("Location") };
    },
    `/api/recordings/${ID}/whep${query}`,
  );
  return page;
}

/** The clock in the picture, and when it was read. */
const look = (page) => page.evaluate(() => ({ clock: window.reelayTest.clockOf(document.querySelector("#whep")), now: performance.timeOrigin + performance.now() }));
const shows = (page) => until("a picture", async () => {
  const seen = await look(page);
  return seen.clock !== null && seen;
}, 40_000);

test("a recording plays to both browsers at once, by one clock, and with sound", { timeout: 180_000 }, async () => {
  const pages = [await view(browsers[0], "?t=2500")];
  const first = await shows(pages[0]);
  assert.ok(first.clock >= 1_900, `it begins at the keyframe before: ${first.clock} ms`);
  pages.push(await view(browsers[1], "?t=2500"));
  await shows(pages[1]);
  for (const [i, page] of pages.entries()) await until(`sound in ${BROWSERS[i]}`, () => page.evaluate(() => window.reelayTest.remotePeaks().some((peak) => peak > 0.05)));
  // Where each would stand at one instant: on a busy machine a picture may be late, but never early.
  const begins = pages.map(() => -Infinity);
  for (let looks = 0; looks < 15; looks++) {
    for (const [i, page] of pages.entries()) {
      const { clock, now } = await look(page);
      if (clock !== null) begins[i] = Math.max(begins[i], clock - now);
    }
  }
  const apart = Math.abs(begins[0] - begins[1]);
  const drift = begins[0] - (first.clock - first.now);
  console.log(`  ${BROWSERS.join(" and ")} ${apart.toFixed(0)} ms apart; ${drift.toFixed(0)} ms from the pace of the first look`);
  assert.ok(apart < 1_000, `${apart} ms apart`);
  assert.ok(Math.abs(drift) < 1_500, `${drift} ms faster or slower than time`);
  assert.equal(await pages[0].evaluate(async () => (await fetch(window.whep.location, { method: "DELETE" })).status), 200);
  const { clock } = await shows(pages[1]);
  await until("the other one plays on", async () => (await look(pages[1])).clock > clock + 500);
  await Promise.all(pages.map((page) => page.context().close()));
});

test("it ends with the recording", { timeout: 120_000 }, async () => {
  const page = await view(browsers[0], "?t=146500");
  const { clock } = await shows(page);
  assert.ok(clock >= 145_900, `${clock} ms`);
  await until("nothing plays any more", async () => /^media_rooms 0$/m.test(await (await fetch(`${server.url}/metrics`)).text()), 40_000);
  assert.equal(await page.evaluate(async () => (await fetch(window.whep.location, { method: "DELETE" })).status), 404);
  await page.context().close();
});
