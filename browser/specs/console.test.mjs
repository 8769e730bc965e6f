// What people do: from a message to evidence on a phone, the palette and the keys, and a console that is restarted while
// its page is open.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { PHONE, browser, demo, firing, open, signIn } from "../lib/site.mjs";

let site, chromium;

before(async () => {
  [site, chromium] = await Promise.all([demo(), browser()]);
  await firing(site);
});
after(async () => {
  await chromium?.close();
  await site?.stop();
});

test("from the link of a message to evidence, on a phone", async () => {
  const page = await open(chromium, PHONE);
  await page.goto(site.url + await firing(site));
  const verdict = page.locator(".verdict");
  assert.match(await verdict.innerText(), /firing/i);
  const box = await verdict.boundingBox();
  assert.ok(box.y + box.height < 780, "the verdict is on the first screen");
  const evidence = page.getByRole("link", { name: "Evidence" });
  assert.ok((await evidence.boundingBox()).height >= 44, "a thumb fits");
  await evidence.tap();
  assert.match(page.url(), /#evidence$/);
  assert.ok(await page.locator("#evidence .lines code").first().isVisible());
  assert.ok(await page.getByRole("heading", { name: "Why" }).count());
  assert.deepEqual(page.problems, []);
  await page.context().close();
});

test("the page is live, and its pieces change by themselves", async () => {
  const page = await open(chromium);
  await page.goto(site.url + "/settings/health");
  await page.locator("#fresh[data-state=live]").waitFor();
  await page.goto(site.url + "/");
  await page.locator("#fresh[data-state=live]").waitFor();
  // The numbers of the apps are read anew every ten seconds, and the demo's traffic never stands still.
  const before = await page.locator("#now-apps").innerText();
  await page.waitForFunction((old) => document.querySelector("#now-apps")?.innerText !== old, before);
  assert.deepEqual(page.problems, []);
  await page.context().close();
});

test("the palette leads to a rule, the keys to pages", async () => {
  const page = await open(chromium);
  await page.goto(site.url + "/");
  await page.keyboard.press("Control+k");
  const text = page.getByRole("combobox");
  await text.fill("h12");
  await page.getByRole("option", { name: "h12 rule", exact: true }).waitFor();
  await text.fill("settings");
  await page.getByRole("option").first().waitFor();
  await page.keyboard.press("Enter");
  await page.waitForURL("**/settings");
  await page.locator("h1").click();
  await page.keyboard.press("g");
  await page.keyboard.press("a");
  await page.waitForURL("**/alerts");
  await page.keyboard.press("j");
  assert.equal(await page.evaluate(() => document.activeElement.className), "row");
  await page.keyboard.press("Enter");
  await page.waitForURL(/\/alerts\/[0-9a-f-]{36}/);
  await page.keyboard.press("Escape");
  await page.waitForURL("**/alerts");
  await page.keyboard.press("?");
  assert.ok(await page.getByRole("dialog", { name: "Keys" }).isVisible());
  await page.getByRole("button", { name: "Turn single keys off" }).click();
  await page.keyboard.press("Escape");
  await page.keyboard.press("g");
  await page.keyboard.press("d");
  assert.match(page.url(), /\/alerts$/, "single keys are off");
  // None of them steals from who is typing.
  await page.evaluate(() => delete document.documentElement.dataset.keys);
  await page.goto(site.url + "/connect");
  await page.getByLabel("Its name on Heroku").fill("gd?");
  assert.match(page.url(), /\/connect$/);
  assert.deepEqual(page.problems, []);
  await page.context().close();
});

test("the theme is there before anything is painted, and is kept", async () => {
  const page = await open(chromium, { colorScheme: "light" });
  await page.goto(site.url + "/alerts");
  const ground = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const light = await ground();
  await page.keyboard.press("d");
  const kept = page.waitForResponse((answer) => answer.url().endsWith("/preferences") && answer.request().postData().includes("dark"));
  await page.keyboard.press("d");
  assert.notEqual(await ground(), light);
  await kept;
  await page.reload();
  assert.notEqual(await ground(), light);
  await page.context().close();
});

test("the page rides out a restart of the console, and says so", async () => {
  let own = await demo();
  try {
    const page = await open(chromium);
    await firing(own);
    await page.goto(own.url + "/alerts");
    await page.locator("#fresh[data-state=live]").waitFor();
    await own.stop();
    await page.locator("#fresh[data-state=away]").waitFor();
    assert.ok(await page.getByRole("heading", { name: "Alerts" }).isVisible(), "what was shown stays");
    own = await demo(own.port);
    await page.getByText("dynowatch was restarted").waitFor({ timeout: 30000 });
    await page.locator("#fresh:not([data-state=away])").waitFor();
    assert.deepEqual(page.problems, []);
    await page.context().close();
  } finally {
    await own.stop();
  }
});

test("an operator closes an alert on its page, and whoever else looks sees it", async () => {
  const path = await firing(site);
  const page = await open(chromium, PHONE);
  await signIn(site, page);
  const other = await page.context().newPage();
  for (const one of [page, other]) {
    await one.goto(site.url + path);
    await one.locator("#fresh[data-state=live]").waitFor();
  }
  await page.getByRole("link", { name: "Close it" }).tap();
  await page.getByRole("button", { name: "Close this alert" }).tap();
  await page.locator("#alert-facts", { hasText: "closed by user:ada" }).waitFor();
  assert.match(await page.locator(".verdict").innerText(), /resolved/i);
  await other.locator("#alert-close:not(:has(form))").waitFor({ state: "attached" });
  assert.match(await other.locator(".verdict").innerText(), /resolved/i);
  assert.deepEqual(page.problems, []);
  await page.context().close();
});
