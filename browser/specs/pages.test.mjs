// Every page: accessible in both themes, nothing sideways on a phone, nothing broken in its scripts, readable without them.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { PAGES, PHONE, browser, demo, firing, open, violations } from "../lib/site.mjs";

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
    const page = await open(chromium, { colorScheme, bypassCSP: true });
    for (const path of pages) {
      await page.goto(site.url + path);
      assert.deepEqual(await violations(page), [], path);
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
