// Pictures that stay as artefacts, and the accessibility scan.
import { mkdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

import { root } from "./server.mjs";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const shots = join(root, "artifacts/shots");
mkdirSync(shots, { recursive: true });

export const VIEWPORTS = {
  desktop: { width: 1280, height: 800 },
  phone: { width: 390, height: 844 },
  wide: { width: 844, height: 390 },
};

/**
 * Waits until the page stands still: fonts there, fades and moves at their end, nothing drawn anew for a few frames.
 * What never ends by itself, such as a level meter, holds it up for two seconds at most.
 */
export function settle(page) {
  return page.evaluate(async () => {
    const frame = () => new Promise((resolve) => requestAnimationFrame(resolve));
    const roots = (root) => [root, ...[...root.querySelectorAll("*")].flatMap((one) => (one.shadowRoot ? roots(one.shadowRoot) : []))];
    const isEnding = (animation) => animation.playState === "running" && Number.isFinite(Number(animation.effect?.getComputedTiming().endTime));
    await document.fonts.ready;
    const began = performance.now();
    let before = "";
    for (let still = 0; still < 3 && performance.now() - began < 2_000; ) {
      await frame();
      const all = roots(document);
      const ending = all.flatMap((root) => root.getAnimations()).filter(isEnding);
      for (const animation of ending) animation.finish();
      const now = all.map((root) => (root.body ?? root).innerHTML?.length).join();
      still = ending.length === 0 && now === before ? still + 1 : 0;
      before = now;
    }
  });
}

/** Keeps a picture of the page as `artifacts/shots/<name>.png`. */
export async function shoot(page, name, options = {}) {
  await settle(page);
  await page.screenshot({ path: join(shots, `${name}.png`), ...options });
}

/**
 * Every finding of axe-core, one line each; [] is what a page should give.
 * A page that is being drawn anew meanwhile gets a second look: what counts is what stays.
 */
export async function scan(page, rules = {}) {
  await page.evaluate(axe);
  await settle(page);
  const first = await findings(page, rules);
  if (first.length === 0) {
    return first;
  }
  await settle(page);
  return findings(page, rules);
}

function findings(page, rules) {
  return page.evaluate(async (rules) => {
    const { violations } = await window.axe.run(document, { rules, resultTypes: ["violations"] });
    return violations.flatMap(({ id, impact, nodes }) => nodes.map((node) => `${impact} ${id}: ${node.target.flat().join(" > ")} ${node.failureSummary?.split("\n")[1] ?? ""}`));
  }, rules);
}
