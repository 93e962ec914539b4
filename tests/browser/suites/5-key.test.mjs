// The same with a key: every door wants a token, which comes in the link's fragment; media go by signed addresses.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { after, before, describe, test } from "node:test";

import { launch, openPage } from "../harness/browsers.mjs";
import { scan, shoot } from "../harness/look.mjs";
import { enter, hears, sees } from "../harness/people.mjs";
import { reelay, startServer, temporary } from "../harness/server.mjs";
import { until } from "../harness/wait.mjs";

const env = { REELAY_AUTH__KEY: randomBytes(32).toString("hex") };
let server, chromium, firefox, folder;
before(async () => {
  folder = temporary("key");
  [server, chromium, firefox] = await Promise.all([startServer({ recordings: folder.path, env }), launch("chromium"), launch("firefox")]);
});
after(async () => {
  await chromium?.close();
  await firefox?.close();
  await server?.stop();
  folder?.remove();
});

function token(room, grants, name) {
  const result = reelay(["token", "--room", room, "--grant", grants, "--name", name, "--quiet"], { cwd: folder.path, env: { ...process.env, ...env } });
  assert.equal(result.status, 0, result.stderr);
  return result.stdout.trim();
}
const bearer = (token) => ({ headers: { Authorization: `Bearer ${token}` } });
const get = async (path, token) => fetch(`${server.url}${path}`, token ? bearer(token) : {});

describe("with a key", () => {
  test("a stranger gets words, not data", { timeout: 120_000 }, async () => {
    const page = await openPage(chromium, `${server.url}/recordings`, { media: "none" });
    await page.getByText("This server wants an access link to show its recordings.").waitFor();
    await shoot(page, "library-locked");
    assert.deepEqual(await scan(page), []);
    assert.equal((await get("/api/recordings")).status, 401);
    await page.goto(`${server.url}/watch/team`);
    await page.getByText("Watching this room needs an access link.").waitFor();
    await page.context().close();
  });

  test("with a link people call, record and replay; with another room's link they do not", { timeout: 120_000 }, async () => {
    const host = token("team", "join,publish,subscribe,watch,record,replay,download,delete,moderate", "Ana");
    const guest = token("team", "join,publish,subscribe", "Bo");
    const other = token("elsewhere", "join,publish,subscribe,watch,replay", "Cy");
    const link = (token) => ({ fragment: `#token=${token}` });
    const ana = await enter(chromium, server.url, "team", null, link(host));
    const bo = await enter(firefox, server.url, "team", null, link(guest));
    assert.ok(!ana.url().includes("token"), "the token stays out of the address");
    await Promise.all([sees(ana, "Ana"), sees(bo, "Bo"), hears(ana, "Ana"), hears(bo, "Bo")]);
    const room = async () => (await (await get("/api/rooms", host)).json()).rooms.find((one) => one.room === "team");
    assert.deepEqual((await room()).participants.map((one) => one.name).sort(), ["Ana", "Bo"]);
    if ((await room()).recording.state === "off") {
      await ana.getByRole("button", { name: /record/i }).first().click();
    }
    await until("five seconds are on disk", async () => (await room()).recording.duration_ms >= 5_000, 30_000);
    const { id } = (await room()).recording;
    await ana.getByRole("button", { name: "Stop recording" }).click();
    await until("it is complete", async () => (await (await get(`/api/recordings/${id}`, host)).json()).state === "complete");

    const manifest = await (await get(`/api/recordings/${id}`, host)).json();
    const [{ url }] = Object.values(manifest.media);
    assert.match(url, /[?&]sig=/);
    assert.equal((await fetch(`${server.url}${url}`)).status, 200);
    assert.equal((await fetch(`${server.url}${url.replace(/sig=..../, "sig=0000")}`)).status, 401);
    assert.equal((await fetch(`${server.url}${url.split("?")[0]}`)).status, 401);
    assert.equal((await get(`/api/recordings/${id}`, other)).status, 403);
    assert.deepEqual((await (await get("/api/recordings", other)).json()).recordings, []);

    const page = await openPage(firefox, `${server.url}/recordings/${id}#token=${host}`, { media: "none" });
    await until("it plays by signed addresses", () => page.evaluate(() => window.reelayTest.clocksOf(window.reelayTest.all("video.shown")).some((clock) => clock !== null)));
    await page.getByRole("link", { name: /^Download / }).first().waitFor();
    await page.context().close();
    const stranger = await openPage(chromium, `${server.url}/recordings/${id}#token=${other}`, { media: "none" });
    await stranger.getByText("This recording needs an access link.").waitFor();
    // A page with a part needs no key of its own, and opens nothing else.
    const shared = await fetch(`${server.url}/api/recordings/${id}/share`, { method: "POST", body: JSON.stringify({ from: 1_000, to: 3_000 }), headers: { ...bearer(host).headers, "Content-Type": "application/json" } });
    const part = (await shared.json()).url;
    const visitor = await openPage(firefox, `${server.url}${part}`, { media: "none" });
    await until("it plays without a key", () => visitor.evaluate(() => window.reelayTest.clocksOf(window.reelayTest.all("video.shown")).some((clock) => clock !== null)));
    assert.equal(await visitor.getByRole("link", { name: "Open the whole recording" }).count(), 0);
    await visitor.goto(`${server.url}${part.replace("to=3000", "to=4000")}`);
    await visitor.getByText("This link does not work any more.").waitFor();
    for (const one of [ana, bo, stranger, visitor]) await one.context().close();
  });

  test("a link that only listens asks for no device and shows none", { timeout: 120_000 }, async () => {
    const page = await openPage(chromium, `${server.url}/r/team#token=${token("team", "join,subscribe", "Cy")}`);
    await page.getByText("With this link you see and hear the others.").waitFor();
    assert.equal(await page.getByRole("button", { name: /camera|microphone/i }).count(), 0);
    await page.getByRole("button", { name: "Join", exact: true }).click();
    await page.getByRole("button", { name: /Leave/ }).waitFor();
    assert.equal(await page.getByRole("button", { name: /^(Microphone|Camera)/ }).count(), 0);
    assert.deepEqual(await scan(page), []);
    await page.context().close();
  });
});
