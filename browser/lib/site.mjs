// A running dynowatch for a spec: the demo of the real program, and a real Chromium before it. `cargo xtask browser` says
// in the environment where both programs are.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
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
  const url = await new Promise((found, failed) => {
    program.once("exit", (code) => failed(new Error(`the demo ended with ${code}`)));
    lines.on("line", (line) => {
      const said = line.match(/into (http:\/\/\S+)/);
      if (said) found(said[1]);
    });
  });
  const site = {
    url,
    port: Number(new URL(url).port),
    async stop() {
      if (program.exitCode !== null) return;
      program.kill("SIGTERM");
      await once(program, "exit");
    },
  };
  return site;
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
    if (message.type() === "error" && !/ERR_CONNECTION|Failed to load resource|ERR_INCOMPLETE/.test(message.text())) page.problems.push(message.text());
  });
  return page;
}

// Every page there is to read.
export const PAGES = ["/", "/alerts", "/alerts?state=resolved", "/rules", "/rules/h12", "/receivers", "/receivers/file", "/deliveries", "/connect?app=shop-web", "/settings", "/settings/health", "/settings/data", "/nowhere"];
