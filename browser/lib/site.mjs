// A running dynowatch for a spec: the demo of the real program, and a real Chromium before it. `cargo xtask browser` says
// in the environment where both programs are.
import { execFile, spawn } from "node:child_process";
import { createHmac, randomBytes, randomUUID } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createRequire } from "node:module";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { promisify } from "node:util";
import { chromium } from "playwright-core";

const FLAGS = [
  "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync",
];

export const PHONE = { viewport: { width: 360, height: 780 }, isMobile: true, hasTouch: true };
export const DESK = { viewport: { width: 1440, height: 900 } };

function needed(name) {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set: run \`cargo xtask browser\``);
  return value;
}

// The demo, until `stop`. It is up when it has said where it listens.
export async function demo(port = 0) {
  const program = spawn(needed("DYNOWATCH"), ["demo", "--listen", `127.0.0.1:${port}`], { stdio: ["ignore", "pipe", "inherit"], env: { ...process.env, PORT: "" } });
  const lines = createInterface({ input: program.stdout });
  let folder;
  lines.on("line", (line) => { folder ??= line.match(/^\s*(\/\S+)\/alerts\.log/)?.[1]; });
  let url;
  const token = await new Promise((found, failed) => {
    program.once("exit", (code) => failed(new Error(`the demo ended with ${code}`)));
    lines.on("line", (line) => {
      url ??= line.match(/into (http:\/\/\S+)/)?.[1];
      const said = line.match(/Bearer (\w+)/);
      if (said) found(said[1]);
    });
  });
  const site = {
    url,
    token,
    pid: program.pid,
    port: Number(new URL(url).port),
    // Where the demo keeps its files, known once it has said so.
    get folder() { return folder; },
    async run(...args) {
      const env = { ...process.env, DATABASE_URL: `sqlite://${folder}/dynowatch.db` };
      const { stdout } = await promisify(execFile)(needed("DYNOWATCH"), args, { env, cwd: folder });
      return stdout.trim();
    },
    async stop() {
      if (program.exitCode !== null) return;
      program.kill("SIGTERM");
      await once(program, "exit");
    },
  };
  return site;
}

async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  await once(server, "close");
  return port;
}

// A Heroku account with a few apps, until `stop`, which fails if the account was asked something that Heroku does not know.
export async function heroku() {
  const program = spawn(needed("FAKE_HEROKU"), [new Date().toISOString()], { stdio: ["pipe", "pipe", "inherit"] });
  const lines = createInterface({ input: program.stdout });
  const [said] = await Promise.race([once(lines, "line"), once(program, "exit").then(([code]) => { throw new Error(`the fake Heroku ended with ${code}`); })]);
  const [url, key] = said.split(" ");
  return {
    // What an instance needs to know of it, and an address that drains are added with.
    env: { HEROKU_API_URL: url, HEROKU_API_KEY: key, DYNOWATCH_PUBLIC_URL: "https://watch.example.com" },
    async ask(path) {
      const answer = await fetch(url + path, { headers: { authorization: `Bearer ${key}`, accept: "application/vnd.heroku+json; version=3", "user-agent": "spec" } });
      if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
      return answer.json();
    },
    async stop() {
      const ended = once(program, "exit");
      program.stdin.end();
      const [code] = await ended;
      if (code !== 0) throw new Error(`the fake Heroku ended with ${code}`);
    },
  };
}

// A new instance in an empty folder, until `stop`, and its commands: `run("drain", "url", …)` gives what one printed.
export async function instance(more = {}) {
  const folder = await mkdtemp(join(tmpdir(), "dynowatch-spec-"));
  const port = await freePort();
  const secrets = { HEROKU_LOG_DRAIN_HMAC_SECRET: "only-for-this-spec", DYNOWATCH_SECRET_KEY: randomBytes(32).toString("hex") };
  const env = { PATH: process.env.PATH, ...secrets, ...more };
  const start = (...args) => spawn(needed("DYNOWATCH"), args, { cwd: folder, stdio: ["ignore", "pipe", "inherit"], env });
  const listen = `127.0.0.1:${port}`;
  const program = start("serve", "--listen", listen);
  program.stdout.resume();
  const url = `http://localhost:${port}`;
  const answers = () => fetch(`${url}/readyz`).then((answer) => answer.ok, () => false);
  while (program.exitCode === null && !(await answers())) await new Promise((wake) => setTimeout(wake, 100));
  if (program.exitCode !== null) throw new Error(`serve ended with ${program.exitCode}`);
  return {
    url,
    async run(...args) {
      const command = start(...args);
      let printed = "";
      command.stdout.on("data", (piece) => { printed += piece; });
      const [code] = await once(command, "close");
      if (code !== 0) throw new Error(`${args.join(" ")} ended with ${code}`);
      return printed.trim();
    },
    async stop() {
      if (program.exitCode === null) {
        program.kill("SIGTERM");
        await once(program, "exit");
      }
      await rm(folder, { recursive: true });
    },
  };
}

