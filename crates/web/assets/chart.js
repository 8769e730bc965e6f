// Charts: draws every figure[data-chart] from the JSON at its address (the form is pages/chart.rs's Data) with uPlot. Gaps
// stay gaps, the newest bucket is dashed, few samples are dots, cursors of one group move together, dragging zooms all
// (by the address), colours are the page's and follow the theme. A figure is asked for when it comes into sight.
"use strict";
(() => {
  const { one, all, notice } = dynowatch;
  const SERIES_COLOURED = 6;
  const SAMPLES_FOR_A_LINE = 20;
  const WHOLE = Array.from({ length: 10 }, (_, i) => [1, 2, 5].map((n) => n * 10 ** i)).flat();
  const charts = new Map();
  let current = null;

  const colour = (name) => {
    const probe = colour.probe ??= document.body.appendChild(Object.assign(document.createElement("span"), { hidden: true }));
    probe.style.color = "var(--" + name + ")";
    return getComputedStyle(probe).color;
  };
  const faded = (rgb, alpha) => rgb.startsWith("rgb(") ? rgb.replace("rgb(", "rgba(").replace(")", ", " + alpha + ")") : rgb.replace(")", " / " + alpha + ")");
  const short = (value) => value.toFixed(1).replace(/\.0$/, "");
  const shown = (value) => value == null ? "no data"
    : Math.abs(value) >= 1e6 ? short(value / 1e6) + " M"
    : Math.abs(value) >= 1e4 ? short(value / 1e3) + " k"
    : Number.isInteger(value) || Math.abs(value) >= 100 ? String(Math.round(value)) : value.toFixed(2);
  const zone = document.documentElement.dataset.zone || "UTC";
  const clock = new Intl.DateTimeFormat("en-GB", { timeZone: zone, day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", timeZoneName: "short" });
  const hourClock = new Intl.DateTimeFormat("en-GB", { timeZone: zone, hour: "2-digit", minute: "2-digit" });
  const dayClock = new Intl.DateTimeFormat("en-GB", { timeZone: zone, day: "numeric", month: "short" });
  const bothClock = new Intl.DateTimeFormat("en-GB", { timeZone: zone, day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });
  const moment = (seconds) => clock.format(new Date(seconds * 1000)).replace(",", "");

  const paint = (data, series, i) => series.state ? colour(series.state)
    : series.drawn === "limit" ? colour("down")
    : series.dim || colouredBefore(data, i) >= SERIES_COLOURED ? colour("line-strong")
    : colour("series-" + (colouredBefore(data, i) + 1));
  const colouredBefore = (data, i) => data.series.slice(0, i).filter((s) => !s.dim && !s.state && s.drawn !== "limit").length;

  // Parts of a whole are drawn on top of each other: each line is the sum up to it.
  // Bars are summed from the other end, so that each stands before the taller one it is part of.
  function columns(data, visible) {
    let below = null, behind = null;
    const bars = data.series.map(() => null);
    for (let i = data.series.length - 1; i >= 0; i--) {
      if (data.series[i].drawn !== "bars" || !visible[i]) continue;
      behind = bars[i] = data.series[i].values.map((value, at) => value == null ? null : value + (behind?.[at] ?? 0));
    }
    return data.series.map((series, i) => {
      if (bars[i]) return bars[i];
      if (series.drawn !== "stacked" || !visible[i]) return series.values;
      below = series.values.map((value, at) => value == null ? null : value + (below?.[at] ?? 0));
      return below;
    });
  }

  function options(chart, width, height) {
    const { data } = chart;
    const quiet = colour("quiet"), line = colour("line");
    // There is no half of a restart: labels of counts are whole.
    const whole = data.series.every((s) => s.values.every((v) => v == null || Number.isInteger(v)));
    const axis = { stroke: quiet, grid: { stroke: line, width: 1 }, ticks: { show: false }, font: "11px system-ui, sans-serif" };
    const stacked = data.series.map((s, i) => s.drawn === "stacked" ? i : -1).filter((i) => i >= 0);
    return {
      width, height,
      // The label of the last moment is not cut off.
      padding: [8, 18, 0, 0],
      tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), zone),
      legend: { show: false },
      focus: { alpha: 0.25 },
      cursor: { sync: { key: chart.group }, focus: { prox: 16 }, drag: { x: true, y: false, setScale: false }, points: { size: 7 } },
      scales: {
        x: { time: true },
        y: { distr: data.log ? 3 : 1, range: (u, min, max) => data.log ? [power(Math.floor, Math.max(min ?? 1, 0.1)), power(Math.ceil, Math.max(max ?? 1, 1))] : [0, top(data, max)] },
      },
      axes: [
        // Beyond four hours from one to the next, labels are a day and a time.
        { ...axis, size: 28, space: (u, at, min, max, width) => ((max - min) / width * 70 > 4 * 3600 ? 100 : 70), values: (u, ticks, at, space, step) => ticks.map((tick) => (step >= 86400 ? dayClock : step * 4 >= 86400 ? bothClock : hourClock).format(new Date(tick * 1000)).replace(",", "")) },
        { ...axis, size: 52, space: 26, ...(data.log ? { splits: powers, filter: (u, splits) => splits } : whole ? { incrs: WHOLE } : {}), values: (u, ticks) => ticks.map((tick) => tick == null ? "" : shown(tick)), label: (data.log ? "log " : "") + data.unit, labelSize: 14, labelFont: "11px system-ui, sans-serif" },
      ],
      series: [{}, ...data.series.map((series, i) => style(chart, series, i))],
      bands: stacked.slice(1).map((i, at) => ({ series: [i + 1, stacked[at] + 1], fill: faded(paint(data, data.series[i], i), 0.55) })),
      hooks: {
        drawClear: [(u) => { shade(u, data); marks(u, data); }],
        draw: [(u) => unfinished(u, data)],
        setCursor: [(u) => read(chart, u)],
        setSelect: [(u) => zoom(u)],
      },
    };
  }
  // Ends of a logarithmic axis are powers of ten: its labels are 1, 10, 100.
  const power = (to, value) => 10 ** to(Math.log10(value));
  const powers = (u, at, min, max) => Array.from({ length: Math.round(Math.log10(max / min)) + 1 }, (_, i) => min * 10 ** i);
  function top(data, max) {
    const limits = data.series.filter((s) => s.drawn === "limit").flatMap((s) => s.values).filter((v) => v != null);
    return Math.max(max ?? 0, ...limits, 0) * 1.06 || 1;
  }
  function style(chart, series, i) {
    const stroke = paint(chart.data, series, i);
    const few = series.samples && series.samples.some((n) => n > 0) && series.samples.every((n) => n < SAMPLES_FOR_A_LINE);
    const base = { label: series.name, show: chart.visible[i], stroke, width: 1.5, spanGaps: false, points: few ? { show: true, size: 5, fill: stroke } : { show: true, size: 4, fill: stroke, filter: alone } };
    switch (series.drawn) {
      case "stacked": return { ...base, width: 1, fill: faded(stroke, 0.55) };
      case "step": return { ...base, paths: uPlot.paths.stepped({ align: 1 }) };
      case "bars": return { ...base, width: 0, fill: stroke, paths: uPlot.paths.bars({ size: [0.8, 24] }), points: { show: false } };
      case "limit": return { ...base, dash: [5, 4], paths: uPlot.paths.stepped({ align: 1 }) };
      default: return few ? { ...base, paths: () => null } : base;
    }
  }
  // A value with nothing on either side is no line; it is a dot.
  function alone(u, i) {
    const values = u.data[i];
    return values.map((_, at) => at).filter((at) => values[at] != null && values[at - 1] == null && values[at + 1] == null);
  }
  // R14 above the quota, R15 above twice of it.
  function shade(u, data) {
    for (const { from, to, label, state, of } of data.shades) {
      if (of != null) { stepped(u, data, of, from, to, label, state); continue; }
      const y = Math.max(u.bbox.top, to == null ? u.bbox.top : u.valToPos(to, "y", true));
      const bottom = Math.min(u.bbox.top + u.bbox.height, u.valToPos(from, "y", true));
      if (bottom <= y) continue;
      u.ctx.fillStyle = faded(colour(state), 0.09);
      u.ctx.fillRect(u.bbox.left, y, u.bbox.width, bottom - y);
      u.ctx.fillStyle = colour(state);
      u.ctx.font = 10 * devicePixelRatio + "px system-ui, sans-serif";
      u.ctx.textAlign = "left";
      u.ctx.fillText(label, u.bbox.left + 6 * devicePixelRatio, y + 12 * devicePixelRatio);
    }
  }
  // Shades that follow a quota: a piece for each bucket in which the quota is known.
  function stepped(u, data, of, from, to, label, state) {
    const values = data.series[of]?.values ?? [];
    const width = u.valToPos(data.x[0] + data.step_s, "x", true) - u.valToPos(data.x[0], "x", true);
    let said = false;
    for (const [i, value] of values.entries()) {
      if (value == null) continue;
      const y = Math.max(u.bbox.top, to == null ? u.bbox.top : u.valToPos(value * to, "y", true));
      const bottom = Math.min(u.bbox.top + u.bbox.height, u.valToPos(value * from, "y", true));
      if (bottom <= y) continue;
      const x = u.valToPos(data.x[i], "x", true), right = Math.min(x + width, u.bbox.left + u.bbox.width);
      u.ctx.fillStyle = faded(colour(state), 0.09);
      u.ctx.fillRect(x, y, right - x, bottom - y);
      if (said || bottom - y < 14 * devicePixelRatio) continue;
      said = true;
      u.ctx.fillStyle = colour(state);
      u.ctx.font = 10 * devicePixelRatio + "px system-ui, sans-serif";
      u.ctx.textAlign = "left";
      u.ctx.fillText(label, x + 6 * devicePixelRatio, y + 12 * devicePixelRatio);
    }
  }
  // What happened, as thin lines behind the series; the strip below says what it was.
  function marks(u, data) {
    u.ctx.save();
    u.ctx.lineWidth = devicePixelRatio;
    u.ctx.setLineDash([2 * devicePixelRatio, 3 * devicePixelRatio]);
    for (const { at, kind } of data.events) {
      if (!(kind in marked)) continue;
      const x = Math.round(u.valToPos(at, "x", true));
      if (x < u.bbox.left || x > u.bbox.left + u.bbox.width) continue;
      u.ctx.strokeStyle = faded(colour(marked[kind]), 0.55);
      u.ctx.beginPath();
      u.ctx.moveTo(x, u.bbox.top);
      u.ctx.lineTo(x, u.bbox.top + u.bbox.height);
      u.ctx.stroke();
    }
    u.ctx.restore();
  }
  const marked = { release: "accent", config: "accent", alert: "down" };
  // The newest bucket is not over: its part is hatched out.
  function unfinished(u, data) {
    if (!data.incomplete || data.x.length < 2) return;
    const from = u.valToPos(data.x.at(-2), "x", true), to = u.valToPos(data.x.at(-1), "x", true);
    u.ctx.save();
    u.ctx.setLineDash([3 * devicePixelRatio, 3 * devicePixelRatio]);
    u.ctx.strokeStyle = colour("ground");
    u.ctx.lineWidth = 3 * devicePixelRatio;
    for (const [i, series] of data.series.entries()) {
      const [a, b] = [u.data[i + 1].at(-2), u.data[i + 1].at(-1)];
      if (!u.series[i + 1].show || series.drawn === "bars" || a == null || b == null) continue;
      u.ctx.beginPath();
      u.ctx.moveTo(from, u.valToPos(a, "y", true));
      u.ctx.lineTo(to, u.valToPos(b, "y", true));
      u.ctx.stroke();
    }
    u.ctx.restore();
  }

  // --- the reader: what the cursor points at, highest first
  function read(chart, u) {
    const at = u.cursor.idx;
    if (at == null || u.cursor.left < 0) { chart.reader.hidden = true; pointed(chart, null); return; }
    pointed(chart, chart.data.x[at]);
    const rows = chart.data.series.map((series, i) => ({ series, i, value: series.values[at] })).filter(({ i }) => chart.visible[i])
      .sort((a, b) => (b.value ?? -Infinity) - (a.value ?? -Infinity));
    const title = document.createElement("p");
    title.textContent = moment(chart.data.x[at]);
    chart.reader.replaceChildren(title, ...rows.map(({ series, i, value }) => row(chart, series, i, value, at)));
    for (const event of near(chart, chart.data.x[at])) {
      const line = document.createElement("p");
      line.textContent = glyphs[event.kind] + " " + event.label;
      chart.reader.append(line);
    }
    chart.reader.hidden = false;
    const left = u.cursor.left + u.over.offsetLeft + 14;
    const fits = left + chart.reader.offsetWidth < chart.plot.clientWidth;
    chart.reader.style.left = Math.max(0, fits ? left : left - chart.reader.offsetWidth - 28) + "px";
    chart.reader.style.top = "8px";
  }
  function row(chart, series, i, value, at) {
    const line = document.createElement("div"), swatch = document.createElement("span"), name = document.createElement("span"), number = document.createElement("b");
    swatch.className = "swatch";
    swatch.style.background = paint(chart.data, series, i);
    name.textContent = series.name + (series.samples ? " · n " + (series.samples[at] ?? 0) : "");
    number.textContent = shown(value) + (value == null ? "" : " " + chart.data.unit);
    line.append(swatch, name, number);
    return line;
  }
  const near = (chart, at) => chart.data.events.filter((event) => Math.abs(event.at - at) <= chart.data.step_s);

  // Dragging asks for that range, by the address: it can be sent to someone, and "back" leads back.
  function zoom(u) {
    if (u.select.width < 8) return;
    const from = Math.floor(u.posToVal(u.select.left, "x")), to = Math.ceil(u.posToVal(u.select.left + u.select.width, "x"));
    u.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
    if (to - from < 600) { notice("The shortest range is ten minutes"); return; }
    const address = new URL(location.href);
    address.searchParams.delete("range");
    address.searchParams.set("from", from);
    address.searchParams.set("to", to);
    location.assign(address);
  }

  // --- the legend: newest value; a click isolates, with shift it toggles
  function legend(chart) {
    const place = one("[data-legend]", chart.figure);
    place.replaceChildren(...chart.data.series.map((series, i) => {
      const button = document.createElement("button"), swatch = document.createElement("span"), value = document.createElement("strong");
      button.type = "button";
      button.setAttribute("aria-pressed", String(chart.visible[i]));
      swatch.className = "swatch";
      swatch.style.background = paint(chart.data, series, i);
      value.textContent = shown(series.values.findLast((v) => v != null));
      button.append(swatch, series.name + " ", value);
      button.addEventListener("click", (event) => {
        if (event.shiftKey) chart.visible[i] = !chart.visible[i];
        else {
          const alone = chart.visible.every((on, at) => on === (at === i));
          chart.visible = chart.visible.map((_, at) => alone || at === i);
        }
        draw(chart);
        one("[data-legend]", chart.figure).children[i].focus();
      });
      return button;
    }));
  }
  dynowatch.toggleSeries = (i) => {
    for (const chart of charts.values()) if (chart.data?.series[i] && (!current || current.group === chart.group)) { chart.visible[i] = !chart.visible[i]; draw(chart); }
  };

  // --- the strip of what happened stands in the page; its marks and the charts' cursors point at each other
  const glyphs = { release: "▲", config: "◆", scale: "●", restart: "↻", crash: "✕", alert: "▮", maintenance: "▨" };
  const mark = (event) => event.target.closest?.("svg.marks [data-at]");
  function point(event) {
    const at = Number(mark(event)?.dataset.at);
    const chart = at && [...charts.values()].find((chart) => chart.u);
    if (chart) chart.u.setCursor({ left: chart.u.valToPos(at, "x"), top: 10 });
  }
  document.addEventListener("pointerover", point);
  document.addEventListener("focusin", point);
  function pointed(chart, at) {
    for (const one of all("svg.marks [data-at]")) one.toggleAttribute("data-near", at != null && Math.abs(Number(one.dataset.at) - at) <= chart.data.step_s);
  }

  // --- drawing
  function draw(chart) {
    if (!chart.data) return;
    chart.u?.destroy();
    const width = chart.plot.clientWidth, height = chart.plot.clientHeight;
    if (!chart.data.x.length || chart.data.series.every((s) => s.values.every((v) => v == null))) {
      chart.plot.replaceChildren(Object.assign(document.createElement("p"), { className: "quiet", textContent: "No data in this range" }));
      return;
    }
    chart.plot.replaceChildren();
    chart.u = new uPlot(options(chart, width, height), [chart.data.x, ...columns(chart.data, chart.visible)], chart.plot);
    chart.plot.append(chart.reader);
    legend(chart);
  }
  async function load(chart) {
    chart.plot.dataset.state = "loading";
    try {
      const answer = await fetch(chart.figure.dataset.chart, { headers: { accept: "application/json" } });
      if (!answer.ok) throw new Error(String(answer.status));
      chart.data = await answer.json();
      chart.visible = chart.visible?.length === chart.data.series.length ? chart.visible : chart.data.series.map(() => true);
      chart.plot.dataset.state = "drawn";
      draw(chart);
    } catch {
      // What stands there stays, be it the picture that came with the page; the page's freshness says that the server is
      // away, and its next values are asked for as if nothing had been.
      chart.plot.dataset.state = "failed";
    }
  }

  // --- the cursor by keys: it moves and says the values
  function keys(chart) {
    chart.plot.addEventListener("keydown", (event) => {
      if (!chart.u || event.metaKey || event.ctrlKey || event.altKey) return;
      const last = chart.data.x.length - 1;
      const from = chart.at ?? (/Left|Up/.test(event.key) ? last + 1 : -1);
      const to = { ArrowLeft: from - 1, ArrowRight: from + 1, PageUp: from - 10, PageDown: from + 10, Home: 0, End: last }[event.key];
      if (to === undefined) {
        if (event.key === "Escape") { chart.u.setCursor({ left: -10, top: -10 }); chart.plot.blur(); }
        else if (/^[1-6]$/.test(event.key)) dynowatch.toggleSeries(Number(event.key) - 1);
        return;
      }
      event.preventDefault();
      chart.at = Math.min(Math.max(to, 0), last);
      chart.u.setCursor({ left: chart.u.valToPos(chart.data.x[chart.at], "x"), top: 10 });
      const values = chart.data.series.map((series) => series.name + " " + shown(series.values[chart.at]) + " " + chart.data.unit);
      chart.said.textContent = moment(chart.data.x[chart.at]) + ": " + values.join(", ");
    });
    chart.plot.addEventListener("focus", () => { current = chart; });
    chart.plot.addEventListener("pointerenter", () => { current = chart; });
  }

  const seen = new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries) {
      if (isIntersecting && charts.has(target) && !charts.get(target).asked) { charts.get(target).asked = true; load(charts.get(target)); }
    }
  }, { rootMargin: "200px" });
  const sized = new ResizeObserver((entries) => {
    for (const { target } of entries) {
      const chart = [...charts.values()].find((chart) => chart.plot === target);
      if (chart?.u && chart.u.width !== target.clientWidth) { chart.u.setSize({ width: target.clientWidth, height: target.clientHeight }); }
    }
  });
  function find() {
    for (const [figure, chart] of charts) if (!figure.isConnected) { chart.u?.destroy(); charts.delete(figure); }
    for (const figure of all("figure[data-chart]")) {
      if (charts.has(figure)) continue;
      const reader = Object.assign(document.createElement("div"), { className: "reader", hidden: true });
      const said = Object.assign(document.createElement("p"), { className: "visually-hidden" });
      said.setAttribute("role", "status");
      const chart = { figure, plot: one("[data-plot]", figure), group: figure.dataset.group, reader, said, data: null, visible: null };
      figure.append(said);
      charts.set(figure, chart);
      keys(chart);
      seen.observe(figure);
      sized.observe(chart.plot);
    }
  }
  find();
  document.addEventListener("htmx:after:swap", find);
  document.addEventListener("dynowatch:theme", () => { for (const chart of charts.values()) draw(chart); });
  // Charts of a range that moves with the present are asked for again each minute while the page is looked at.
  setInterval(() => {
    const moves = !new URLSearchParams(location.search).has("from");
    if (!moves || document.hidden) return;
    for (const chart of charts.values()) if (chart.asked) load(chart);
  }, 60000);
})();
