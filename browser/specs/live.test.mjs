// The log as it comes: lines arrive, are narrowed, held and marked; one of them is revealed and becomes a rule.
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

const lines = (page) => page.locator("#tail li[data-line]");

test("lines arrive by themselves, are held and go on", async () => {
  const page = await open(chromium);
  await page.goto(site.url + "/live");
  await page.locator("#tail-status", { hasText: "Live" }).waitFor();
  const last = async () => lines(page).last().getAttribute("data-line");
  const before = await last();
  await page.waitForFunction((old) => [...document.querySelectorAll("#tail li[data-line]")].at(-1).dataset.line !== old, before);
  const box = page.locator("#tail");
  const atEnd = () => box.evaluate((tail) => Math.abs(tail.scrollTop) < 2);
  assert.ok(await atEnd(), "the newest line is in sight");
  // Paused: what comes waits and is counted.
  await page.keyboard.press("p");
  const held = await last();
  await page.locator("#tail-status", { hasText: /Paused: [1-9][\d,]* lines? wait/ }).waitFor();
  assert.equal(await last(), held);
  await page.getByRole("button", { name: "Go on" }).click();
  await page.waitForFunction((old) => [...document.querySelectorAll("#tail li[data-line]")].at(-1).dataset.line !== old, held);
  // Who reads further up is not pushed away.
  await box.evaluate((tail) => { tail.scrollTop = -300; });
  await page.locator("#tail-status", { hasText: "Held while you read" }).waitFor();
  await box.evaluate((tail) => { tail.scrollTop = 0; });
  await page.locator("#tail-status", { hasText: "Live" }).waitFor();
  assert.ok(await atEnd());
  assert.ok((await lines(page).count()) <= 1000);
  assert.deepEqual(page.problems, []);
  await page.context().close();
});

test("narrowed by app and text, with words marked as they are typed", async () => {
  const page = await open(chromium);
  await page.goto(site.url + "/live");
  await page.locator("select[name=app]").selectOption("shop-web");
  await page.waitForURL(/app=shop-web/);
  await page.locator("#tail-status", { hasText: "Live" }).waitFor();
  for (const app of await page.locator("#tail .app").allInnerTexts()) assert.equal(app, "shop-web");
  await page.getByLabel("Text or /expression/").fill("/status=5\\d\\d/");
  await page.keyboard.press("Enter");
  await page.waitForURL(/q=/);
  await lines(page).first().waitFor();
  for (const text of await page.locator("#tail code").allInnerTexts()) assert.match(text, /status=5\d\d/);
  assert.match(await page.locator("#tail mark").first().innerText(), /^status=5/);
  await page.getByLabel("Highlight").fill("path");
  assert.ok(await page.evaluate(() => CSS.highlights.get("wanted").size > 0));
  // A line that caused an alert leads there.
  await page.goto(site.url + "/live?app=shop-web&q=code%3DH12");
  await page.locator("#tail .caused").first().click();
  await page.waitForURL(/\/alerts\/[0-9a-f-]{36}/);
  // What is no expression is said at the field.
  await page.goto(site.url + "/live?q=%2F(%2F");
  assert.match(await page.locator("input[name=q]").evaluate((field) => document.getElementById(field.getAttribute("aria-describedby")).textContent), /unclosed group/);
  assert.deepEqual(page.problems, []);
  await page.context().close();
});

test("on a phone a line is read without going sideways, and leads to its page", async () => {
  const page = await open(chromium, PHONE);
  await page.goto(site.url + "/live?app=shop-web");
  await page.locator("#tail-status", { hasText: "Live" }).waitFor();
  assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth));
  assert.ok(await page.locator("#tail").evaluate((tail) => tail.scrollWidth <= tail.clientWidth + 1), "nor inside the log");
  const about = lines(page).last().getByRole("link", { name: "About this line" });
  const box = await about.boundingBox();
  assert.ok(box.width >= 24 && box.height >= 24, "a finger fits");
  await about.tap();
  await page.waitForURL(/\/lines\?/);
  assert.ok(await page.getByRole("heading", { level: 1, name: "A line of shop-web" }).count());
  await page.context().close();
});

test("an operator reveals a line, which the audit log says, and makes a rule of another", async () => {
  const page = await open(chromium);
  await signIn(site, page);
  await page.goto(site.url + "/live?q=%2F%5C%5Bmasked%5C%5D%2F");
  await lines(page).first().getByRole("link", { name: "About this line" }).click();
  await page.getByLabel("Why").fill("looking at a ticket");
  await page.getByRole("button", { name: "Reveal" }).click();
  const raw = await page.locator(".one-line.raw").innerText();
  assert.ok(raw && !raw.includes("[masked]"), raw);
  await page.goto(site.url + "/settings/audit");
  assert.match(await page.locator("main").innerText(), /line\.reveal[\s\S]*looking at a ticket/);

  // A rule from a line, tried on the past and on a log before it is saved. From an alert's evidence, which is stored: the
  // demo's storm is over after a while, and then Live has no such line.
  await page.goto(site.url + "/alerts?rule=worker-timeout");
  await page.getByRole("link", { name: /worker-timeout on shop-web/ }).first().click();
  await page.getByRole("link", { name: "About this line" }).first().click();
  await page.getByRole("link", { name: "Make a rule" }).click();
  assert.match(await page.getByLabel("Texts").inputValue(), /WORKER TIMEOUT/);
  assert.equal(await page.getByLabel("Apps").inputValue(), "shop-web");
  await page.getByLabel("Name", { exact: true }).fill("timeouts");
  await page.getByRole("button", { name: "Try it on what is stored" }).click();
  const trial = page.locator("#trial");
  assert.match(await trial.innerText(), /It would have raised [1-9]\d* alerts?[\s\S]*lines that this instance has, from[\s\S]*Lines are not archived/);
  const log = ["00", "01", "02"].map((s) => `2026-05-07T08:00:${s}.000000+00:00 app[web.1]: [CRITICAL] WORKER TIMEOUT (pid:1${s})\n`).join("");
  await page.getByLabel("A log").setInputFiles({ name: "web.log", mimeType: "text/plain", buffer: Buffer.from(log) });
  await page.getByRole("button", { name: "Try it on this log" }).click();
  assert.match(await trial.innerText(), /It would have raised 1 alert\b[\s\S]*3 lines of the log/);
  await page.getByRole("button", { name: "Make the rule" }).click();
  await page.waitForURL("**/rules/timeouts");
  assert.deepEqual(page.problems, []);
  await page.context().close();
});
