// What a first visit weighs and what people who watch cost, measured at the demo: `cargo xtask budgets` runs it with a
// release build. Sizes are what goes over the wire, compressed.
import { readFile } from "node:fs/promises";
import { get } from "node:http";
import { demo, firing } from "./lib/site.mjs";

const VIEWERS = 200;
const WATCHED_S = 20;
// Of Linux: ticks of a second that a process' times are counted in.
const TICKS = 100;

function fetched(url) {
  return new Promise((done, failed) => {
    get(url, { headers: { "accept-encoding": "gzip", accept: "text/html,*/*" } }, (answer) => {
      let bytes = 0;
      const text = [];
      answer.on("data", (piece) => { bytes += piece.length; text.push(piece); });
      answer.on("end", () => done({ bytes, body: Buffer.concat(text), encoding: answer.headers["content-encoding"] ?? "" }));
    }).on("error", failed);
  });
}

async function cpuSeconds(pid) {
  const stat = await readFile(`/proc/${pid}/stat`, "utf8");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) / TICKS;
}

async function cost(site, seconds) {
  const [cpu, begun] = [await cpuSeconds(site.pid), performance.now()];
  await new Promise((wake) => setTimeout(wake, seconds * 1000));
  return (await cpuSeconds(site.pid) - cpu) / ((performance.now() - begun) / 1000);
}

const kb = (bytes) => `${(bytes / 1024).toFixed(1)} KB`;
const site = await demo();
try {
  await firing(site);
  for (const [name, path] of [["Now", "/"], ["App", "/apps/shop-web"]]) {
    const page = await fetched(site.url + path);
    const html = await (await fetch(site.url + path)).text();
    const of = (pattern) => [...new Set([...html.matchAll(pattern)].map(([, address]) => address))].filter((address) => address.startsWith("/"));
    const weigh = async (addresses) => (await Promise.all(addresses.map((address) => fetched(site.url + address)))).reduce((sum, { bytes }) => sum + bytes, 0);
    const [styles, scripts, fonts] = [
      await weigh(of(/<link[^>]+rel="stylesheet"[^>]+href="([^"]+)"/g)),
      await weigh(of(/<script[^>]+src="([^"]+)"/g)),
      await weigh(of(/<link[^>]+href="([^"]+\.woff2)"/g)),
    ];
    console.log(`${name.padEnd(4)} page ${kb(page.bytes)} (${page.encoding || "not compressed"}), styles ${kb(styles)}, fonts ${kb(fonts)}: first content ${kb(page.bytes + styles + fonts)}, budget 100 KB; scripts ${kb(scripts)}, budget 60 KB`);
  }

  const alone = await cost(site, WATCHED_S);
  const html = await (await fetch(site.url + "/")).text();
  const stream = html.match(/"(\/events\?topics=[^"]+)"/)[1].replaceAll("&amp;", "&");
  let received = 0;
  const open = Array.from({ length: VIEWERS }, () => new Promise((opened, failed) => {
    const request = get(site.url + stream, { agent: false, headers: { accept: "text/event-stream", "accept-encoding": "gzip" } }, (answer) => {
      if (answer.statusCode !== 200) failed(new Error(`a stream was answered ${answer.statusCode}`));
      answer.on("data", (piece) => { received += piece.length; });
      answer.on("error", () => {});
      opened(request);
    }).on("error", failed);
  }));
  const requests = await Promise.all(open);
  const before = received;
  const watched = await cost(site, WATCHED_S);
  console.log(`${VIEWERS} viewers of Now: ${((watched - alone) * 100).toFixed(1)} % of a core more than the ${(alone * 100).toFixed(1)} % without them, budget 50 %; ${kb((received - before) / WATCHED_S / VIEWERS)} a second for each`);
  for (const request of requests) request.destroy();
} finally {
  await site.stop();
}
