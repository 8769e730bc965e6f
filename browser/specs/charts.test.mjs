// What a chart shows is what the API answers.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { browser, demo, open } from "../lib/site.mjs";

let site, chromium;

before(async () => {
  [site, chromium] = await Promise.all([demo(), browser()]);
});
after(async () => {
  await chromium?.close();
  await site?.stop();
});

async function series(query) {
  const answer = await fetch(`${site.url}/api/v1/series?${new URLSearchParams(query)}`, { headers: { authorization: `Bearer ${site.token}` } });
  assert.equal(answer.status, 200);
  return answer.json();
}

test("a chart, its table and its CSV say what the API says", async () => {
  const page = await open(chromium);
  // The demo's past comes in within its first minute; an hour of it that is over does not change any more.
  const minute = Math.floor(Date.now() / 60_000) * 60;
  const [from, until] = [minute - 100 * 60, minute - 40 * 60];
  const query = { app: "reports", metric: "router.service_ms", aggregation: "p95", from: new Date(from * 1000).toISOString(), until: new Date(until * 1000).toISOString(), step: "1m" };
  let answer;
  do {
    await new Promise((wake) => setTimeout(wake, 500));
    answer = await series(query);
  } while (answer.series.length !== 1 || answer.series[0].points.some((point) => point === null));
  await page.goto(`${site.url}/apps/reports?from=${from}&to=${until}`);
  const figure = page.locator("figure[data-chart]").filter({ has: page.getByText("Response time") }).first();
  await figure.locator("[data-plot][data-state=drawn] canvas").waitFor();

  const plot = figure.locator("[data-plot]");
  await plot.focus();
  await plot.press("Home");
  const points = answer.series[0].points;
  for (const point of points) {
    const said = await figure.locator("p[role=status]").innerText();
    const value = Number(said.match(/p95 ([\d.]+) ms/)[1]);
    assert.ok(Math.abs(value - point) <= Math.max(0.5, point / 100), `${said}: the API says ${point}`);
    await plot.press("ArrowRight");
  }

  await figure.getByText("View as table").click();
  const rows = await figure.locator("tbody tr").count();
  assert.equal(rows, points.length);
  const csv = await (await fetch(new URL(await figure.getByRole("link", { name: "CSV" }).getAttribute("href"), site.url))).text();
  const column = csv.split("\r\n")[0].split(",").indexOf('"p95"');
  const values = csv.trim().split("\r\n").slice(1).map((line) => Number(line.split(",")[column]));
  assert.deepEqual(values.map((value) => value.toFixed(6)), points.map((point) => point.toFixed(6)));
  assert.deepEqual(page.problems, []);
  await page.context().close();
});
