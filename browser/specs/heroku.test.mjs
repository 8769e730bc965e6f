// With a key of Heroku: every app of the account is there by itself, is connected by one click, its drains are added, replaced
// and removed by buttons; an app on Fir says why it has none; releases name who made them. The Heroku is a fake that keeps
// state and holds every request against Heroku's schema.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { HEROKU_PAGES, PHONE, browser, heroku, instance, open, post, signIn, violations } from "../lib/site.mjs";

let fake, site, chromium, page;

before(async () => {
  [fake, chromium] = await Promise.all([heroku(), browser()]);
  site = await instance(fake.env);
  page = await open(chromium);
  await signIn(site, page);
});
after(async () => {
  await chromium?.close();
  await site?.stop();
  await fake?.stop();
});

// Those that deliver to this instance.
const drains = async (app) => (await fake.ask(`/apps/${app}/log-drains`)).filter(({ url }) => url.includes("watch.example.com"));
const line = [["app web.1", "checkout done in 12ms"]];
// As Logplex would, but to where the instance really is.
const deliver = ({ url, token }) => post(url.replace("https://", "http://").replace("watch.example.com", new URL(site.url).host), line, token);

test("all apps of the account appear by themselves, and one is connected by one click", async () => {
  const apps = page.locator("#heroku tbody th");
  for (let i = 0; i < 100 && (await page.goto(site.url + "/apps")) && (await apps.count()) < 4; i++) await page.waitForTimeout(200);
  assert.deepEqual((await apps.allInnerTexts()).sort(), ["blog", "newsletter", "search-on-fir", "shop"]);
  await page.getByRole("link", { name: "blog" }).click();
  await page.waitForURL("**/connect?app=blog");
  await page.getByRole("button", { name: "Add the drain" }).click();
  await page.getByText("It has a drain to here.").waitFor();
  const [drain, ...others] = await drains("blog");
  assert.deepEqual(others, [], "one click, one drain");
  // The page is open, and says by itself that lines arrive.
  await page.getByText("Waiting for its first line").waitFor();
  await deliver(drain);
  await page.getByText("It delivers.").waitFor();
  await page.goto(site.url + "/apps");
  await page.locator(".apps-table th", { hasText: "blog" }).waitFor();
  assert.deepEqual(page.problems, []);
});

test("a drain is replaced and removed by buttons, and each says before what it will do", async () => {
  await page.goto(site.url + "/apps/blog/drains");
  await page.getByText("to logs.example.com").waitFor();
  assert.ok(!(await page.content()).includes("drain:"), "no URL of a drain is shown");
  const [old] = await drains("blog");
  await page.getByRole("link", { name: "Replace it…" }).click();
  await page.getByText("POST /apps/blog/log-drains").waitFor();
  assert.equal((await drains("blog")).length, 1, "nothing is done by looking");
  await page.locator("main button[type=submit]").last().click();
  await page.getByText("being replaced").first().waitFor();
  const added = (await drains("blog")).find(({ id }) => id !== old.id);
  assert.ok(added, "the second drain first");
  // Both deliver; once the new one has shown that it does, the old one goes, and the page that is open says so.
  await deliver(old);
  await deliver(added);
  const rows = page.locator("#drains tbody tr");
  await rows.filter({ hasText: "takes over" }).waitFor();
  const deadline = Date.now() + 150_000;
  while ((await drains("blog")).some(({ id }) => id === old.id)) {
    assert.ok(Date.now() < deadline, "the old drain was not removed");
    await page.waitForTimeout(1_000);
  }
  await rows.filter({ hasText: /delivers|counts/ }).waitFor();
  await page.reload();
  await page.getByRole("link", { name: "Remove it…" }).click();
  await page.getByText(`DELETE /apps/blog/log-drains/${added.id}`).waitFor();
  await page.locator("input[name=confirm]").fill("shop");
  await page.locator("main button.danger").click();
  await page.getByText("Nothing was removed").waitFor();
  assert.deepEqual((await drains("blog")).map(({ id }) => id), [added.id], "the name of another app removes nothing");
  await page.goBack();
  await page.locator("input[name=confirm]").fill("blog");
  await page.locator("main button.danger").click();
  await page.waitForURL("**/apps/blog/drains");
  await page.getByRole("button", { name: "Add the drain" }).waitFor();
  assert.deepEqual(await drains("blog"), []);
  assert.equal((await fake.ask("/apps/blog/log-drains")).length, 1, "that of others stays");
  assert.deepEqual(page.problems, []);
});

test("dynos are made to tell their memory and load by a switch", async () => {
  const enabled = async () => (await fake.ask("/apps/shop/features/log-runtime-metrics")).enabled;
  await page.goto(site.url + "/apps/shop/drains");
  for (const [name, want] of [["Switch it on", true], ["Switch it off", false]]) {
    await page.getByRole("button", { name }).click();
    await page.getByRole("button", { name: want ? "Switch it off" : "Switch it on" }).waitFor();
    assert.equal(await enabled(), want, name);
  }
});

test("an app on Fir says why it has no Logplex drain", async () => {
  for (const path of ["/apps/search-on-fir", "/apps/search-on-fir/drains", "/connect?app=search-on-fir"]) {
    await page.goto(site.url + path);
    await page.getByText("no Logplex drains").first().waitFor();
    assert.equal(await page.getByRole("button", { name: "Add the drain" }).count(), 0, path);
  }
});

test("releases name who made them, and what they changed", async () => {
  await page.goto(site.url + "/apps/shop");
  const said = (await page.locator("#release-list tbody tr").allInnerTexts()).map((row) => row.replace(/\s+/g, " "));
  assert.equal(said.length, 3);
  for (const [i, words] of [["v3", "code", "9f8e7d6", "cleo@example.com"], ["v2", "LOG_LEVEL", "bo@example.com"], ["v1", "code", "ada@example.com"]].entries()) {
    for (const word of words) assert.ok(said[i].includes(word), `${said[i]}: ${word}`);
  }
});

test("accessible in both themes, and nothing sideways on a phone", async () => {
  const signedIn = await page.context().storageState();
  for (const colorScheme of ["light", "dark"]) {
    const looks = await open(chromium, { colorScheme, bypassCSP: true, storageState: signedIn });
    const phone = await open(chromium, { ...PHONE, colorScheme, storageState: signedIn });
    for (const path of HEROKU_PAGES) {
      assert.equal((await looks.goto(site.url + path)).status(), 200, path);
      assert.deepEqual(await violations(looks), [], `${path}, ${colorScheme}`);
      await phone.goto(site.url + path);
      const over = await phone.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
      assert.ok(over <= 0, `${path} is ${over} px too wide, ${colorScheme}`);
    }
    assert.deepEqual([...looks.problems, ...phone.problems], []);
    await looks.context().close();
    await phone.context().close();
  }
});
