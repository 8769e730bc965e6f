// Every page: accessible in both themes, nothing sideways on a phone, nothing broken in its scripts, readable without them.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { after, before, test } from "node:test";
import { PAGES, PHONE, browser, demo, firing, open } from "../lib/site.mjs";

const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
let site, chromium, pages;

before(async () => {
  [site, chromium] = await Promise.all([demo(), browser()]);
  pages = [...PAGES, await firing(site)];
});
after(async () => {
  await chromium?.close();
  await site?.stop();
});

for (const colorScheme of ["light", "dark"]) {
  test(`nothing serious or critical in ${colorScheme}`, async () => {
    // axe is not of the page: the policy that keeps scripts out is lifted for it, and for it alone.
    const page = await open(chromium, { colorScheme, bypassCSP: true });
    for (const path of pages) {
      await page.goto(site.url + path);
      await page.evaluate(axe);
      const { violations } = await page.evaluate(() => window.axe.run(document, { resultTypes: ["violations"] }));
      const bad = violations.filter(({ impact }) => ["serious", "critical"].includes(impact));
      const shown = bad.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html.slice(0, 200)).join(" | ")}`);
      assert.deepEqual(shown, [], path);
    }
    await page.context().close();
  });

  test(`nothing scrolls sideways at 360 px in ${colorScheme}`, async () => {
    const page = await open(chromium, { ...PHONE, colorScheme });
    for (const path of pages) {
      await page.goto(site.url + path);
      const over = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
      assert.ok(over <= 0, `${path} is ${over} px too wide`);
    }
    assert.deepEqual(page.problems, []);
    await page.context().close();
  });
}

test("pages are read without scripts", async () => {
  const page = await open(chromium, { javaScriptEnabled: false });
  for (const path of pages) {
    const answer = await page.goto(site.url + path);
    assert.equal(await page.locator("h1").count(), 1, path);
    assert.equal(answer.status(), path === "/nowhere" ? 404 : 200, path);
  }
  // The navigation, a filter and the theme work, too.
  await page.goto(site.url + "/alerts");
  await page.locator("select[name=app]").selectOption("shop-web");
  await page.getByRole("button", { name: "Apply" }).click();
  assert.match(page.url(), /app=shop-web/);
  await page.goto(site.url + "/settings");
  await page.getByRole("radio", { name: "dark" }).check();
  await page.getByLabel("Time zone").fill("Europe/Berlin");
  await page.getByRole("button", { name: "Save" }).click();
  assert.equal(await page.locator("html").getAttribute("data-theme"), "dark");
  assert.match(await page.locator("footer time").innerText(), / CES?T$/);
  await page.context().close();
});
