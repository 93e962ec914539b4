// Media on bad lines and off the beaten track: loss in both directions, three layers, VP9 and AV1, IPv6.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";

import { launch, openPage } from "../harness/browsers.mjs";
import { enter, sees } from "../harness/people.mjs";
import { drop, startServer, temporary } from "../harness/server.mjs";
import { until } from "../harness/wait.mjs";

let chromium, firefox, folder, server;
before(async () => {
  folder = temporary("media");
  [server, chromium, firefox] = await Promise.all([startServer({ recordings: folder.path }), launch("chromium"), launch("firefox")]);
});
after(async () => {
  await chromium?.close();
  await firefox?.close();
  await server?.stop();
  folder?.remove();
});

const api = async ({ url }, path) => (await fetch(`${url}${path}`)).json();
const recordingOf = async (server, room) => (await api(server, "/api/rooms")).rooms.find((one) => one.room === room)?.recording;
const onDisk = (server, room, ms) => until(`${ms} ms of ${room} are on disk`, async () => ((await recordingOf(server, room))?.duration_ms ?? 0) >= ms, 60_000);
const close = (...pages) => Promise.all(pages.map((page) => page.context().close()));

/** What the page's connections report, of one type. */
const stats = (page, type, kind = "video") =>
  page.evaluate(
    async ([type, kind]) => {
      const found = [];
      for (const connection of window.reelayTest.connections.filter((one) => one.connectionState === "connected")) {
        for (const entry of (await connection.getStats()).values()) if (entry.type === type && (entry.kind ?? kind) === kind) found.push({ ...entry });
      }
      return found;
    },
    [type, kind],
  );
const sum = (entries, field) => entries.reduce((total, entry) => total + (entry[field] ?? 0), 0);

/** Stops the recording of a room, waits for its files, and gives its manifest and folder. */
async function recorded(server, room, stop) {
  const { id } = await recordingOf(server, room);
  await stop();
  await until("it is complete", async () => (await api(server, "/api/recordings")).recordings.some((one) => one.id === id && one.state === "complete"), 30_000);
  const place = join(server.folder, id);
  return { id, place, ...JSON.parse(readFileSync(join(place, "manifest.json"), "utf8")) };
}

/** Runs a tool over a file; what it prints, errors included. */
function tool(name, ...args) {
  const { stdout, stderr, status, error } = spawnSync(name, args, { encoding: "utf8", timeout: 120_000, maxBuffer: 1 << 26 });
  if (error || status !== 0) throw error ?? new Error(`${name} ended with ${status}: ${stderr}`);
  return `${stdout}${stderr}`.trim();
}
const decodes = (path) => assert.equal(tool("ffmpeg", "-v", "error", "-xerror", "-i", path, "-f", "null", "-"), "", path);

/** Loss and delays are measured; a machine that was busy with something else may have a second look. */
async function measured(name, measure) {
  try {
    return await measure(name);
  } catch (error) {
    console.log(`  once more, because: ${error.message}`);
    return measure(`${name}-again`);
  }
}

