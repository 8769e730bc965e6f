// What the stream of a page says (htmx receives it and swaps pieces in): how fresh the page is, whether the console went
// away or came back, and pieces that have to wait because somebody points at or writes into them.
"use strict";
(() => {
  const { one, root, notice, coarse, now, setNow, ages, prepare } = dynowatch;
  const stream = one("#events");
  const fresh = one("#fresh");
  if (!stream || !fresh) return;
  // When no line arrived for this long, calm cannot be told from blindness; the server's pages say the same.
  const STALE_AFTER_S = 600;
  // A stream says every five seconds that it lives.
  const SILENT_AFTER_MS = 12000;
  let process, lineMs, heardAt = 0, away = false, ended = "", full = false;

  function show() {
    const [state, text] = judge();
    fresh.dataset.state = state;
    one("[data-text]", fresh).textContent = text;
  }
  function judge() {
    if (ended) return ["away", ended];
    if (full) return ["away", "too many pages are open"];
    if (away || (heardAt && Date.now() - heardAt > SILENT_AFTER_MS)) return ["away", "reconnecting"];
    if (!heardAt) return ["loaded", "as loaded"];
    if (lineMs == null) return ["stale", "no line yet"];
    const age = Math.max(0, Math.floor((now() - lineMs) / 1000));
    return age > STALE_AFTER_S ? ["stale", "last line " + coarse(age) + " ago"] : ["live", "live · " + coarse(age)];
  }
  function lost() {
    if (away || ended) return;
    away = true;
    show();
  }

  stream.addEventListener("beat", (event) => {
    const beat = JSON.parse(event.detail.data);
    setNow(beat.now_ms);
    heardAt = Date.now();
    lineMs = beat.line_ms;
    if (process !== undefined && process !== beat.process) notice("dynowatch was restarted. This page is up to date again.");
    else if (away) notice("Connected again. This page is up to date.");
    process = beat.process;
    away = full = false;
    show();
  });
  stream.addEventListener("bye", () => { lost(); notice("dynowatch is stopping. This page stays, and goes on when it is back."); });
  stream.addEventListener("signed-out", () => {
    ended = "signed out";
    show();
    notice("You are signed out.", { words: "Sign in", run: () => location.reload() });
    stream.remove();
  });
  for (const name of ["htmx:sse:error", "htmx:error"]) {
    stream.addEventListener(name, (event) => {
      const status = event.detail?.status;
      if (status === 401) { ended = "signed out"; show(); }
      else if (status === 429 || status === 503) { full = true; show(); }
      else if (heardAt) lost();
    });
  }

  // --- pieces that must not move under somebody
  let waiting = null;
  const selector = /hx-target="(#[\w-]+)"/g;
  function isBusy(html) {
    for (const [, id] of html.matchAll(selector)) {
      const piece = one(id);
      if (!piece) continue;
      if (piece.contains(document.activeElement) && document.activeElement.matches("input, select, textarea, a, button, summary")) return true;
      const pointed = one("tbody:hover, .rows:hover, .lines:hover, .message:hover, .apps:hover, .open-alerts:hover, .feed:hover", piece);
      if (pointed && matchMedia("(hover: hover)").matches) return true;
      const selection = getSelection();
      if (selection && !selection.isCollapsed && piece.contains(selection.anchorNode)) return true;
    }
    return false;
  }
  function release() {
    if (!waiting) return;
    const html = waiting;
    waiting = null;
    one("#notice").hidden = true;
    htmx.swap({ text: html, swap: "none", sourceElement: stream, target: stream });
  }
  stream.addEventListener("htmx:sse:before:message", (event) => {
    const message = event.detail.message;
    if (message.event || !message.data) return;
    // A newer piece replaces the one that waits: pieces are whole.
    if (!root.hasAttribute("data-wall") && isBusy(message.data)) {
      event.preventDefault();
      waiting = merged(waiting, message.data);
      notice("There are changes.", { words: "Show them", run: release });
    } else if (waiting) {
      message.data = merged(waiting, message.data);
      waiting = null;
      one("#notice").hidden = true;
    }
  });
  function merged(older, newer) {
    if (!older) return newer;
    const template = document.createElement("template");
    const keep = [];
    template.innerHTML = older;
    for (const partial of template.content.querySelectorAll("hx-partial")) {
      if (!newer.includes('hx-target="' + partial.getAttribute("hx-target") + '"')) keep.push(partial.outerHTML);
    }
    return keep.join("") + newer;
  }
  document.addEventListener("htmx:after:swap", () => { prepare(document); ages(); });

  setInterval(show, 1000);

  // A wall screen shows what is wrong, one after the other, when it does not fit.
  if (root.hasAttribute("data-wall")) {
    let at = 0;
    setInterval(() => {
      const rows = dynowatch.all("main tr.down, main tr.degraded");
      for (const row of rows) row.classList.remove("chosen");
      if (!rows.length) return;
      at = (at + 1) % rows.length;
      rows[at].classList.add("chosen");
      rows[at].scrollIntoView({ block: "nearest" });
    }, 8000);
  }
})();
