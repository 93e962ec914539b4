// Two people in two browsers: each sees and hears the other.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { launch } from "../harness/browsers.mjs";
import { scan, shoot } from "../harness/look.mjs";
import { enter, hears, sees } from "../harness/people.mjs";
import { startServer } from "../harness/server.mjs";

let server, chromium, firefox;
before(async () => {
  [server, chromium, firefox] = await Promise.all([startServer(), launch("chromium"), launch("firefox")]);
});
after(async () => {
  await chromium?.close();
  await firefox?.close();
  await server?.stop();
});

describe("a call across browsers", () => {
  test("pictures move and sound is heard on both sides", { timeout: 90_000 }, async () => {
    const ana = await enter(chromium, server.url, "team", "Ana", { tone: 440 });
    const bo = await enter(firefox, server.url, "team", "Bo", { tone: 660 });
    await Promise.all([sees(ana, "Ana"), sees(bo, "Bo"), hears(ana, "Ana"), hears(bo, "Bo")]);
    await shoot(ana, "call-two-chromium");
    await shoot(bo, "call-two-firefox");
    assert.deepEqual(await scan(ana), []);
    await ana.context().close();
    await bo.context().close();
  });
});