// Posts lines as Logplex does; they are of this moment.
export async function post(drain, lines, token = "d.5bec0000-0000-4000-8000-000000000001") {
  const at = new Date().toISOString();
  const frames = lines.map(([source, text]) => `<158>1 ${at} host ${source} - ${text}\n`).map((line) => `${Buffer.byteLength(line)} ${line}`);
  const { origin, pathname, username, password } = new URL(drain);
  const answer = await fetch(origin + pathname, {
    method: "POST",
    headers: {
      authorization: "Basic " + Buffer.from(`${username}:${password}`).toString("base64"),
      "content-type": "application/logplex-1",
      "logplex-msg-count": String(frames.length),
      "logplex-frame-id": randomUUID().replaceAll("-", "").toUpperCase(),
      "logplex-drain-token": token,
    },
    body: frames.join(""),
  });
  if (answer.status !== 204) throw new Error(`the drain answered ${answer.status}`);
}

// Waits until an alert fired: the demo fills in its first minute at once, but somebody has to judge it.
export async function firing(site) {
  for (let i = 0; i < 120; i++) {
    const page = await (await fetch(`${site.url}/alerts?state=firing`)).text();
    const found = page.match(/href="(\/alerts\/[0-9a-f-]{36})"/);
    if (found) return found[1];
    await new Promise((wake) => setTimeout(wake, 250));
  }
  throw new Error("nothing fired in the demo");
}

// Waits until the demo has its two hours of past: it makes them within its first two minutes.
export async function filled(site) {
  for (let i = 0; i < 300; i++) {
    const { series } = await (await fetch(`${site.url}/apps/shop-web/charts/throughput.json?range=2h`)).json();
    const { values } = series[0];
    const first = values.findIndex((value) => value !== null);
    if (first >= 0 && first < 20 && values.slice(first, -1).every((value) => value !== null)) return;
    await new Promise((wake) => setTimeout(wake, 500));
  }
  throw new Error("the demo's past did not come");
}

export async function browser() {
  return chromium.launch({ executablePath: needed("CHROMIUM"), args: FLAGS });
}

// A page whose errors count: what breaks in it breaks the spec.
export async function open(chromium, options = {}) {
  const context = await chromium.newContext({ ...DESK, ...options });
  const page = await context.newPage();
  page.problems = [];
  page.on("pageerror", (error) => page.problems.push(error.message));
  page.on("console", (message) => {
    // A console that went away is what one spec is about; everything else is a mistake.
    if (message.type() === "error" && !/ERR_CONNECTION|Failed to load resource|ERR_INCOMPLETE|sse:error: Failed to fetch/.test(message.text())) page.problems.push(message.text());
  });
  return page;
}

const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

// What axe finds serious or critical in a page. axe is not of the page: open it with `bypassCSP`, since its policy keeps
// other scripts out.
export async function violations(page) {
  // What is half faded in has a contrast that nobody reads by.
  await page.emulateMedia({ reducedMotion: "reduce" });
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => window.axe.run(document, { resultTypes: ["violations"] }));
  const bad = violations.filter(({ impact }) => ["serious", "critical"].includes(impact));
  return bad.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html.slice(0, 200)).join(" | ")}`);
}

// Makes the first account, by the link that the command prints, and is signed in as a superadmin. From then on pages are
// for those who are signed in.
export async function signIn(site, page, name = "ada", password = "four words of mine") {
  const token = (await site.run("setup-link")).match(/\/setup\/(\S+)/)[1];
  await page.goto(`${site.url}/setup/${token}`);
  await page.locator("input[name=name]").fill(name);
  await page.locator("input[name=password]").fill(password);
  await page.locator("input[name=again]").fill(password);
  await page.locator("main button[type=submit]").click();
  await page.waitForURL("**/settings/security");
}

// How long a code of an authenticator stands.
export const STEP_MS = 30_000;

// The code for a key, RFC 6238 by hand; `back` steps ago.
export function code(key, back = 0) {
  const digits = [...key].map((letter) => "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".indexOf(letter).toString(2).padStart(5, "0")).join("");
  const seed = Buffer.from(digits.match(/.{8}/g).map((byte) => parseInt(byte, 2)));
  const step = Buffer.alloc(8);
  step.writeBigUInt64BE(BigInt(Math.floor(Date.now() / STEP_MS) - back));
  const mac = createHmac("sha1", seed).update(step).digest();
  return String((mac.readUInt32BE(mac.at(-1) & 15) & 0x7fffffff) % 1_000_000).padStart(6, "0");
}

// Pages of an account of Heroku, as the fake one has them.
export const HEROKU_PAGES = ["/apps", "/connect", "/connect?app=blog", "/apps/shop", "/apps/shop/drains", "/apps/blog/drains", "/apps/search-on-fir", "/apps/search-on-fir/drains", "/connect?app=search-on-fir"];

// Every page there is to read.
export const PAGES = ["/", "/live", "/live?app=shop-web&q=status%3D5", "/live?q=%2F(%2F", "/apps", "/apps/shop-web", "/apps/billing-worker/dynos/worker.1", "/checks", "/checks?state=up&kind=web", "/checks/shop-home", "/checks/api-health?range=7d", "/checks/nightly-report", "/checks/maintenance", "/alerts", "/alerts?state=resolved", "/rules", "/rules/h12", "/receivers", "/receivers/file", "/deliveries", "/connect?app=shop-web", "/settings", "/settings/health", "/settings/data", "/nowhere"];