describe("loss", () => {
  for (const [name, layers] of [["chromium", 3], ["chromium", 1], ["firefox", 1]]) {
    test(`five per cent towards the server, ${layers === 1 ? "one layer" : "three layers"} from ${name}: 720p within ten seconds, and all of it in the file`, { timeout: 300_000 }, () =>
      measured("uplink", async (room) => {
        const server = await startServer({ recordings: join(folder.path, `${room}-${name}-${layers}`), env: { REELAY_MEDIA__SIMULCAST: String(layers === 3) } });
        const ana = await enter({ chromium, firefox }[name], server.url, room, "Ana");
        const joined = Date.now();
        const sent = async () => (await stats(ana, "outbound-rtp")).toSorted((a, b) => (b.frameHeight ?? 0) - (a.frameHeight ?? 0));
        await until("720p is sent", async () => (await sent())[0]?.frameHeight === 720, 10_000);
        const took = Date.now() - joined;
        const restore = drop(`udp dport ${server.udpPort} numgen random mod 100 < 5`);
        await onDisk(server, room, 20_000);
        const dropped = restore();
        const flows = await sent();
        assert.equal(flows.length, layers);
        // The layer that was there all the time knows how many frames there were.
        const frames = Math.max(...flows.map((flow) => flow.framesSent));
        const { files, place } = await recorded(server, room, () => ana.getByRole("button", { name: "Stop recording" }).click());
        await close(ana);
        const [{ file, counters, report, gaps }] = files;
        const sizes = report.sizes.map(([at, width, height]) => `${at} ms ${width}x${height}`);
        const lost = counters.video_lost ?? 0;
        console.log(`  720p sent after ${took} ms; ${dropped} packets dropped; ${counters.packets} taken, ${counters.video_missing} of video missing at first, ${lost} lost; ${counters.video_frames} of ${frames} frames; sizes ${sizes.join(", ")}`);
        assert.ok(dropped > 30 && counters.video_missing > 10, "there was loss to be repaired");
        assert.ok(lost < counters.packets / 100, `${lost} of ${counters.packets} packets lost`);
        const high = report.sizes.findIndex(([at, , height]) => height === 720 && at <= 10_000);
        assert.ok(high >= 0, `720p within ten seconds: ${sizes}`);
        // A sender that finds the line too weak leaves its largest layer out: frames until the next keyframe are its price.
        const changes = report.sizes.length - 1 - high;
        const least = changes === 0 || layers === 1 ? 0.99 : 0.95;
        assert.ok(counters.video_frames >= (frames - 5) * least, `${counters.video_frames} of ${frames} frames recorded, ${changes} changes of size`);
        assert.deepEqual(gaps.filter(({ kind, to_ms, from_ms }) => kind === "video" && to_ms - from_ms > 1_000), []);
        decodes(join(place, file));
        await server.stop();
      }));
  }

  test("five per cent towards the viewers: the picture keeps moving in both browsers", { timeout: 300_000 }, () =>
    measured("downlink", async (name) => {
      const ana = await enter(chromium, server.url, name, "Ana");
      const viewers = await Promise.all([chromium, firefox].map((browser) => openPage(browser, `${server.url}/watch/${name}`, { media: "none" })));
      const ages = (page) => page.evaluate(() => window.reelayTest.clocksOf(window.reelayTest.all("video")).filter((clock) => clock !== null).map((clock) => (Date.now() % 2 ** 24) - clock));
      for (const page of viewers) await until("it moves", async () => (await ages(page)).some((age) => age >= 0 && age < 1_000));
      const restore = drop(`udp sport ${server.udpPort} numgen random mod 100 < 5`);
      const before = await Promise.all(viewers.map((page) => stats(page, "inbound-rtp")));
      const seen = viewers.map(() => []);
      const end = Date.now() + 15_000;
      await until("fifteen seconds were watched", async () => {
        await Promise.all(viewers.map(async (page, i) => seen[i].push(...(await ages(page)))));
        return Date.now() > end;
      }, 30_000);
      const dropped = restore();
      assert.ok(dropped > 50, "there was loss to be repaired");
      for (const [i, page] of viewers.entries()) {
        const after = await stats(page, "inbound-rtp");
        const grown = (field) => sum(after, field) - sum(before[i], field);
        const sorted = seen[i].toSorted((a, b) => a - b);
        const [p50, p95, most] = [sorted[sorted.length >> 1], sorted[Math.floor(sorted.length * 0.95)], sorted.at(-1)];
        const frozen = grown("totalFreezesDuration");
        console.log(`  ${["Chromium", "Firefox"][i]}: ${sorted.length} looks, age of the picture p50 ${p50} p95 ${p95} max ${most} ms; ${grown("framesDecoded")} frames, ${grown("nackCount")} asked for again, ${grown("retransmittedPacketsReceived")} came so, ${grown("freezeCount")} freezes of ${frozen.toFixed(2)} s, ${grown("pliCount")} keyframes asked for`);
        assert.ok(grown("nackCount") > 5, "packets were asked for again");
        if (i === 0) assert.ok(grown("retransmittedPacketsReceived") > 5, "and came by RTX");
        assert.ok(most < 2_000 && p95 < 1_000, `${p95} and ${most} ms`);
        assert.ok(frozen < 2, `${frozen} s frozen`);
      }
      await close(ana, ...viewers);
    }));
});

