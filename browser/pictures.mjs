// Pictures of every main page: 1440 and 360 wide, light and dark. `cargo xtask pictures` runs it; look at them. Three instances
// stand for what a console may show: the demo, once its two hours of past are there; one that is empty; and one with an
// account of Heroku. `node pictures.mjs FOLDER WORD` takes only those whose name contains the word. A page that is wider
// than a phone fails the run, once all pictures are taken.
import { mkdir } from "node:fs/promises";
import { DESK, HEROKU_PAGES, PAGES, PHONE, STEP_MS, browser, code, demo, filled, firing, heroku, instance, open, post, signIn } from "./lib/site.mjs";

const [folder, only = ""] = process.argv.slice(2);
const LOOKS = ["light", "dark"].flatMap((colorScheme) => [[1440, DESK], [360, PHONE]].map(([width, options]) => ({ colorScheme, width, options })));
await mkdir(folder, { recursive: true });
const chromium = await browser();

const named = (path) => path.replace(/[0-9a-f]{8}-[0-9a-f-]{27}/g, "").replace(/\W+/g, "-").replace(/^-|-$/g, "") || "now";

// Charts are drawn when they come into sight.
async function drawn(page) {
  await page.locator("#fresh:is([data-state=live], [data-state=stale])").waitFor({ timeout: 5000 }).catch(() => {});
  const height = await page.evaluate(() => document.documentElement.scrollHeight);
  for (let y = 0; y < height; y += 600) await page.evaluate((to) => new Promise((done) => { scrollTo(0, to); requestAnimationFrame(done); }), y);
  if (await page.locator("figure[data-chart]").count()) await page.waitForTimeout(500);
  await page.evaluate(() => scrollTo(0, 0));
}

const tooWide = [];

async function shoot(page, name, width, colorScheme, fullPage) {
  const over = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  if (over > 0) tooWide.push(`${name}-${width}-${colorScheme}: ${over} px`);
  await page.screenshot({ path: `${folder}/${name}-${width}-${colorScheme}.png`, fullPage });
}

// Pictures of a page that is shown once and cannot be opened again.
async function shootOnce(page, name) {
  if (!name.includes(only)) return;
  for (const { colorScheme, width, options } of LOOKS) {
    await page.emulateMedia({ colorScheme });
    await page.setViewportSize(options.viewport);
    await shoot(page, name, width, colorScheme, true);
  }
  await page.setViewportSize(DESK.viewport);
}

// Each shot is a path, or a path, a name and what to do before the picture is taken.
async function take(url, shots, cookies) {
  for (const { colorScheme, width, options } of LOOKS) {
    const page = await open(chromium, { ...options, colorScheme, storageState: cookies });
    for (const [path, name = named(path), act = () => {}] of shots.map((shot) => [shot].flat())) {
      if (!name.includes(only)) continue;
      await page.goto(url + path);
      await drawn(page);
      await act(page, width);
      const whole = !/^(palette|keys|menu|wall)/.test(name);
      await shoot(page, name, width, colorScheme, whole);
    }
    await page.context().close();
  }
}

const palette = async (page) => {
  await page.keyboard.press("Control+k");
  await page.getByRole("combobox").fill("shop");
  await page.getByRole("option").first().waitFor();
};
const keys = async (page) => { await page.keyboard.press("?"); await page.getByRole("dialog", { name: "Keys" }).waitFor(); };
const menu = (page) => page.locator(".menu summary").click();
const openAll = (selector) => (page) => page.locator(selector).evaluateAll((all) => all.forEach((one) => { one.open = true; }));
const pressed = (name) => async (page) => { await page.getByRole("button", { name }).first().click(); await page.waitForLoadState("load"); };

async function put(site, path, body) {
  const headers = { authorization: `Bearer ${site.token}`, "content-type": "application/json" };
  const answer = await fetch(`${site.url}/api/v1/${path}`, { method: "PUT", headers, body: JSON.stringify(body) });
  if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
}

async function confirmed(page) {
  await page.getByLabel("Your password").fill("four words of mine");
  await page.getByRole("button", { name: "Confirm" }).click();
  await page.locator("main pre").waitFor();
}

