// The interactive parts of the report. All texts come from records: they are set as text, never as markup.
"use strict";
(function () {
  const read = document.getElementById("data");
  if (!read) return;
  const data = JSON.parse(read.textContent);
  const $ = (id) => document.getElementById(id);
  const root = document.documentElement;
  const DataTable = window.tunefrontTables;
  const Plotly = window.Plotly;
  root.classList.add("js");

  const make = (name, attributes, ...children) => {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(attributes || {})) {
      if (key === "class") element.className = value;
      else if (key in element && key !== "list") element[key] = value;
      else element.setAttribute(key, value);
    }
    element.append(...children.filter((child) => child !== null && child !== undefined));
    return element;
  };

  // DataTables sets strings as markup, so a cell gets a node, and the head of a column is escaped.
  const text = (value) => document.createTextNode(value);
  const escape = (value) => String(value).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
  // plotly fills in `%{…}` in what it shows beside a point.
  const plain = (value) => escape(value).replace(/%/g, "&#37;");

  // ---------------------------------------------------------------- records
  const columns = data.records.columns;
  const field = (name, row) => {
    const column = columns[name];
    if (!column) return null;
    if (column.all) return column.v[row];
    if (column.i) return column.i[row] < 0 ? null : column.v[column.i[row]];
    return column.v[0];
  };
  const number = (value) => (Number.isInteger(value) && Math.abs(value) >= 1e4 ? value.toLocaleString("en-US") : String(value));
  const shown = (value) =>
    value === null || value === undefined ? "—" : (typeof value === "number" ? number(value) : String(value)).replace(/^-(?=\d)/, "−");
  const score = (value) => (typeof value === "number" ? (100 * value).toFixed(1).replace("-", "−") : "—");
  const byKey = new Map();
  for (let row = 0; row < data.records.count; row++) byKey.set(String(field("key", row)).slice(0, 16), row);
  const LIST = [
    ["record", "key"], ["status", "status"], ["method", "label"], ["backbone", "backbone"], ["task", "task"], ["template", "template"],
    ["rows", "shots"], ["draw", "draw_seed"], ["seed", "seed"], ["score × 100", "score"],
    ["trained parameters", "parameters.trainable"], ["training FLOPs", "flops.train"],
    ["training seconds", "seconds.train"],
  ];
  const varies = (rows, name) => new Set(rows.map((row) => field(name, row))).size > 1;
  const listed = (rows) =>
    LIST.filter(([, name]) => ["label", "task", "score", "key", "seed", "draw_seed"].includes(name) || varies(rows, name));
  const recordLink = (row) => {
    const key = String(field("key", row));
    return make("a", { href: `#record-${key.slice(0, 16)}`, class: "key", title: `records/${key}.json` }, key.slice(0, 12));
  };
  const cellOf = (name, row) =>
    name === "key" ? recordLink(row) : text(name === "score" ? score(field(name, row)) : shown(field(name, row)));
  const order = (value) => (value === null || value === undefined ? -Infinity : value);

  const recordTable = (table, rows, options) => {
    const names = listed(rows);
    return new DataTable(table, {
      data: rows.map((row) => [row]),
      columns: names.map(([title, name]) => ({
        title,
        data: 0,
        className: typeof field(name, rows[0]) === "number" || name === "score" ? "num" : "",
        type: typeof field(name, rows[0]) === "number" ? "num" : "string",
        render: (row, type) =>
          type === "display" ? cellOf(name, row) : type === "filter" ? shown(field(name, row)) : order(field(name, row)),
      })),
      order: [],
      deferRender: true,
      autoWidth: false,
      pageLength: 25,
      lengthMenu: [25, 100, 500],
      paging: rows.length > 25,
      searching: rows.length > 12,
      info: rows.length > 25,
      layout: layout(rows.length > 12, rows.length > 25),
      language: words,
      ...options,
    });
  };
  const words = {
    search: "Filter", lengthMenu: "_MENU_ per page", info: "_START_ to _END_ of _TOTAL_",
    infoFiltered: "(of _MAX_)", zeroRecords: "No row has this text.", emptyTable: "No rows.",
  };
  const layout = (search, pages) => ({
    topStart: null, topEnd: search ? "search" : null,
    bottomStart: pages ? "info" : null, bottomEnd: pages ? "paging" : null,
  });

  // ---------------------------------------------------------------- the dialog of records
  const dialog = $("behind");
  const heading = $("behind-title");
  const body = $("behind-body");
  const close = () => dialog.close();
  // What the plot shows is in the address, so that a view can be sent: `#view-PANEL.TASK.HEIGHT.COST`.
  let viewed = "", restore = null;
  const remember = (hash) => {
    viewed = hash;
    if (!dialog.open) history.replaceState(null, "", location.href.split("#")[0] + (hash && `#${hash}`));
  };
  const describe = (row) => {
    const groups = new Map();
    for (const name of Object.keys(columns)) {
      const value = field(name, row);
      if (value === null || value === undefined || value === "") continue;
      const group = name.includes(".") ? name.split(".")[0] : "record";
      if (!groups.has(group)) groups.set(group, []);
      groups.get(group).push([name, value]);
    }
    const parts = [];
    for (const [group, values] of groups) {
      const lines = values.map(([name, value]) => {
        let about = name;
        while (about && !(about in data.records.about)) about = about.includes(".") ? about.slice(0, about.lastIndexOf(".")) : "";
        return make("tr", {}, make("th", { scope: "row" }, name), make("td", {}, shown(value)),
          make("td", { class: "about" }, about ? data.records.about[about] : ""));
      });
      const table = make("table", { class: "fields" }, make("tbody", {}, ...lines));
      parts.push(make("details", { open: ["record", "scores", "parameters"].includes(group) }, make("summary", {}, group, make("small", {}, ` ${values.length}`)), make("div", { class: "scroll" }, table)));
    }
    return parts;
  };
  const openRecord = (row) => {
    heading.textContent = `${field("label", row)} on ${field("task", row)}`;
    const path = `records/${field("key", row)}.json`;
    body.replaceChildren(make("p", { class: "note" }, "Everything that this run recorded. Its file in the results folder: ", make("code", {}, path)), ...describe(row));
  };
  const openList = (rows, title) => {
    if (rows.length === 1) return openRecord(rows[0]);
    heading.textContent = title;
    const table = make("table", {});
    body.replaceChildren(make("p", { class: "note" }, "The number is of these runs. The first column opens all that a run recorded."), make("div", { class: "scroll" }, table));
    recordTable(table, rows, {});
  };
  const follow = () => {
    const hash = location.hash.slice(1);
    let rows = null;
    if (hash.startsWith("view-")) {
      if (restore) restore(hash);
      return;
    }
    if (hash.startsWith("record-") && byKey.has(hash.slice(7))) openRecord(byKey.get(hash.slice(7)));
    else if (Object.hasOwn(data.links, hash)) rows = data.links[hash];
    else if (/^rows-\d+(\.\d+)*$/.test(hash)) rows = hash.slice(5).split(".").map(Number).filter((row) => row < data.records.count);
    else {
      if (dialog.open) close();
      const target = hash && document.getElementById(hash);
      const folded = target && target.closest("details");
      if (folded) folded.open = true;
      if (target) target.scrollIntoView({ block: "start" });
      return;
    }
    if (rows && rows.length) {
      const labels = new Set(rows.map((row) => field("label", row)));
      const tasks = new Set(rows.map((row) => field("task", row)));
      openList(rows, `${labels.size === 1 ? [...labels][0] : `${labels.size} methods`} on ${tasks.size === 1 ? [...tasks][0] : `${tasks.size} tasks`}: ${rows.length} records`);
    }
    if ((!rows || rows.length) && !dialog.open) dialog.showModal();
    body.scrollTop = 0;
  };
  $("behind-close").addEventListener("click", close);
  dialog.addEventListener("click", (event) => { if (event.target === dialog) close(); });
  dialog.addEventListener("close", () => {
    remember(viewed);
  });
  addEventListener("hashchange", follow);

  // ---------------------------------------------------------------- tables
  const enhance = (table) => {
    if (table.dataset.done) return;
    table.dataset.done = "yes";
    const rows = table.tBodies[0] ? table.tBodies[0].rows.length : 0;
    if (rows < 2) return;
    new DataTable(table, {
      order: [], paging: false, info: false, autoWidth: false, searching: rows > 12, language: words,
      layout: layout(rows > 12, false),
    });
  };
  const watch = new IntersectionObserver((entries) => {
    for (const entry of entries) if (entry.isIntersecting) { watch.unobserve(entry.target); enhance(entry.target); }
  }, { rootMargin: "300px" });
  for (const table of document.querySelectorAll("table.sortable")) watch.observe(table);
  const whole = $("all-records");
  if (whole) whole.addEventListener("toggle", () => {
    if (!whole.open || whole.dataset.done) return;
    whole.dataset.done = "yes";
    recordTable($("records-table"), [...Array(data.records.count).keys()], {});
  });

  // ---------------------------------------------------------------- the plot
  const panels = data.panels;
  const plot = $("plot");
  if (plot && panels.length) interact();
  follow();

  function interact() {
    const controls = { backbone: $("at-backbone"), shots: $("at-shots"), metric: $("at-metric"), task: $("at-task"), up: $("at-up"), across: $("at-across") };
    const live = $("plot-live"), note = $("plot-note"), menu = $("at-methods"), menuSize = $("at-methods-size");
    const state = { panel: 0, view: 0, up: "gap", across: null, off: new Set() };
    let places = [], current = -1, methodsTable = null, tableFor = "", describeMethod = null, columnsShown = [], showCell = null;
    const SYMBOLS = { o: "circle", s: "square", "^": "triangle-up", D: "diamond", v: "triangle-down", P: "cross", X: "x", "<": "triangle-left", ">": "triangle-right", h: "hexagon2", p: "pentagon", "*": "star" };
    const css = (name) => getComputedStyle(root).getPropertyValue(name).trim();
    const colour = (style) => css(style[0] < 0 ? "--ink" : `--c${style[0]}`);
    const wrapped = (text) => {
      // In two lines, broken at the blank nearest to the middle, if it is too long for a phone.
      if (text.length <= 42) return [text];
      const at = [...text.matchAll(/ /g)].map((found) => found.index).sort((a, b) => Math.abs(a - text.length / 2) - Math.abs(b - text.length / 2))[0];
      return at ? [text.slice(0, at), text.slice(at + 1)] : [text];
    };
    const brief = (text) => (text.length > 34 ? `${text.slice(0, 16)}…${text.slice(-16)}` : text);

    const fill = (select, options, value) => {
      select.replaceChildren(...options.map(([key, text]) => make("option", { value: key, selected: key === value }, text)));
      select.closest("label").hidden = options.length < 2;
    };
    const distinct = (name, where) => [...new Set(panels.filter(where).map((panel) => panel[name]))];
    const choose = () => {
      const panel = panels[state.panel];
      fill(controls.backbone, distinct("backbone", () => true).map((name) => [name, name]), panel.backbone);
      fill(controls.shots, distinct("shots", (other) => other.backbone === panel.backbone).map((name) => [name, name]), panel.shots);
      fill(controls.metric, distinct("metric", (other) => other.backbone === panel.backbone && other.shots === panel.shots).map((name) => [name, name]), panel.metric);
      fill(controls.task, [["0", panel.tasks.length > 1 ? `all ${panel.tasks.length}, on average` : panel.tasks[0]], ...(panel.views.length > 1 ? panel.tasks.map((task, place) => [String(place + 1), task]) : [])], String(state.view));
      if (!panel.costs.some((cost) => cost.id === state.across)) state.across = panel.costs.length ? panel.costs[0].id : null;
      fill(controls.across, panel.costs.map((cost) => [cost.id, cost.title]), state.across);
      if (state.up === "gap" && panel.reference === null) state.up = "score";
      fill(controls.up, [...(panel.reference === null ? [] : [["gap", `points against ${panel.reference}`]]), ["score", "score × 100"]], state.up);
      menu.replaceChildren(...panel.methods.label.map((label, place) => {
        const box = make("input", { type: "checkbox", checked: !state.off.has(label) });
        box.addEventListener("change", () => { if (box.checked) state.off.delete(label); else state.off.add(label); draw(); });
        return make("label", {}, box, mark(panel.methods.style[place]), ` ${label}`);
      }));
      for (const said of document.querySelectorAll("[data-panel]")) said.hidden = Number(said.dataset.panel) !== state.panel;
    };
    const mark = (style) => {
      const glyphs = { o: "●", s: "■", "^": "▲", D: "◆", v: "▼", P: "✚", X: "✖", "<": "◀", ">": "▶", h: "⬢", p: "⬟", "*": "★" };
      return make("span", { class: "mark", style: `color: var(${style[0] < 0 ? "--ink" : `--c${style[0]}`})`, "aria-hidden": "true" }, glyphs[style[1]]);
    };
    const find = (backbone, shots, metric) => {
      const fits = (panel) => (panel.backbone === backbone ? 4 : 0) + (panel.shots === shots ? 2 : 0) + (panel.metric === metric ? 1 : 0);
      return panels.reduce((best, panel, place) => (fits(panel) > fits(panels[best]) ? place : best), 0);
    };
    for (const [name, select] of Object.entries(controls)) select.addEventListener("change", () => {
      if (["backbone", "shots", "metric"].includes(name)) {
        const task = panels[state.panel].tasks[state.view - 1];
        state.panel = find(controls.backbone.value, controls.shots.value, controls.metric.value);
        state.view = Math.max(0, panels[state.panel].tasks.indexOf(task) + 1);
        if (panels[state.panel].views.length < 2) state.view = 0;
      } else if (name === "task") state.view = Number(select.value);
      else state[name] = select.value;
      choose();
      draw();
      remember(view());
    });
    $("at-all").addEventListener("click", () => { state.off.clear(); choose(); draw(); });
    $("at-none").addEventListener("click", () => { state.off = new Set(panels[state.panel].methods.label); choose(); draw(); });
    $("at-tied").addEventListener("click", () => {
      const panel = panels[state.panel], view = panel.views[state.view];
      state.off = new Set(panel.methods.label.filter((label, place) => !view.tied[place] && label !== panel.reference));
      choose(); draw();
    });

    // A scale: linear from 0 for a narrow range, else logarithmic with a strip for 0 on its left.
    const scaleOf = (values) => {
      const positive = values.filter((value) => value > 0), zeros = values.length - positive.length;
      const least = Math.min(...positive), most = Math.max(...positive);
      if (!positive.length) return { log: false, range: [-0.5, 1], at: () => 0, ticks: [[0, "0"]] };
      if (most / least < 6) {
        const step = nice(most / 4), ticks = [];
        for (let tick = 0; tick <= 1.1 * most; tick += step) ticks.push([tick, si(tick)]);
        return { log: false, range: [zeros ? -0.06 * most : 0, 1.12 * most], at: (value) => value, ticks };
      }
      const low = Math.log10(least), high = Math.log10(most), pad = 0.06 * (high - low) + 0.05;
      const strip = zeros ? 0.16 * (high - low) + 0.2 : 0;
      let order = 0;
      const at = (value) => (value > 0 ? Math.log10(value) : low - pad - strip * (++order / (zeros + 1)));
      const ticks = zeros ? [[low - pad - strip / 2, "0"]] : [];
      const steps = high - low > 2.2 ? [1] : high - low > 1.2 ? [1, 3] : [1, 2, 5];
      for (let power = Math.floor(low - pad); power <= high + pad; power++)
        for (const digit of steps) {
          const place = power + Math.log10(digit);
          if (place >= low - pad && place <= high + pad) ticks.push([place, si(digit * 10 ** power)]);
        }
      const every = Math.ceil(ticks.length / 9);
      return { log: true, range: [low - pad - strip, high + pad], edge: zeros ? low - pad : null, at, ticks: ticks.filter((tick, place) => tick[1] === "0" || place % every === 0) };
    };
    const nice = (value) => { const power = 10 ** Math.floor(Math.log10(value)); return [1, 2, 5, 10].find((digit) => digit * power >= value) * power; };
    const si = (value) => {
      if (value === 0) return "0";
      for (const [size, prefix] of [[1e18, "E"], [1e15, "P"], [1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"], [1, ""], [1e-3, "m"], [1e-6, "µ"]])
        if (Math.abs(value) >= size * 0.9999) return `${Number((value / size).toPrecision(3))}${prefix}`;
      return value.toExponential(0);
    };

    // The first free place around each point for its label, the most important points first; none if all are taken.
    const CHOSEN = 8, UNLIKELY = 0.05;
    const unlikely = (view, across, place) => view.share[across] !== undefined && view.share[across][place] !== null && view.share[across][place] < UNLIKELY;
    const TRIES = [["middle right", 10, -6], ["top right", 5, -20], ["bottom right", 5, 6], ["middle left", -10, -6], ["top left", -5, -20], ["bottom left", -5, 6], ["top center", 0, -22], ["bottom center", 0, 9]];
    const spots = (points, obstacles, box) => {
      const taken = [...obstacles, ...points.map((point) => [point.px - 6, point.py - 6, point.px + 6, point.py + 6])];
      const meets = (area, other) => area[2] >= other[0] && area[0] <= other[2] && area[3] >= other[1] && area[1] <= other[3];
      const found = new Map();
      for (const point of [...points].sort((a, b) => b.weight - a.weight)) {
        const width = 6.6 * brief(point.label).length;
        for (const [position, dx, dy] of TRIES) {
          const left = position.includes("left") ? point.px + dx - width : position.includes("center") ? point.px - width / 2 : point.px + dx;
          const area = [left, point.py + dy, left + width, point.py + dy + 13];
          const inside = area[0] >= box[0] && area[2] <= box[2] && area[1] >= box[1] && area[3] <= box[3];
          if (inside && !taken.some((other) => meets(area, other) && !(other.of === point && position.includes("center")))) {
            taken.push(area);
            found.set(point, position);
            break;
          }
        }
        // The method to start with has its name in any case, over lines if need be.
        if (point.weight >= CHOSEN && !found.has(point)) {
          found.set(point, "bottom right");
          taken.push([point.px + 5, point.py + 6, point.px + 5 + width, point.py + 19]);
        }
      }
      return found;
    };

    function draw() {
      const panel = panels[state.panel], view = panel.views[state.view], heights = view[state.up];
      const across = Math.max(0, panel.costs.findIndex((cost) => cost.id === state.across)), cost = panel.costs[across];
      const { label, style } = panel.methods;
      const ids = [], missing = [];
      label.forEach((name, place) => {
        if (state.off.has(name)) return;
        if (cost && heights.value[place] !== null && view.cost[across][place] !== null) ids.push(place);
        else missing.push(name);
      });
      menuSize.textContent = `${label.filter((name) => !state.off.has(name)).length} of ${label.length}`;
      const narrow = plot.clientWidth < 560;
      const margin = { l: narrow ? 54 : 62, r: 16, t: 12, b: 52 }, height = plot.clientHeight || 460;
      const scale = scaleOf(ids.map((place) => view.cost[across][place]));
      const ends = ids.flatMap((place) => [heights.value[place], heights.low[place] ?? heights.value[place], heights.high[place] ?? heights.value[place]]);
      let bottom = Math.min(...ends, ...(state.up === "gap" ? [0] : [])), top = Math.max(...ends, ...(state.up === "gap" ? [0] : []));
      if (!ends.length) [bottom, top] = [0, 1];
      if (top - bottom < 1) [bottom, top] = [(bottom + top - 1) / 2, (bottom + top + 1) / 2];
      const room = 0.08 * (top - bottom);
      [bottom, top] = [bottom - room, top + room];
      const wide = plot.clientWidth - margin.l - margin.r, tall = height - margin.t - margin.b;
      const toX = (value) => margin.l + ((value - scale.range[0]) / (scale.range[1] - scale.range[0])) * wide;
      const toY = (value) => margin.t + ((top - value) / (top - bottom)) * tall;
      // The front: from the cheapest on, every method that scores more than all cheaper ones.
      const front = new Set();
      let best = -Infinity;
      for (const place of [...ids].sort((a, b) => view.cost[across][a] - view.cost[across][b] || heights.value[b] - heights.value[a]))
        if (heights.value[place] > best && view.whole[place] && !panel.methods.mostly[place]) { best = heights.value[place]; front.add(place); }
      places = ids.map((place) => {
        const x = scale.at(view.cost[across][place]), y = heights.value[place];
        const weight = (label[place] === panel.choice ? CHOSEN : 0) + (label[place] === panel.reference ? 4 : 0) + (front.has(place) ? 2 : 0) + (view.tied[place] ? 1 : 0);
        return { place, label: label[place], x, y, px: toX(x), py: toY(y), weight };
      });
      places.sort((a, b) => a.x - b.x || a.y - b.y);
      const ink = css("--ink"), soft = css("--soft"), rule = css("--rule");
      const details = (place) => [
        ["Score", `${view.score.text[place]} ${view.score.interval[place]}`],
        ...(panel.reference === null || label[place] === panel.reference ? [] : [[`Against ${panel.reference}`, `${view.gap.text[place]} ${view.gap.interval[place]}`]]),
        ...(view.share[across] && view.share[across][place] !== null ? [["P(on this front)", view.chance[across][place]]] : []),
        ...panel.costs.map((other, at) => [other.title, view.text[at][place]]),
        ...(panel.methods.collapsed[place] ? [["Collapsed", panel.methods.collapsed[place]]] : []),
      ];
      const line = [...places].filter((point) => front.has(point.place));
      const stairs = { x: [], y: [] };
      line.forEach((point, at) => {
        if (at) { stairs.x.push(point.x); stairs.y.push(line[at - 1].y); }
        stairs.x.push(point.x); stairs.y.push(point.y);
      });
      if (line.length) { stairs.x.push(scale.range[1]); stairs.y.push(line[line.length - 1].y); }
      const obstacles = places.map((point) => {
        const low = heights.low[point.place] ?? point.y, high = heights.high[point.place] ?? point.y;
        return Object.assign([point.px - 2, toY(high), point.px + 2, toY(low)], { of: point });
      });
      for (let at = 1; at < stairs.x.length; at++) {
        const [x0, x1] = [toX(stairs.x[at - 1]), toX(stairs.x[at])].sort((a, b) => a - b), [y0, y1] = [toY(stairs.y[at - 1]), toY(stairs.y[at])].sort((a, b) => a - b);
        obstacles.push([x0, y0 - 1, x1, y1 + 1]);
      }
      if (state.up === "gap") obstacles.push([margin.l, toY(0) - 1, plot.clientWidth, toY(0) + 1]);
      const named = spots(places, obstacles, [margin.l - 4, margin.t - 10, plot.clientWidth, margin.t + tall + 4]);
      const traces = [
        { type: "scatter", mode: "lines", ...stairs, line: { color: soft, width: 1.2, dash: "dot" }, hoverinfo: "skip", showlegend: false },
        ...places.map((point) => {
          const tint = colour(style[point.place]), faint = unlikely(view, across, point.place);
          const low = heights.low[point.place], high = heights.high[point.place];
          const text = details(point.place).map(([name, value]) => `${plain(name)}: <b>${plain(value)}</b>`).join("<br>");
          return {
            type: "scatter", mode: "markers+text", x: [point.x], y: [point.y], name: plain(point.label), showlegend: false,
            text: [named.has(point) ? plain(brief(point.label) + (panel.methods.mostly[point.place] ? "†" : "")) : ""], textposition: named.get(point) || "top center",
            textfont: { size: 12, color: faint ? soft : ink }, cliponaxis: false,
            opacity: faint ? 0.55 : 1,
            marker: { color: tint, size: point.label === panel.choice ? 13 : 9.5, symbol: SYMBOLS[style[point.place][1]] + (view.whole[point.place] ? "" : "-open"), line: { width: point.label === panel.choice ? 2 : 0, color: ink } },
            error_y: low === null ? undefined : { type: "data", symmetric: false, array: [high - point.y], arrayminus: [point.y - low], color: tint, thickness: 1.3, width: 3 },
            hovertemplate: `<b>${plain(brief(point.label))}</b><br>${text}<extra></extra>`,
          };
        }),
      ];
      const shapes = state.up === "gap" && panel.reference !== null ? [{ type: "line", xref: "paper", x0: 0, x1: 1, y0: 0, y1: 0, line: { color: soft, width: 1 }, layer: "below" }] : [];
      if (scale.edge !== null && scale.edge !== undefined) shapes.push({ type: "line", yref: "paper", y0: 0, y1: 1, x0: scale.edge, x1: scale.edge, line: { color: rule, width: 1, dash: "dot" }, layer: "below" });
      const font = { family: css("--sans"), size: 12, color: soft };
      const unit = cost && ({ B: "bytes", FLOP: "FLOPs", s: "seconds" }[cost.unit] || cost.unit);
      const title = cost ? cost.title + (unit && !cost.title.toLowerCase().includes(unit.toLowerCase()) ? `, ${unit}` : "") + (scale.log ? " (log scale)" : "") : "";
      const figure = {
        font, margin, height, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", hovermode: "closest", dragmode: false, shapes,
        xaxis: { range: scale.range, tickvals: scale.ticks.map((tick) => tick[0]), ticktext: scale.ticks.map((tick) => tick[1]), title: { text: (narrow ? wrapped(title) : [title]).map(plain).join("<br>"), standoff: 10, font: { size: 12.5, color: ink } }, showgrid: false, zeroline: false, linecolor: soft, ticks: "outside", tickcolor: soft, ticklen: 4, fixedrange: true },
        yaxis: { range: [bottom, top], title: { text: escape(state.up === "gap" ? `points against ${brief(panel.reference)}` : "score × 100"), standoff: 6, font: { size: 12.5, color: ink } }, gridcolor: rule, zeroline: false, linecolor: soft, fixedrange: true },
        hoverlabel: { bgcolor: css("--paper"), bordercolor: soft, font: { family: css("--sans"), size: 12, color: ink }, align: "left" },
      };
      Plotly.react(plot, traces, figure, { displayModeBar: false, responsive: false, typesetMath: false });
      const bars = { methods: `Bars: 95 % intervals of ${state.up === "gap" ? "the difference" : "the mean"} when the method is trained again.`, rows: "Bars: 95 % intervals on other test rows of these tasks.", checkpoints: "Bars: 95 % intervals of these checkpoints on other test rows; other draws and seeds did not run.", "": "No bars: how sure the heights are is not known." }[view.bars];
      const hidden = places.filter((point) => !named.has(point)).length;
      note.textContent = [bars, `Dotted: the Pareto front of the methods shown${panel.methods.mostly.some(Boolean) || places.some((point) => !view.whole[point.place]) ? ", without those that collapsed or lack a task" : ""}.`, places.some((point) => unlikely(view, across, point.place)) ? "Faint: on this front with a probability below 0.05." : "", places.some((point) => !view.whole[point.place]) ? "Open: not on every task." : "", panel.methods.mostly.some(Boolean) ? "†: at least half of the runs collapsed." : "", hidden ? `${hidden} without a label for lack of room: point at them.` : "", missing.length ? `No value here: ${missing.join(", ")}.` : ""].filter(Boolean).join(" ");
      plot.setAttribute("aria-label", `Plot of ${state.up === "gap" ? `points against ${panel.reference}` : "score"} against ${cost ? cost.title : "no cost"} for ${places.length} methods. Arrow keys move from method to method, Enter opens the records. The table below has the same numbers.`);
      current = -1;
      tabulate(panel, view, across);
      describeMethod = details;
    }

    // The table under the plot: every method with all of its numbers.
    function tabulate(panel, view, across) {
      // An average over some of the tasks is not comparable with one over all.
      const only = (values) => values.map((value, place) => (view.whole[place] ? value : null));
      const heads = [
        { title: "method", text: (place) => panel.methods.label[place] },
        { title: "score × 100", value: only(view.score.value), text: (place) => (view.whole[place] ? view.score.text[place] : "—"), note: (place) => view.score.interval[place] },
        ...(panel.reference === null ? [] : [{ title: `against ${panel.reference}`, value: only(view.gap.value), text: (place) => (view.whole[place] ? view.gap.text[place] : "—"), note: (place) => view.gap.interval[place] }]),
        ...(view.share[across] && view.share[across].some((share) => share !== null) ? [{ title: "P(on this front)", value: view.share[across], text: (place) => view.chance[across][place] }] : []),
        ...panel.costs.map((cost, at) => ({ title: cost.title, value: view.cost[at], text: (place) => view.text[at][place] })),
      ];
      const rows = panel.methods.label.map((_, place) => place).filter((place) => !state.off.has(panel.methods.label[place]));
      const shape = JSON.stringify([state.panel, heads.map((head) => head.title)]);
      if (methodsTable && shape !== tableFor) { methodsTable.destroy(); $("methods-table").replaceChildren(); methodsTable = null; }
      const display = (head, place) => {
        if (head.title === "method") return make("span", { class: view.tied[place] ? "strong nowrap" : "nowrap" }, mark(panel.methods.style[place]), ` ${panel.methods.label[place]}${panel.methods.mostly[place] ? "†" : ""}`);
        const value = head.text(place);
        if (value === "—") return text(value);
        const link = make("a", { href: `#${view.link[place]}` }, value);
        return head.note && head.note(place) ? make("span", {}, link, make("small", {}, ` ${head.note(place)}`)) : link;
      };
      [columnsShown, showCell] = [heads, display];
      if (!methodsTable) {
        tableFor = shape;
        methodsTable = new DataTable($("methods-table"), {
          data: rows.map((place) => [place]), order: [], paging: false, info: false, autoWidth: false, searching: true, language: words, layout: layout(true, false),
          columns: heads.map((head, at) => ({
            title: escape(head.title), data: 0, className: at ? "num" : "", type: at ? "num" : "string",
            render: (place, type) => (type === "display" ? showCell(columnsShown[at], place) : at && type !== "filter" ? order(columnsShown[at].value[place]) : columnsShown[at].text(place)),
          })),
        });
      } else methodsTable.clear().rows.add(rows.map((place) => [place])).draw();
      $("methods-what").textContent = `${panel.title}${state.view ? `, ${panel.tasks[state.view - 1]}` : ""}. Bold: the highest mean, and what cannot be distinguished from it.${panel.methods.mostly.some(Boolean) ? " †: at least half of the runs collapsed." : ""}${view.whole.every(Boolean) ? "" : " A dash: no score on every task."} Every number opens its records.`;
    }

    const focus = (place) => {
      current = (place + places.length) % places.length;
      const point = places[current];
      Plotly.Fx.hover(plot, [{ curveNumber: current + 1, pointNumber: 0 }]);
      live.textContent = `${point.label}. ${describeMethod(point.place).map(([name, value]) => `${name}: ${value}`).join(". ")}`;
    };
    const open = (point) => { location.hash = panels[state.panel].views[state.view].link[point.place]; };
    plot.addEventListener("keydown", (event) => {
      if (!places.length) return;
      if (event.key === "ArrowRight" || event.key === "ArrowUp") focus(current + 1);
      else if (event.key === "ArrowLeft" || event.key === "ArrowDown") focus(current < 0 ? places.length - 1 : current - 1);
      else if (event.key === "Home") focus(0);
      else if (event.key === "End") focus(places.length - 1);
      else if (event.key === "Enter" && current >= 0) open(places[current]);
      else if (event.key === "Escape") { Plotly.Fx.unhover(plot); current = -1; return; }
      else return;
      event.preventDefault();
    });
    plot.addEventListener("blur", () => Plotly.Fx.unhover(plot));
    const view = () => {
      const panel = panels[state.panel];
      const first = state.panel === 0 && state.view === 0 && state.up === (panel.reference === null ? "score" : "gap") && state.across === (panel.costs[0] || {}).id;
      return first ? "" : `view-${state.panel}.${state.view}.${state.up}.${panel.costs.findIndex((cost) => cost.id === state.across)}`;
    };
    restore = (hash) => {
      const found = /^view-(\d+)\.(\d+)\.(gap|score)\.(\d+)$/.exec(hash);
      if (!found || !panels[found[1]] || !panels[found[1]].views[found[2]]) return;
      const panel = panels[found[1]];
      Object.assign(state, { panel: Number(found[1]), view: Number(found[2]), up: found[3], across: (panel.costs[found[4]] || panel.costs[0] || {}).id });
      viewed = hash;
      choose();
      draw();
    };
    choose();
    draw();
    plot.on("plotly_click", (event) => { const point = places[event.points[0].curveNumber - 1]; if (point) open(point); });
    let waiting = 0;
    addEventListener("resize", () => { clearTimeout(waiting); waiting = setTimeout(draw, 120); });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  }
})();
