// The first hour of someone new: an empty folder, an app, its first line, its first alert; an account with an authenticator.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { STEP_MS, browser, code, instance, open, post, violations } from "../lib/site.mjs";

let site, chromium;

before(async () => {
  [site, chromium] = await Promise.all([instance(), browser()]);
});
after(async () => {
  await chromium?.close();
  await site?.stop();
});

test("from an empty folder to the first alert seen", async () => {
  const page = await open(chromium);
  await page.goto(site.url);
  await page.getByText("Nothing is connected yet").waitFor();
  await page.getByRole("link", { name: "Connect an app" }).first().click();
  await page.getByLabel("Its name on Heroku").fill("shop");
  await page.getByRole("button", { name: "Go on" }).click();
  await page.getByText("Waiting for its first line").waitFor();
  // The page says which command; what that prints is the drain.
  assert.match(await page.locator("main code").first().innerText(), /heroku|dynowatch drain url/);
  const drain = (await site.run("drain", "url", "--app", "shop", "--public-url", site.url)).match(/https?:\/\/drain:\S+?\/drain\/shop/)[0];
  const request = 'method=GET path="/" host=shop.example.com request_id=8f14e45f-ceea-467f-a0e6-2b1b1a9c0001 fwd="192.0.2.7" dyno=web.1 connect=0ms';
  await post(drain, [["heroku router", `at=info ${request} service=12ms status=200 bytes=512 protocol=https`]]);
  await page.getByText("It delivers.").waitFor();
  const slow = `at=error code=H12 desc="Request timeout" ${request} service=30000ms status=503 bytes=0 protocol=https`;
  await post(drain, Array(6).fill(["heroku router", slow]));
  await page.goto(site.url);
  const alert = page.locator("#now-verdict").getByRole("link", { name: /h12 on shop/ });
  await alert.waitFor();
  await alert.click();
  assert.match(await page.locator(".verdict").innerText(), /firing/i);
  assert.ok(await page.locator("#evidence .lines code").filter({ hasText: "code=H12" }).first().isVisible());
  assert.deepEqual(page.problems, []);
  await page.context().close();
});

test("an account, an authenticator, and signing in with it", async () => {
  const page = await open(chromium, { bypassCSP: true });
  const link = new URL((await site.run("setup-link")).split("\n")[0]);
  await page.goto(site.url + link.pathname);
  await page.getByLabel("Your name").fill("ada");
  await page.getByLabel("New password").fill("four words of mine");
  await page.getByLabel("The same again").fill("four words of mine");
  await page.locator("main button[type=submit]").last().click();
  await page.getByLabel("Your password").fill("four words of mine");
  await page.getByRole("button", { name: "Set up an authenticator" }).click();
  assert.ok(await page.getByRole("img", { name: "The key as a picture" }).isVisible());
  const key = (await page.locator("main code").first().innerText()).replaceAll(" ", "");
  await page.getByLabel("Code").fill("000000");
  await page.getByRole("button", { name: "Take it into use" }).click();
  await page.getByText("This is not the code of this moment").waitFor();
  // A code is good for its step and the next, and opens once: the one before is spent here, the present one below. The end
  // of a step is let pass, so that the one before is not two before when it arrives.
  while (Date.now() % STEP_MS > STEP_MS - 5_000) await new Promise((wake) => setTimeout(wake, 100));
  await page.getByLabel("Code").fill(code(key, 1));
  await page.getByRole("button", { name: "Take it into use" }).click();
  assert.ok((await page.locator("main li code").count()) >= 8, "recovery codes");
  await page.getByRole("link", { name: "I have them" }).click();
  await page.getByRole("button", { name: "Sign out" }).click();

  // From now on a page asks for both, and leads back to where one wanted to go.
  await page.goto(site.url + "/rules");
  await page.getByLabel("Name").fill("ada");
  await page.getByLabel("Password").fill("four words of mine");
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByLabel("Code").fill("123");
  await page.getByRole("button", { name: "Sign in" }).click();
  assert.ok(await page.getByLabel("Code").isVisible(), "a wrong code opens nothing");
  await page.getByLabel("Code").fill(code(key));
  await page.getByRole("button", { name: "Sign in" }).click();
  // What was changed about how one signs in is said first; then it leads on.
  await page.getByText("one thing was changed about how you sign in").waitFor();
  assert.deepEqual(await violations(page), [], "the notice");
  await page.getByRole("link", { name: "It was me, go on" }).click();
  await page.getByRole("heading", { name: "Rules" }).waitFor();
  assert.match(page.url(), /\/rules$/);
  for (const colorScheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme });
    for (const path of ["security", "users", "tokens", "audit"]) {
      const answer = await page.goto(`${site.url}/settings/${path}`);
      assert.equal(answer.status(), 200, path);
      assert.deepEqual(await violations(page), [], `${path}, ${colorScheme}`);
    }
  }
  await page.context().close();
});
