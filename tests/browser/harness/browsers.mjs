// Chromium and Firefox behind one API. Why each flag: they are the ones that made both work without
// a sound card, a display and a camera.
import { existsSync } from "node:fs";
import { join } from "node:path";
import { afterEach } from "node:test";

import { chromium, firefox } from "playwright-core";

import { inPage } from "./in-page.mjs";
import { root } from "./server.mjs";
import { bounded } from "./wait.mjs";

export const BROWSERS = ["chromium", "firefox"];

const CHROMIUM_FLAGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--use-fake-device-for-media-stream=fps=30",
  "--use-fake-ui-for-media-stream",
  "--allow-loopback-in-peer-connection",
  "--disable-features=WebRtcHideLocalIpsWithMdns",
  "--autoplay-policy=no-user-gesture-required",
  "--disable-background-timer-throttling",
  "--disable-backgrounding-occluded-windows",
  "--disable-renderer-backgrounding",
];

const FIREFOX_PREFS = {
  "media.navigator.streams.fake": true,
  "media.navigator.permission.disabled": true,
  "media.autoplay.default": 0,
  "media.autoplay.blocking_policy": 0,
  "media.peerconnection.ice.loopback": true,
  "media.peerconnection.ice.obfuscate_host_addresses": false,
  // Without a sound card every AudioContext stays suspended; the mock one runs.
  "media.cubeb.force_mock_context": true,
};

const opened = new Set();

// What every open page showed when a test failed says more than the message.
afterEach(async (test) => {
  const name = test?.fullName?.replace(/[^a-z0-9]+/gi, "-").slice(-80) ?? "test";
  const pages = [...opened];
  if (test?.passed === false) {
    await Promise.all(pages.map((page, i) => page.screenshot({ path: join(root, `artifacts/failed/${name}-${i}.png`), timeout: 5_000 }).catch(() => {})));
  }
  // A test that failed leaves nothing that could disturb the next one.
  await Promise.all(pages.filter((page) => test?.passed === false && !page.isClosed()).map((page) => page.context().close().catch(() => {})));
});

/** Starts a browser by name. Firefox takes its colour scheme at launch, and other preferences. `close` never takes long. */
export async function launch(name, options = {}) {
  const browser = await start(name, options);
  const close = browser.close.bind(browser);
  // What is still there is killed when this process ends.
  browser.close = () => bounded(`${name} closes`, close(), 10_000).catch(() => {});
  return browser;
}

function start(name, { scheme = "light", firefoxPrefs = {} } = {}) {
  if (name === "chromium") {
    return chromium.launch({ executablePath: firstOf(process.env.CHROMIUM, "/usr/lib/chromium/chromium", "/usr/bin/chromium"), args: CHROMIUM_FLAGS });
  }
  return firefox.launch({
    channel: "moz-firefox",
    executablePath: firstOf(process.env.FIREFOX, "/usr/bin/firefox-esr", "/usr/bin/firefox"),
    firefoxUserPrefs: { ...FIREFOX_PREFS, "layout.css.prefers-color-scheme.content-override": scheme === "dark" ? 0 : 1, ...firefoxPrefs },
  });
}

/**
 * Opens a page in a context of its own, with the test's tools inside (see in-page.mjs).
 * `media: "synthetic"` replaces camera and microphone by a burnt-in clock and a tone; with
 * `tone: 0` there is no microphone.
 */
export async function openPage(browser, url, { viewport = { width: 1280, height: 800 }, scheme = "light", media = "synthetic", tone = 440, fps = 30, touch = false, locale, userAgent } = {}) {
  const isFirefox = browser.browserType().name() === "firefox";
  const context = await browser.newContext(
    isFirefox
      ? { viewport, colorScheme: null, reducedMotion: null, forcedColors: null, contrast: null, ...(locale && { locale }) }
      : { viewport, colorScheme: scheme, hasTouch: touch, ...(locale && { locale }), ...(userAgent && { userAgent }) },
  );
  await context.addInitScript(inPage, { media, tone, fps });
  const page = await context.newPage();
  // How the pages do on a machine that is so many times slower: REELAY_SLOW=6.
  if (!isFirefox && process.env.REELAY_SLOW) {
    const session = await context.newCDPSession(page);
    await session.send("Emulation.setCPUThrottlingRate", { rate: Number(process.env.REELAY_SLOW) });
  }
  opened.add(page);
  page.on("close", () => opened.delete(page));
  page.setDefaultTimeout(25_000);
  page.problems = [];
  page.on("pageerror", (error) => page.problems.push(`page error: ${error.message}`));
  page.on("console", (message) => {
    if (message.type() === "error") {
      page.problems.push(`console: ${message.text()} ${message.location()?.url ?? ""}`);
    }
  });
  if (url) {
    await page.goto(url, { waitUntil: "load" });
  }
  return page;
}

function firstOf(...paths) {
  return paths.find((path) => path && existsSync(path));
}
