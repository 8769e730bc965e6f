// The log as it comes: lines that the page's stream brings, pausing, and marking words in what is shown. Pausing keeps
// the stream: what comes meanwhile waits, up to a bound, and is counted beyond it.
"use strict";
(() => {
  const { one, all } = dynowatch;
  const stream = one("#events"), box = one("#tail");
  if (!stream || !box) return;
  const list = one("ol", box), status = one("#tail-status"), button = one("[data-tail-pause]");
  const SHOWN_MAX = 1000;
  const WAITING_MAX = 2000;
  const number = new Intl.NumberFormat("en", { useGrouping: true });
  let waiting = [], waitingLines = 0, dropped = 0, missed = 0, begun = false;
  // Paused by the button, or because somebody reads further up.
  let paused = false, reading = false;

  one("[data-tail-refresh]")?.remove();
  if (button) button.hidden = false;

  function items(html) {
    const template = document.createElement("template");
    template.innerHTML = html;
    return template.content;
  }
  function show(message) {
    if (message.replace) list.replaceChildren();
    list.append(items(message.html));
    for (const [line, alert] of message.marks) mark(line, alert);
    let surplus = list.childElementCount - SHOWN_MAX;
    while (surplus-- > 0) list.firstElementChild.remove();
    if (list.childElementCount) one("[data-tail-empty]")?.remove();
    highlight();
  }
  // A line that was shown before it was known to have caused an alert.
  function mark(line, alert) {
    for (const item of all("[data-line='" + CSS.escape(line) + "']", list)) {
      if (item.classList.contains("matched")) continue;
      item.classList.add("matched");
      const link = document.createElement("a");
      link.className = "caused";
      link.href = "/alerts/" + encodeURIComponent(alert);
      link.textContent = "alert";
      one(".about", item).prepend(link, " ");
    }
  }
  function say(text) {
    if (status && status.textContent !== text) status.textContent = text;
  }
  function tell() {
    const parts = [];
    if (paused || reading) {
      parts.push((paused ? "Paused" : "Held while you read") + ": " + number.format(waitingLines) + (waitingLines === 1 ? " line waits" : " lines wait"));
      if (dropped) parts.push(number.format(dropped) + " older ones were let go");
    } else {
      parts.push("Live", "secrets are masked");
    }
    if (missed) parts.push(number.format(missed) + " lines not shown so far: narrow the filter to see them all");
    say(parts.join(" · ") + ".");
    button?.setAttribute("aria-pressed", String(paused));
    if (button) button.textContent = paused ? "Go on" : "Pause";
  }
  function release() {
    const all = waiting;
    if (dropped && all.length) list.append(items('<li class="gap">' + number.format(dropped) + " lines came while this was paused and were let go</li>"));
    waiting = [];
    waitingLines = 0;
    dropped = 0;
    for (const message of all) show(message);
    box.scrollTop = 0;
  }

  stream.addEventListener("lines", (event) => {
    const message = JSON.parse(event.detail.data);
    if (message.problem) { say(message.problem); return; }
    begun = true;
    missed += message.missed;
    if (!(paused || reading)) {
      show(message);
    } else if (message.replace) {
      // Connected anew from further on than what waits: it stands for all of it.
      waiting = [message];
      waitingLines = message.lines;
    } else {
      waiting.push(message);
      waitingLines += message.lines;
      while ((waitingLines > WAITING_MAX || waiting.length > WAITING_MAX) && waiting.length > 1) {
        const oldest = waiting.shift();
        waitingLines -= oldest.lines;
        dropped += oldest.lines;
      }
    }
    tell();
  });
  button?.addEventListener("click", () => {
    paused = !paused;
    if (!paused) { reading = false; release(); }
    tell();
  });
  // The box begins at its end and stays there by itself (its direction is turned round); further up is negative.
  box.addEventListener("scroll", () => {
    const away = box.scrollTop < -24;
    if (away === reading || paused) return;
    reading = away;
    if (!reading) release();
    if (begun) tell();
  }, { passive: true });

  // --- words to be marked, as they are typed
  const field = one("input[name=highlight]");
  const styles = globalThis.CSS?.highlights;
  function wanted() {
    const text = field?.value ?? "";
    if (!text) return null;
    const parts = text.match(/^\/(.+)\/(i?)$/);
    try {
      return parts ? new RegExp(parts[1], "g" + parts[2]) : new RegExp(text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"), "gi");
    } catch {
      return null;
    }
  }
  function highlight() {
    if (!styles || !field) return;
    const expression = wanted();
    if (!expression) { styles.delete("wanted"); return; }
    const ranges = [];
    for (const code of all("code", list).slice(-300)) {
      const walker = document.createTreeWalker(code, NodeFilter.SHOW_TEXT);
      while (walker.nextNode()) {
        const node = walker.currentNode;
        for (const found of node.data.matchAll(expression)) {
          if (!found[0] || ranges.length >= 2000) continue;
          const range = new Range();
          range.setStart(node, found.index);
          range.setEnd(node, found.index + found[0].length);
          ranges.push(range);
        }
      }
    }
    styles.set("wanted", new Highlight(...ranges));
  }
  field?.addEventListener("input", highlight);
  highlight();
})();
