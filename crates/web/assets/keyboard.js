// Keys and the palette. Nothing here takes a key from who is typing, and single keys can be turned off.
"use strict";
(() => {
  const { one, all, root, nextTheme, nextZone } = dynowatch;

  // --- the palette
  const palette = one("#palette"), text = one("#palette-text"), list = one("#palette-list");
  let entries = null, shown = [], chosen = 0;

  dynowatch.openPalette = async () => {
    if (!palette || palette.open) return;
    palette.showModal();
    text.value = "";
    text.focus();
    draw();
    if (!entries) {
      try {
        const answer = await fetch("/palette", { headers: { accept: "application/json" } });
        entries = answer.ok ? await answer.json() : [];
      } catch {
        entries = [];
      }
      draw();
      entries = entries.length ? entries : null;
    }
  };
  // How well a name fits: all letters in their order, better when together and at beginnings of words.
  function fit(name, wanted) {
    let score = 0, at = -1;
    const lower = name.toLowerCase();
    for (const letter of wanted) {
      const next = lower.indexOf(letter, at + 1);
      if (next < 0) return -1;
      score += next === at + 1 ? 3 : 0;
      score += next === 0 || /[^a-z0-9]/.test(lower[next - 1]) ? 2 : 0;
      at = next;
    }
    return score - name.length / 100;
  }
  function draw() {
    const wanted = text.value.toLowerCase().replaceAll(" ", "");
    shown = (entries ?? []).map((entry) => ({ entry, score: wanted ? fit(entry.name, wanted) : 0 }))
      .filter(({ score }) => score >= 0 || !wanted).sort((a, b) => b.score - a.score).slice(0, 30).map(({ entry }) => entry);
    chosen = 0;
    list.replaceChildren(...shown.map((entry, i) => {
      const item = document.createElement("li");
      item.id = "palette-" + i;
      item.setAttribute("role", "option");
      const kind = document.createElement("span");
      kind.textContent = entry.kind;
      item.append(entry.name, kind);
      item.addEventListener("click", () => open(i));
      return item;
    }));
    if (!shown.length) {
      const none = document.createElement("li");
      none.className = "none";
      none.setAttribute("role", "option");
      none.setAttribute("aria-disabled", "true");
      none.textContent = entries ? "Nothing of that name" : "…";
      list.append(none);
    }
    choose(0);
  }
  function choose(i) {
    if (!shown.length) { text.removeAttribute("aria-activedescendant"); return; }
    chosen = (i + shown.length) % shown.length;
    all("li", list).forEach((item, at) => item.setAttribute("aria-selected", String(at === chosen)));
    text.setAttribute("aria-activedescendant", "palette-" + chosen);
    list.children[chosen].scrollIntoView({ block: "nearest" });
  }
  function open(i) {
    if (shown[i]) location.assign(shown[i].href);
  }
  text?.addEventListener("input", draw);
  text?.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown") choose(chosen + 1);
    else if (event.key === "ArrowUp") choose(chosen - 1);
    else if (event.key === "Enter") open(chosen);
    else return;
    event.preventDefault();
  });
  palette?.addEventListener("click", (event) => { if (event.target === palette) palette.close(); });

  // --- rows
  const rows = () => all("main a.row, main .rows a").filter((link) => link.offsetParent);
  function move(by) {
    const links = rows();
    if (!links.length) return;
    const at = links.indexOf(document.activeElement);
    const next = links[at < 0 ? (by > 0 ? 0 : links.length - 1) : Math.min(Math.max(at + by, 0), links.length - 1)];
    next.focus();
    next.scrollIntoView({ block: "nearest" });
  }

  // --- keys, one after the other: "g a"
  let first = "", firstAt = 0;
  const single = {
    "?": () => one("#keys").showModal(),
    "/": () => dynowatch.openPalette(),
    j: () => move(1),
    k: () => move(-1),
    d: nextTheme,
    u: nextZone,
    Escape: () => { const up = all(".crumbs a").at(-1); if (up) location.assign(up.href); },
  };
  function follow(keys) {
    const link = all("a[data-keys], a[data-key]").find((link) => link.dataset.keys === keys || link.dataset.key === keys);
    if (link) location.assign(link.href);
    const button = link ? null : all("button[data-key]").find((button) => button.dataset.key === keys && button.offsetParent);
    button?.click();
    return Boolean(link || button);
  }
  document.addEventListener("keydown", (event) => {
    if ((event.metaKey || event.ctrlKey) && !event.altKey && !event.shiftKey && event.key.toLowerCase() === "k") {
      event.preventDefault();
      dynowatch.openPalette();
      return;
    }
    if (event.metaKey || event.ctrlKey || event.altKey || event.defaultPrevented || root.dataset.keys === "off") return;
    if (event.target.closest("input, select, textarea, [contenteditable], dialog[open], [data-plot]")) return;
    const menu = one("details.menu[open]");
    if (event.key === "Escape" && menu) { menu.open = false; return; }
    const both = event.timeStamp - firstAt < 1500 && first ? first + " " + event.key : "";
    first = event.key;
    firstAt = event.timeStamp;
    if (both && follow(both)) { event.preventDefault(); return; }
    if (follow(event.key)) { event.preventDefault(); return; }
    const toggle = /^[1-6]$/.test(event.key) && dynowatch.toggleSeries;
    const action = single[event.key] ?? (toggle && (() => toggle(Number(event.key) - 1)));
    if (action) { event.preventDefault(); action(); }
  });
  document.addEventListener("click", (event) => {
    const menu = one("details.menu[open]");
    if (menu && !menu.contains(event.target)) menu.open = false;
  });
})();
