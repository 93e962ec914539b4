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

/** Keeps a picture of the page as `artifacts/shots/<name>.png`. */
export async function shoot(page, name, options = {}) {
  await page.screenshot({ path: join(shots, `${name}.png`), ...options });
}

/** Every finding of axe-core, one line each; [] is what a page should give. */
export async function scan(page, rules = {}) {
  await page.evaluate(axe);
  return page.evaluate(async (rules) => {
    const { violations } = await window.axe.run(document, { rules });
    return violations.flatMap(({ id, impact, nodes }) => nodes.map((node) => `${impact} ${id}: ${node.target.flat().join(" > ")} ${node.failureSummary?.split("\n")[1] ?? ""}`));
  }, rules);
}