async function ofDemo() {
  const site = await demo();
  try {
    const alert = await firing(site);
    await filled(site);
    const over = async () => (await (await fetch(`${site.url}/alerts?state=resolved`)).text()).match(/href="(\/alerts\/[0-9a-f-]{36})"/)?.[1];
    let resolved;
    for (let i = 0; i < 60 && !(resolved = await over()); i++) await new Promise((wake) => setTimeout(wake, 1000));
    const line = (await (await fetch(`${site.url}/live?app=shop-web`)).text()).match(/href="(\/lines\?[^"]+)"/)?.[1].replaceAll("&amp;", "&");
    await take(site.url, [
      ...PAGES, [alert, "alert"], ["/?wall=1", "wall"], ["/alerts?wall=1", "wall-alerts"], ["/", "palette", palette], ["/", "keys", keys], ["/", "menu", menu],
      ["/apps/api-prod", "app-with-releases"], ["/apps/shop-web?range=24h", "app-24h"], ["/apps/shop-web", "app-tables", openAll(".chart details")],
      ...(resolved ? [[resolved, "alert-resolved"]] : []), ...(line ? [[line, "line"]] : []),
    ]);
    const page = await open(chromium);
    await signIn(site, page);
    // A receiver that nobody answers at: its deliveries fail, and say how.
    await page.goto(`${site.url}/receivers/new`);
    await page.getByLabel("Webhook").check();
    await page.getByLabel("Name", { exact: true }).fill("pager");
    await page.getByLabel("URL").first().fill("https://127.0.0.1:9/hook");
    await page.locator("main button[type=submit]").last().click();
    await page.waitForURL("**/receivers/pager");
    await page.getByRole("button", { name: "Send a test message" }).click();
    await page.waitForLoadState("load");
    // Things of the console: they can be edited.
    await put(site, "checks/checkout", { kind: "web", url: "https://127.0.0.1:9/checkout", app: "shop-web", assert: ["status = 200", "certificate.days > 14"] });
    await put(site, "maintenance/move", { checks: ["api-*"], at: "2030-03-02T22:00", for: "2h", time_zone: "Europe/Berlin", reason: "the database moves" });
    await page.goto(`${site.url}/rules/new`);
    for (const [name, text] of Object.entries({ name: "checkout-errors", "match.text": "checkout failed", count: "> 3", window: "5m" })) await page.locator(`[name="${name}"]`).fill(text);
    await page.getByRole("button", { name: "Make the rule" }).click();
    await page.waitForURL("**/rules/checkout-errors");
    // What is shown once: a new token, a link to hand over.
    await page.goto(`${site.url}/settings/tokens`);
    await page.locator("main input[name=name]").fill("grafana");
    await page.locator("main button[type=submit]").last().click();
    await shootOnce(page, "confirm");
    await confirmed(page);
    await shootOnce(page, "token-shown");
    await page.goto(`${site.url}/settings/users`);
    await page.locator("main input[name=name]").fill("vic");
    await page.getByRole("button", { name: "Invite" }).click();
    await confirmed(page);
    await shootOnce(page, "invitation");
    const invited = (await page.locator("main pre").innerText()).match(/\/setup\/(\S+)/)[1];
    const cookies = await page.context().storageState();
    await take(site.url, [
      "/settings/users", "/settings/tokens", "/settings/audit", "/settings/security", "/receivers/pager", "/receivers/new", ["/deliveries", "deliveries-failed"],
      [alert, "alert-signed-in"], "/step-up", "/checks/shop-home/edit", "/checks/checkout/edit", "/checks/maintenance/move/edit", "/receivers/pager/edit", "/rules/checkout-errors", "/rules/checkout-errors/edit",
      ["/rules/h12", "rule-signed-in"], ["/checks/shop-home", "check-signed-in"], ["/checks/shop-home", "check-explained", pressed("Explain")],
      "/rules/new", ["/rules/new", "rules-new-wrong", pressed("Make the rule")], ["/rules/new?kind=metric", "rules-new-metric"], "/checks/new", "/checks/new?kind=web", "/checks/maintenance/new",
      ...(line ? [[line, "line-signed-in"]] : []),
      [`/rules/new${line ? line.replace(/^\/lines/, "") : ""}`, "rules-from-line-tried", pressed("Try it on what is stored")],
    ], cookies);
    await take(site.url, ["/sign-in", ["/rules", "signed-out"]]);
    const viewer = await open(chromium);
    await viewer.goto(`${site.url}/setup/${invited}`);
    for (const field of ["password", "again"]) await viewer.locator(`input[name=${field}]`).fill("four words of hers");
    await viewer.locator("main button[type=submit]").click();
    await viewer.waitForURL((url) => !url.pathname.startsWith("/setup"));
    await take(site.url, [["/settings/users", "no-permission"], ["/rules/h12", "viewer-rule"], ["/receivers/pager", "viewer-receiver"]], await viewer.context().storageState());
    await ofAuthenticator(site, viewer);
  } finally {
    await site.stop();
  }
}

