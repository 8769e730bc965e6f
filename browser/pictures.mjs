// Pictures of every main page: 1440 and 360 wide, light and dark. `cargo xtask pictures` runs it; look at them.
import { mkdir } from "node:fs/promises";
import { DESK, PAGES, PHONE, browser, demo, firing, open } from "./lib/site.mjs";

const folder = process.argv[2];
await mkdir(folder, { recursive: true });
const [site, chromium] = await Promise.all([demo(), browser()]);
try {
  const alert = await firing(site);
  for (const colorScheme of ["light", "dark"]) {
    for (const [width, options] of [[1440, DESK], [360, PHONE]]) {
      const page = await open(chromium, { ...options, colorScheme });
      for (const path of [...PAGES, alert]) {
        await page.goto(site.url + path);
        await page.locator("#fresh[data-state=live]").waitFor({ timeout: 5000 }).catch(() => {});
        const name = path === alert ? "alert" : path.replace(/\W+/g, "-").replace(/^-|-$/g, "") || "now";
        await page.screenshot({ path: `${folder}/${name}-${width}-${colorScheme}.png`, fullPage: true });
      }
      await page.context().close();
    }
  }
  console.log(`pictures are in ${folder}`);
} finally {
  await chromium.close();
  await site.stop();
}
