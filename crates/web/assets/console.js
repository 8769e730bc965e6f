// What pages do beyond links and forms: the palette, copying, the theme, the time zone, ages that stay true. Everything
// here only adds: without it, pages are whole. Found by data- attributes:
//   data-copy            a button that copies the text beside it
//   data-copy-link       a link that copies its own address
//   data-submit          a field that sends its form when it changes
//   data-local-zone      the button that asks for the browser's own time zone
//   data-ago             a <time> that shows its age
//   data-palette, data-help, data-keys-switch   what opens the palette and the help, and turns single keys off
"use strict";
const dynowatch = (() => {
  const one = (selector, root = document) => root.querySelector(selector);
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const root = document.documentElement;

  // One line at the bottom: what was done, or what waits to be done. Said politely to who cannot see it.
  let noticeTimer;
  function notice(text, action) {
    const place = one("#notice");
    if (!place) return;
    clearTimeout(noticeTimer);
    place.replaceChildren(document.createTextNode(text));
    if (action) {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = action.words;
      button.addEventListener("click", () => { place.hidden = true; action.run(); });
      place.append(button);
    } else {
      noticeTimer = setTimeout(() => { place.hidden = true; }, 4000);
    }
    place.hidden = false;
  }

  // --- ages
  const units = [[86400, "d"], [3600, "h"], [60, "m"]];
  function coarse(seconds) {
    const [unit, name] = units.find(([unit]) => seconds >= 2 * unit) ?? [1, "s"];
    return Math.floor(seconds / unit) + name;
  }
  // The server's clock counts, not this machine's.
  let clockAhead = 0;
  const now = () => Date.now() + clockAhead;
  const setNow = (ms) => { clockAhead = ms - Date.now(); };
  function ages() {
    for (const time of all("time[data-ago]")) {
      const seconds = Math.floor((now() - Date.parse(time.dateTime)) / 1000);
      const text = seconds < -1 ? "in " + coarse(-seconds) : coarse(Math.max(seconds, 0)) + " ago";
      if (time.textContent !== text) time.textContent = text;
    }
  }

  // --- copying
  async function copy(text, what) {
    try {
      await navigator.clipboard.writeText(text);
      notice(what + " copied");
    } catch {
      notice("This browser does not allow copying: select the text by hand");
    }
  }
  function prepare(root) {
    for (const button of all("[data-copy][hidden], [data-help][hidden]", root)) button.hidden = false;
    const local = Intl.DateTimeFormat().resolvedOptions().timeZone;
    for (const button of all("[data-local-zone]", root)) {
      if (!local || local === "UTC") continue;
      button.value = local;
      button.disabled = false;
      button.title = "Show times in " + local;
    }
  }

  document.addEventListener("click", (event) => {
    const target = event.target.closest("[data-copy], [data-copy-link], [data-palette], [data-help], [data-keys-switch]");
    if (!target) return;
    if (target.matches("[data-copy]")) copy(one("code", target.parentElement).textContent, "Command");
    else if (target.matches("[data-copy-link]")) { event.preventDefault(); copy(target.href, "Link"); }
    else if (target.matches("[data-palette]")) dynowatch.openPalette();
    else if (target.matches("[data-help]")) one("#keys").showModal();
    else switchKeys();
  });
  document.addEventListener("change", (event) => {
    if (event.target.matches("[data-submit]")) event.target.form.requestSubmit();
  });

  // --- choices that are kept: sent as the forms of the page would send them, one after the other, since the answer that
  // comes last is the one whose cookie stays
  let sent = Promise.resolve();
  function choose(name, value) {
    const form = new URLSearchParams({ [name]: value });
    for (const hidden of all("form.theme input[type=hidden]:not([name=back])").slice(0, 1)) form.set(hidden.name, hidden.value);
    const send = () => fetch("/preferences", { method: "POST", body: form, redirect: "manual", keepalive: true })
      .catch(() => notice("Not kept: the console does not answer"));
    sent = sent.then(send);
  }
  function nextTheme() {
    const themes = ["system", "light", "dark"];
    const theme = themes[(themes.indexOf(root.dataset.theme ?? "system") + 1) % themes.length];
    if (theme === "system") delete root.dataset.theme; else root.dataset.theme = theme;
    one("meta[name=color-scheme]").content = theme === "system" ? "light dark" : theme;
    for (const button of all("form.theme button")) button.setAttribute("aria-pressed", String(button.value === theme));
    document.dispatchEvent(new CustomEvent("dynowatch:theme"));
    notice("Theme: " + theme);
    choose("theme", theme);
  }
  async function nextZone() {
    const button = one("form.zone button");
    if (button && !button.disabled) button.form.requestSubmit(button);
  }
  function switchKeys() {
    const off = root.dataset.keys !== "off";
    if (off) root.dataset.keys = "off"; else delete root.dataset.keys;
    showKeysSwitch();
    choose("keys", off ? "off" : "on");
  }
  function showKeysSwitch() {
    const button = one("[data-keys-switch]");
    if (button) button.textContent = root.dataset.keys === "off" ? "Turn single keys on" : "Turn single keys off";
  }
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => document.dispatchEvent(new CustomEvent("dynowatch:theme")));

  prepare(document);
  showKeysSwitch();
  setInterval(ages, 1000);
  return { one, all, root, notice, coarse, now, setNow, ages, prepare, nextTheme, nextZone };
})();