// Setting one up, its recovery codes, and signing in with it.
async function ofAuthenticator(site, page) {
  await page.goto(`${site.url}/settings/security`);
  await page.getByLabel("Your password").fill("four words of hers");
  await page.getByRole("button", { name: "Set up an authenticator" }).click();
  await page.getByLabel("Code").waitFor();
  await shootOnce(page, "authenticator");
  const key = (await page.locator("main code").first().innerText()).replaceAll(" ", "");
  while (Date.now() % STEP_MS > STEP_MS - 5_000) await page.waitForTimeout(100);
  await page.getByLabel("Code").fill(code(key));
  await page.getByRole("button", { name: "Take it into use" }).click();
  await page.getByRole("link", { name: "I have them" }).waitFor();
  await shootOnce(page, "recovery-codes");
  const cookies = await page.context().storageState();
  await take(site.url, [["/settings/security", "security-with-authenticator"]], cookies);
  const signedIn = (password) => async (page) => {
    await page.locator("input[name=name]").fill("vic");
    await page.locator("input[name=password]").fill(password);
    await page.getByRole("button", { name: "Sign in" }).click();
    await page.waitForLoadState("load");
  };
  await take(site.url, [["/sign-in", "sign-in-code", signedIn("four words of hers")], ["/sign-in", "sign-in-wrong", signedIn("none of hers")]]);
}

async function ofNobody() {
  const site = await instance();
  try {
    const setup = new URL((await site.run("setup-link")).split("\n")[0]).pathname;
    const pages = ["/", "/apps", "/live", "/checks", "/checks/maintenance", "/alerts", "/deliveries", "/receivers", "/connect", "/connect?app=shop", "/connect?app=No+Name", "/settings", "/settings/health"];
    await take(site.url, [...pages.map((path) => [path, `empty-${named(path)}`]), [setup, "setup"], ["/setup/nothing", "setup-gone"]]);
  } finally {
    await site.stop();
  }
}

async function ofHeroku() {
  const fake = await heroku();
  const site = await instance(fake.env);
  try {
    const page = await open(chromium);
    await signIn(site, page);
    for (const app of ["shop", "blog"]) {
      for (let i = 0; i < 50 && !(await (await page.goto(`${site.url}/apps/${app}/drains`)).ok()); i++) await page.waitForTimeout(200);
      await page.getByRole("button", { name: "Add the drain" }).click();
      await page.waitForLoadState("load");
    }
    const [drain] = await fake.ask("/apps/shop/log-drains");
    const router = 'at=info method=GET path="/" host=shop.example.com request_id=8f14e45f-ceea-467f-a0e6-2b1b1a9c0001 fwd="192.0.2.7" dyno=web.1 connect=0ms service=12ms status=200 bytes=512 protocol=https';
    await post(drain.url.replace(/https:\/\/(.*@)[^/]+/, `http://$1${new URL(site.url).host}`), [["heroku router", router]], drain.token);
    const rotate = `/apps/shop/drains/rotate?drain=${drain.id}`;
    await take(site.url, [...HEROKU_PAGES.map((path) => [path, `heroku-${named(path)}`]), [rotate, "heroku-rotate"], [`/apps/shop/drains/${drain.id}/remove`, "heroku-remove"]], await page.context().storageState());
  } finally {
    await site.stop();
    await fake.stop();
  }
}

try {
  await ofNobody();
  await ofHeroku();
  await ofDemo();
  console.log(`pictures are in ${folder}`);
  if (tooWide.length) throw new Error(`too wide: ${tooWide.join(", ")}`);
} finally {
  await chromium.close();
}
