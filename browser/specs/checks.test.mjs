// Checks: from the list to one of them, whose numbers are the API's; a new one through its form, tried before it is saved,
// run, paused and deleted; with the keyboard alone; accessible and within a phone's width all the way.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { DESK, PHONE, browser, demo, firing, open, signIn, violations } from "../lib/site.mjs";

let site, chromium;

before(async () => {
  [site, chromium] = await Promise.all([demo(), browser()]);
  await firing(site);
});
after(async () => {
  await chromium?.close();
  await site?.stop();
});

async function asked(path) {
  const answer = await fetch(site.url + path, { headers: { authorization: `Bearer ${site.token}` } });
  assert.equal(answer.status, 200, path);
  return answer.json();
}

test("from the list to a check whose numbers are the API's", async () => {
  const page = await open(chromium);
  await page.goto(site.url + "/checks");
  await page.locator("#fresh[data-state=live]").waitFor();
  const { items } = await asked("/api/v1/checks?limit=200");
  const names = (await page.locator(".checks a.row").allInnerTexts()).sort();
  assert.deepEqual(names, items.map(({ name }) => name).sort());
  // Narrowed, without a script's help.
  await page.locator("select[name=kind]").selectOption("tcp");
  await page.waitForURL(/kind=tcp/);
  assert.deepEqual(await page.locator(".checks a.row").allInnerTexts(), ["billing-port"]);
  await page.locator(".checks a.row").click();
  await page.waitForURL("**/checks/billing-port");
  const check = await asked("/api/v1/checks/billing-port");
  assert.match(await page.locator(".verdict h1").innerText(), new RegExp(`billing-port is ${check.state}`));
  // Uptime over seven days, to its last digit.
  const week = page.locator(".stat", { hasText: "Uptime 7 days" });
  const { spent } = await asked("/api/v1/checks/billing-port/uptime?from=-7d");
  assert.ok(spent.shown.startsWith(await week.locator("strong").innerText()), spent.shown);
  // The chart is drawn from the values that its table shows.
  await page.locator("#phases canvas").first().waitFor();
  const json = await (await fetch(site.url + await page.locator("#phases").getAttribute("data-chart"))).json();
  await page.locator("#phases summary").click();
  const heads = await page.locator("#phases thead th").allInnerTexts();
  assert.deepEqual(heads.slice(1).map((head) => head.replace(/ ms$/, "")), json.series.map(({ name }) => name));
  // Thirty days of past, and an outage of the API in the last two hours.
  await page.goto(site.url + "/checks/api-health");
  assert.equal(await page.locator(".daybars rect").count(), 90);
  const began = await page.locator("#outages tbody time").allInnerTexts();
  assert.ok(began.some((at) => Date.now() - Date.parse(at.replace(" UTC", "Z").replace(" ", "T")) < 2 * 3_600_000), began.join());
  await page.locator(".failure summary").first().click();
  assert.ok(await page.locator(".failure[open] .facts").first().isVisible());
  assert.deepEqual(page.problems, []);
  await page.context().close();
});

test("a row changes by itself when its check does", async () => {
  const page = await open(chromium);
  await page.goto(site.url + "/checks");
  await page.locator("#fresh[data-state=live]").waitFor();
  const before = await page.locator("#all-checks").innerText();
  await page.waitForFunction((old) => document.querySelector("#all-checks")?.innerText !== old, before, { timeout: 60_000 });
  await page.context().close();
});