describe("other codecs", () => {
  /** Publishes the page's camera and microphone by WHIP, with one video codec. False when the browser cannot send it. */
  const whip = (page, name, mime) =>
    page.evaluate(
      async ([name, mime]) => {
        const all = RTCRtpSender.getCapabilities("video").codecs;
        const wanted = [...all.filter((codec) => codec.mimeType.toLowerCase() === mime), ...all.filter((codec) => codec.mimeType === "video/rtx")];
        if (wanted[0]?.mimeType.toLowerCase() !== mime) return false;
        const stream = await navigator.mediaDevices.getUserMedia({ audio: true, video: { width: 640, height: 360 } });
        const connection = new RTCPeerConnection({ bundlePolicy: "max-bundle" });
        connection.addTransceiver(stream.getAudioTracks()[0], { direction: "sendonly" });
        connection.addTransceiver(stream.getVideoTracks()[0], { direction: "sendonly" }).setCodecPreferences(wanted);
        await connection.setLocalDescription();
        await new Promise((resolve) => {
          connection.onicegatheringstatechange = () => connection.iceGatheringState === "complete" && resolve();
          if (connection.iceGatheringState === "complete") resolve();
        });
        const answer = await fetch(`/whip/${name}/Ana`, { method: "POST", headers: { "Content-Type": "application/sdp" }, body: connection.localDescription.sdp });
        if (answer.status !== 201) throw new Error(`${answer.status} ${await answer.text()}`);
        await connection.setRemoteDescription({ type: "answer", sdp: await answer.text() });
        window.whip = { connection, location: answer.headers.get("Location"), key: answer.headers.get("Authorization") };
        return true;
      },
      [name, mime],
    );

  for (const [codec, from, to] of [["vp9", "chromium", "firefox"], ["vp9", "firefox", "chromium"], ["av1", "chromium", "firefox"], ["av1", "firefox", "chromium"]]) {
    test(`${codec} from ${from} is seen, recorded and replayed`, { timeout: 240_000 }, async (t) => {
      const browsers = { chromium, firefox };
      const name = `${codec}-${from}`;
      const publisher = await openPage(browsers[from], server.url);
      if (!(await whip(publisher, name, `video/${codec}`))) {
        await close(publisher);
        t.skip(`this ${from} does not send ${codec}`);
        return;
      }
      const viewer = await openPage(browsers[to], `${server.url}/watch/${name}`, { media: "none" });
      const ages = () => viewer.evaluate(() => window.reelayTest.clocksOf(window.reelayTest.all("video")).filter((clock) => clock !== null).map((clock) => (Date.now() % 2 ** 24) - clock));
      await until(`it is seen in ${to}`, async () => (await ages()).some((age) => age >= 0 && age < 3_000), 40_000);
      await onDisk(server, name, 7_000);
      const { id, place, files } = await recorded(server, name, async () => {
        const answer = await fetch(`${server.url}/api/rooms/${name}/recording`, { method: "DELETE" });
        assert.ok(answer.ok, `${answer.status} ${await answer.text()}`);
      });
      await close(publisher, viewer);
      assert.equal(files.length, 1);
      const [{ file, video, counters }] = files;
      const path = join(place, file);
      assert.equal(video.codec, codec);
      const [line] = tool("ffprobe", "-v", "error", "-select_streams", "v", "-show_entries", "stream=codec_name,width,height,nb_read_frames", "-count_frames", "-of", "csv=p=0", path).split("\n");
      console.log(`  ${line}; ${JSON.stringify(counters)}`);
      assert.match(line, new RegExp(`^${codec},\\d+,\\d+,\\d+$`));
      assert.ok(Number(line.split(",")[3]) >= counters.video_frames, line);
      decodes(path);
      assert.match(tool("mediaconch", path), /^pass!/);
      for (const [who, browser] of Object.entries(browsers)) {
        const replay = await openPage(browser, `${server.url}/recordings/${id}`, { media: "none" });
        const clock = () => replay.evaluate(() => window.reelayTest.clocksOf(window.reelayTest.all("video.shown"))[0] ?? null);
        const first = await until(`its picture is there in ${who}`, clock);
        await replay.getByRole("button", { name: /play/i }).first().click();
        await until(`it plays in ${who}`, async () => (await clock()) - first > 1_500, 30_000);
        await replay.evaluate(() => (window.reelayTest.all("re-media-group")[0].currentTime = 1));
        await until(`it goes back in ${who}`, async () => (await clock()) !== null, 20_000);
        await close(replay);
      }
    });
  }
});

describe("IPv6", () => {
  for (const name of ["chromium", "firefox"]) {
    test(`a call in ${name} where nothing but IPv6 works`, { timeout: 180_000 }, async () => {
      const browser = { chromium, firefox }[name];
      const six = await startServer({ listen: "[::1]:0" });
      const restore = drop("meta nfproto ipv4 udp dport != 53");
      try {
        const base = `http://[::1]:${new URL(six.url).port}`;
        const ana = await enter(browser, base, "six", "Ana");
        const bo = await enter(browser, base, "six", "Bo");
        await Promise.all([sees(ana, "Ana"), sees(bo, "Bo")]);
        for (const page of [ana, bo]) {
          const pairs = (await stats(page, "candidate-pair")).filter((pair) => pair.nominated && pair.state === "succeeded");
          const ends = new Map((await stats(page, "remote-candidate")).map((end) => [end.id, end.address ?? end.ip]));
          const ways = pairs.map((pair) => ends.get(pair.remoteCandidateId));
          console.log(`  over ${ways.join(", ")}`);
          assert.ok(ways.length >= 2 && ways.every((address) => address.includes(":")), `${ways}`);
        }
        await close(ana, bo);
      } finally {
        restore();
        await six.stop();
      }
    });
  }
});
