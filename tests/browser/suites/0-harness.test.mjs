// The tools themselves: network, both browsers, the burnt-in clock, the sound meter.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { BROWSERS, launch, openPage } from "../harness/browsers.mjs";
import { startServer } from "../harness/server.mjs";
import { until } from "../harness/wait.mjs";

let server;
before(async () => {
  server = await startServer();
});
after(async () => {
  await server?.stop();
});

for (const name of BROWSERS) {
  describe(name, () => {
    let browser;
    before(async () => {
      browser = await launch(name);
    });
    after(() => browser?.close());

    test("reads the clock of a synthetic camera over a connection, and hears it", { timeout: 120_000 }, async () => {
      const page = await openPage(browser, server.url);
      await page.evaluate(async () => {
        const stream = await navigator.mediaDevices.getUserMedia({ audio: true, video: true });
        const [from, to] = [new RTCPeerConnection(), new RTCPeerConnection()];
        from.onicecandidate = ({ candidate }) => candidate && to.addIceCandidate(candidate);
        to.onicecandidate = ({ candidate }) => candidate && from.addIceCandidate(candidate);
        const video = document.createElement("video");
        Object.assign(video, { id: "echo", autoplay: true, playsInline: true });
        to.ontrack = ({ streams }) => (video.srcObject = streams[0]);
        document.body.append(video);
        for (const track of stream.getTracks()) from.addTrack(track, stream);
        await from.setLocalDescription();
        await to.setRemoteDescription(from.localDescription);
        await to.setLocalDescription();
        await from.setRemoteDescription(to.localDescription);
      });
      const delay = await until("a picture with a clock", () =>
        page.evaluate(() => {
          const seen = window.reelayTest.clockOf(document.querySelector("#echo"));
          return seen !== null && (Date.now() % 2 ** 24) - seen;
        }),
      );
      assert.ok(delay >= 0 && delay < 2_000, `glass to glass ${delay} ms`);
      assert.ok((await page.evaluate(() => window.reelayTest.frames(document.querySelector("#echo"), 1_000))) > 10);
      await until("sound", () => page.evaluate(() => window.reelayTest.remotePeaks().some((peak) => peak > 0.05)));
      await page.context().close();
    });
  });
}
