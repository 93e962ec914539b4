// People in a room, as they use the page: by the words on it.
import { openPage } from "./browsers.mjs";
import { until } from "./wait.mjs";

/** Opens a room in a page of its own, turns the devices on and joins. Without a name: as a token has it. */
export async function enter(browser, base, room, name, { fragment = "", prepare, ...options } = {}) {
  const page = await openPage(browser, null, options);
  if (prepare) {
    await page.addInitScript(prepare);
  }
  await page.goto(`${base}/r/${encodeURIComponent(room)}${fragment}`, { waitUntil: "load" });
  const field = page.getByRole("textbox", { name: "Your name" });
  await page.getByRole("button", { name: /^(Join|Agree and join)|^Turn on camera/ }).first().waitFor();
  if (name !== null) {
    await field.fill(name);
  }
  // The page turns the devices on by itself if it may, or offers a button; which of them, takes it a moment to learn.
  const turnOn = page.getByRole("button", { name: "Turn on camera and microphone" });
  await until(`${name ?? room} sees themselves`, async () => {
    if (await turnOn.isVisible()) {
      await turnOn.click({ timeout: 1_000 });
    }
    return page.evaluate(() => window.reelayTest.all("video").some((video) => window.reelayTest.clockOf(video) !== null));
  });
  await page.getByRole("button", { name: /^(Join|Agree and join)$/ }).click();
  await until(`${name ?? room} is in the call`, () => page.getByRole("button", { name: /Leave/ }).isVisible());
  return page;
}

/** Waits until somebody else's picture moves in the page; gives the delay in milliseconds of what is seen. */
export async function sees(page, who, others = 1, within = 20_000) {
  return until(
    `${who} sees ${others} moving`,
    () =>
      page.evaluate((others) => {
        const { all, clockOf } = window.reelayTest;
        const now = Date.now() % 2 ** 24;
        const delays = all("video").map((video) => clockOf(video)).filter((clock) => clock !== null).map((clock) => now - clock);
        // One's own tile is there too and shows the same clock without delay.
        const fresh = delays.filter((delay) => delay >= 0 && delay < 3_000);
        return fresh.length > others && fresh;
      }, others),
    within,
  );
}

/** Waits until sound of `others` people is heard in the page. */
export async function hears(page, who, others = 1, within = 20_000) {
  return until(`${who} hears ${others}`, () => page.evaluate((others) => window.reelayTest.remotePeaks().filter((peak) => peak > 0.02).length >= others, others), within);
}