test("with the keyboard alone", async () => {
  const page = await open(chromium);
  await page.goto(site.url + "/");
  await page.locator("h1").click();
  await page.keyboard.press("g");
  await page.keyboard.press("c");
  await page.waitForURL("**/checks");
  await page.keyboard.press("j");
  const row = await page.evaluate(() => document.activeElement.getAttribute("href"));
  assert.match(row, /^\/checks\//);
  await page.keyboard.press("Enter");
  await page.waitForURL("**" + row);
  await page.keyboard.press("Escape");
  await page.waitForURL("**/checks");
  await page.keyboard.press("Control+k");
  await page.getByRole("combobox", { name: "Page, app, rule or alert" }).fill("shop-home");
  await page.getByRole("option", { name: "shop-home check" }).waitFor();
  await page.keyboard.press("Enter");
  await page.waitForURL("**/checks/shop-home");
  await page.context().close();
});

// The last ones, for from here on the pages are for those who are signed in.
test("a check is made, tried first, run, paused and deleted", async () => {
  const page = await open(chromium, { bypassCSP: true });
  await signIn(site, page);
  const sound = async () => {
    for (const { viewport } of [PHONE, DESK]) {
      await page.setViewportSize(viewport);
      assert.deepEqual(await violations(page), [], page.url());
      const over = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
      assert.ok(over <= 0, `${page.url()} is ${over} px too wide at ${viewport.width}`);
    }
  };
  await page.goto(site.url + "/checks/billing-port");
  const target = (await page.locator(".card .release").first().innerText()).trim();
  await page.goto(site.url + "/checks");
  await page.getByRole("link", { name: "New check" }).click();
  await sound();
  await page.getByRole("link", { name: "Web page or API" }).click();
  await sound();
  const label = (name) => page.getByLabel(name, { exact: true });
  await label("Name").fill("api-again");
  await label("URL").fill(`http://${target}/shop/health`);
  await label("What must hold").fill("status = two hundred");
  await page.getByRole("button", { name: "Try it now" }).click();
  await page.locator("#assert[aria-invalid=true]").waitFor();
  assert.ok(await page.locator("#assert-about .problem").isVisible(), "what is wrong stands at its field");
  await sound();
  await label("What must hold").fill("status = 200\nbody.status = \"ok\"");
  await page.getByRole("button", { name: "Try it now" }).click();
  await page.locator("#trial").waitFor();
  const tried = await page.locator("#trial").innerText();
  assert.match(tried, /One run, made just now: up/);
  assert.match(tried, /Nothing is saved/);
  assert.ok(await page.locator("#trial .transcript").isVisible());
  await sound();
  assert.equal((await page.request.get(site.url + "/checks/api-again")).status(), 404);
  await label("Every").fill("5s");
  await page.getByRole("button", { name: "Make the check" }).click();
  await page.waitForURL("**/checks/api-again");
  await page.locator(".verdict h1", { hasText: "api-again is up" }).waitFor({ timeout: 30_000 });
  await sound();
  await page.getByRole("button", { name: "Explain" }).click();
  await page.getByRole("heading", { name: "What it did" }).waitFor();
  await sound();
  await page.getByRole("link", { name: "Back to the check" }).click();
  await page.getByRole("button", { name: "Pause" }).click();
  await page.locator(".verdict h1", { hasText: "is paused" }).waitFor();
  await page.getByRole("button", { name: "Resume" }).click();
  await page.getByRole("link", { name: "Edit" }).click();
  await label("Down after failed runs").fill("5");
  await page.getByRole("button", { name: "Try its thresholds on the past" }).click();
  await page.locator("#trial", { hasText: "These thresholds would have paged" }).waitFor();
  await sound();
  await page.getByText("Delete it…").click();
  await page.locator("#confirm").fill("api-again");
  await page.getByRole("button", { name: "Delete" }).click();
  await page.waitForURL("**/checks");
  assert.equal(await page.locator(".checks a.row", { hasText: "api-again" }).count(), 0);
  assert.deepEqual(page.problems, []);
  await page.context().close();
});

test("maintenance is planned and ended early", async () => {
  const page = await open(chromium, { bypassCSP: true });
  // The one before made the first account.
  await page.goto(site.url + "/sign-in");
  await page.locator("input[name=name]").fill("ada");
  await page.locator("input[name=password]").fill("four words of mine");
  await page.locator("main button[type=submit]").click();
  await page.waitForURL(/\/$|\/settings/);
  await page.goto(site.url + "/checks/maintenance/new?check=shop-home");
  assert.deepEqual(await violations(page), []);
  await page.getByLabel("Name", { exact: true }).fill("now");
  await page.getByRole("button", { name: "Plan it" }).click();
  await page.waitForURL("**/checks/maintenance");
  await page.getByRole("button", { name: "End it now" }).waitFor();
  assert.deepEqual(await violations(page), []);
  await page.goto(site.url + "/checks/shop-home");
  await page.locator(".verdict h1", { hasText: "is in maintenance" }).waitFor({ timeout: 30_000 });
  await page.goto(site.url + "/checks/maintenance");
  await page.getByRole("button", { name: "End it now" }).click();
  await page.waitForURL("**/checks/maintenance");
  assert.equal(await page.getByRole("button", { name: "End it now" }).count(), 0);
  await page.context().close();
});
