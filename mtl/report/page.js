"use strict";
// ---- tables that sort; an entry without a value always stands last -------------------------------------
document.querySelectorAll("table.sortable").forEach(table => {
  const headers = [...table.tHead.rows[0].cells];
  headers.forEach((header, column) => header.querySelector("button").onclick = () => {
    const up = header.getAttribute("aria-sort") !== "ascending";
    headers.forEach(other => other.removeAttribute("aria-sort"));
    header.setAttribute("aria-sort", up ? "ascending" : "descending");
    const key = row => row.cells[column].dataset.value ?? row.cells[column].textContent;
    const body = table.tBodies[0];
    [...body.rows].sort((a, b) => {
      const x = key(a), y = key(b);
      if (x === "" || y === "") return (x === "") - (y === "");
      const order = isNaN(x) || isNaN(y) ? x.localeCompare(y) : x - y;
      return up ? order : -order;
    }).forEach(row => body.append(row));
  });
});

const source = document.getElementById("data");
if (source) explore(JSON.parse(source.textContent));

function explore(data) {
  // ---- small helpers -----------------------------------------------------------------------------------
  const find = id => document.getElementById(id);
  const svg = (name, attributes, text) => {
    const node = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    if (text !== undefined) node.textContent = text;
    return node;
  };
  const known = value => value !== null && value !== undefined;
  const show = value => known(value) ? String(+value.toPrecision(4)) : "–";
  const range = ([mean, low, high]) => known(low) ? `${show(mean)} [${show(low)}, ${show(high)}]` : show(mean);
  const SHAPES = ["M1 0A1 1 0 1 1-1 0A1 1 0 1 1 1 0", "M-.9-.9H.9V.9H-.9Z", "M0-1.2L1.1 0L0 1.2L-1.1 0Z",
    "M0-1.1L1 .8H-1Z", "M0 1.1L1-.8H-1Z", "M-.4-1.1H.4V-.4H1.1V.4H.4V1.1H-.4V.4H-1.1V-.4H-.4Z",
    "M-1-.6L-.6-1L0-.4L.6-1L1-.6L.4 0L1 .6L.6 1L0 .4L-.6 1L-1 .6L-.4 0Z",
    "M0-1.2L.3-.4L1.2-.4L.5 .2L.7 1L0 .5L-.7 1L-.5 .2L-1.2-.4L-.3-.4Z", "M.5-1L1 0L.5 1L-.5 1L-1 0L-.5-1Z",
    "M1-.5L0-1L-1-.5L-1 .5L0 1L1 .5Z", "M0-1.1L1-.3L.6 .9H-.6L-1-.3Z"];
  const mark = (model, colour, x, y, size) =>
    svg("path", {d: SHAPES[data.models[model].shape], fill: colour, transform: `translate(${x} ${y}) scale(${size})`,
                 "vector-effect": "non-scaling-stroke"});
  const fill = (select, labels, chosen) => {
    if (!select) return;
    labels.forEach((label, i) => select.add(new Option(label, i, false, i === chosen)));
    select.closest("label").hidden = labels.length < 2;
  };
  // With a single weighting colour tells models apart, else weightings.
  const paint = entry => data.models[entry.m].colour ?? data.weightings[entry.w].colour;
  const name = point => `${data.models[point.m].name} × ${data.weightings[point.w].name}`;

  // ---- the legend filters charts and tables: nothing pressed means everything ----------------------------
  const only = {m: new Set(), w: new Set()};
  const visible = entry => ["m", "w"].every(k => !only[k].size || only[k].has(entry[k]));
  const legend = (id, kind, entries, draw) => entries.forEach((entry, i) => {
    const button = document.createElement("button");
    const icon = svg("svg", {width: 14, height: 14, viewBox: "-7 -7 14 14", "aria-hidden": true});
    icon.append(draw(entry, i));
    button.append(icon, entry.name);
    button.setAttribute("aria-pressed", false);
    button.onclick = () => {
      const pressed = !only[kind].delete(i) && Boolean(only[kind].add(i));
      button.setAttribute("aria-pressed", pressed);
      find(id).classList.toggle("some", only[kind].size > 0);
      redraw();
    };
    find(id).append(button);
  });
  legend("models", "m", data.models, (entry, i) => mark(i, entry.colour ?? "currentColor", 0, 0, 5));
  legend("weightings", "w", data.weightings, entry => svg("circle", {r: 5.5, fill: entry.colour}));
  const index = key => new Map(data[key].map((entry, i) => [entry.name, i]));
  const models = index("models"), weightings = index("weightings");
  const filterTables = () => document.querySelectorAll("tr[data-model]").forEach(row => {
    row.hidden = !visible({m: models.get(row.dataset.model), w: weightings.get(row.dataset.weighting)});
  });

  // ---- a frame with axes; returns where a value lies -----------------------------------------------------
  const ticks = (low, high, count) => {
    const raw = (high - low) / count, power = 10 ** Math.floor(Math.log10(raw));
    const step = [1, 2, 5, 10].find(s => s * power >= raw) * power, found = [];
    for (let i = Math.ceil(low / step); i * step <= high; i++) found.push(i * step);
    return found;
  };
  // Ticks of log₁₀ values at 1, 2 and 5, or at powers of ten where those are many.
  const decades = (low, high) => {
    const found = [];
    for (let k = Math.floor(low); k <= high; k++) for (const m of [1, 2, 5]) found.push(k + Math.log10(m));
    const inside = found.filter(v => v >= low && v <= high), tens = inside.filter(Number.isInteger);
    return inside.length > 8 && tens.length > 1 ? tens : inside;
  };
  const span = values => {
    let low = Math.min(...values), high = Math.max(...values);
    if (!(high > low)) { const room = Math.abs(low) * 0.05 || 1; low -= room; high += room; }
    return [low - (high - low) * 0.06, high + (high - low) * 0.06];
  };
  const extent = values => values.reduce(([l, h], v) => known(v) ? [Math.min(l, v), Math.max(h, v)] : [l, h],
    [Infinity, -Infinity]);
  const frame = (chart, xs, ys, xLabel, yLabel, flipX, flipY, logY) => {
    const width = chart.clientWidth, height = Math.max(320, Math.min(480, width * 0.62));
    const [left, right, top, bottom] = [62, 14, 30, 44];
    const root = svg("svg", {viewBox: `0 0 ${width} ${height}`, height, role: "group"});
    const [xl, xh] = span(extent(xs)), [yl, yh] = span(extent(ys));
    const at = (v, l, h, from, to, flip) => from + (flip ? h - v : v - l) / (h - l) * (to - from);
    const x = v => at(v, xl, xh, left, width - right, flipX), y = v => at(v, yl, yh, height - bottom, top, flipY);
    for (const v of ticks(xl, xh, width < 500 ? 4 : 7)) {
      root.append(svg("line", {x1: x(v), x2: x(v), y1: top, y2: height - bottom, class: "axis"}),
        svg("text", {x: x(v), y: height - bottom + 16, "text-anchor": "middle"}, +v.toPrecision(6)));
    }
    for (const v of logY ? decades(yl, yh) : ticks(yl, yh, 6)) {
      root.append(svg("line", {x1: left, x2: width - right, y1: y(v), y2: y(v), class: "axis"}),
        svg("text", {x: left - 6, y: y(v) + 4, "text-anchor": "end"}, +(logY ? 10 ** v : v).toPrecision(6)));
    }
    root.append(svg("text", {x: width - right, y: height - 8, "text-anchor": "end"}, xLabel),
      svg("text", {x: 8, y: 18}, yLabel));
    chart.querySelector("svg")?.remove();
    chart.prepend(root);
    return {root, x, y, box: [left, top, width - right, height - bottom]};
  };
  const tip = (chart, node, text) => {
    const box = chart.querySelector(".tip");
    const open = () => {
      const own = node.getBoundingClientRect(), all = chart.getBoundingClientRect();
      box.textContent = text;
      box.hidden = false;
      const x = Math.max(4, Math.min(own.left - all.left + 14, all.width - box.offsetWidth - 4));
      const above = own.top - all.top - box.offsetHeight - 8;
      box.style.left = `${x}px`;
      box.style.top = `${above < 0 ? own.bottom - all.top + 8 : above}px`;
    };
    const close = () => box.hidden = true;
    node.addEventListener("pointerenter", open);
    node.addEventListener("focus", open);
    node.addEventListener("pointerleave", close);
    node.addEventListener("blur", close);
  };

  // ---- task against task ---------------------------------------------------------------------------------
  const scatter = find("scatter");
  const drawScatter = () => {
    const group = data.groups[find("scatter-group").value], a = +find("x-task").value, b = +find("y-task").value;
    const gain = find("as-gain").checked && group.points.every(p => p.gain);
    const part = p => gain ? p.gain : p.mean, runs = p => (gain ? p.runGains : p.runs) || [];
    const measures = [data.measures[a], data.measures[b]];
    const shown = group.points.filter(p => visible(p) && known(part(p)[a][0]) && known(part(p)[b][0]));
    const single = find("single-runs").checked;
    const all = t => shown.flatMap(p => [...part(p)[t], ...(single ? runs(p).map(r => r[t]) : [])]);
    if (!shown.length) return scatter.querySelector("svg")?.remove();
    const flips = measures.map(m => !gain && !m.higher);
    const labels = measures.map(m => gain ? m.gain : m.label);
    const {root, x, y, box} = frame(scatter, all(a), all(b), `${labels[0]}, better →`, `${labels[1]}, better ↑`, ...flips);
    if (gain) {
      root.append(svg("line", {x1: x(0), x2: x(0), y1: box[1], y2: box[3], class: "zero"}),
        svg("line", {x1: box[0], x2: box[2], y1: y(0), y2: y(0), class: "zero"}));
    }
    for (const model of new Set(shown.map(p => p.m))) {
      const front = stairs(shown.filter(p => p.static && p.m === model).map(p => [x(part(p)[a][0]), y(part(p)[b][0])]));
      if (!front) continue;
      const line = svg("path", {d: front, class: "front", "data-model": data.models[model].name});
      tip(scatter, line, `static front of ${data.models[model].name}`);
      root.append(line);
    }
    for (const p of shown) {
      const colour = paint(p), at = part(p);
      if (single) runs(p).forEach((run, i) => {
        if (!known(run[a]) || !known(run[b])) return;
        const dot = mark(p.m, colour, x(run[a]), y(run[b]), 3);
        dot.setAttribute("class", "run");
        dot.setAttribute("opacity", 0.35);
        tip(scatter, dot, `${name(p)}, seed ${p.seeds[i]}\n${labels[0]}: ${show(run[a])}\n${labels[1]}: ${show(run[b])}`);
        root.append(dot);
      });
      const bar = (x1, y1, x2, y2) => root.append(svg("line", {x1, y1, x2, y2, stroke: colour, opacity: 0.6}));
      if (known(at[a][1])) bar(x(at[a][1]), y(at[b][0]), x(at[a][2]), y(at[b][0]));
      if (known(at[b][1])) bar(x(at[a][0]), y(at[b][1]), x(at[a][0]), y(at[b][2]));
    }
    for (const p of shown) {
      const at = part(p), node = mark(p.m, p.baseline ? "var(--ink)" : paint(p), x(at[a][0]), y(at[b][0]), 6.5);
      const text = `${name(p)}${p.chosen ? `\n${p.chosen}` : ""}, ${p.seeds.length} seeds\n` +
        `${labels[0]}: ${range(at[a])}\n${labels[1]}: ${range(at[b])}`;
      for (const [k, v] of Object.entries({class: "mark", tabindex: 0, role: "img", "aria-label": text})) node.setAttribute(k, v);
      tip(scatter, node, text);
      root.append(node);
    }
  };
  // What static weights reach: on screen better is right and up, so a point is kept if none is right of and above it.
  const stairs = points => {
    const kept = points.filter(p => !points.some(q => q !== p && q[0] >= p[0] && q[1] <= p[1] && (q[0] > p[0] || q[1] < p[1])))
      .sort((p, q) => p[0] - q[0]);
    if (points.length < 2) return null;
    return kept.map(([px, py], i) => i ? `V${py}H${px}` : `M${px - 24} ${py}H${px}`).join("") + "v24";
  };

  // ---- curves --------------------------------------------------------------------------------------------
  const curves = find("curves");
  const quantities = [...new Set(data.curves.map(c => c.q))];
  const drawCurves = () => {
    const [q, g, t] = ["quantity", "curve-group", "curve-task"].map(id => +find(id).value);
    const shown = data.curves.filter(c => c.q === quantities[q] && c.g === g && c.t === t && visible(c));
    if (!shown.length) return curves.querySelector("svg")?.remove();
    const label = `${data.tasks[t].name}: ${quantities[q]}`, [low, high] = extent(shown.flatMap(c => c.y));
    const log = low > 0 && high / low > 10, place = v => log && known(v) ? Math.log10(v) : v;
    const {root, x, y} = frame(curves, shown.flatMap(c => c.x), shown.flatMap(c => c.y.map(place)), "training step",
      label, false, false, log);
    const path = (xs, ys) => xs.map((v, i) => known(ys[i]) ? `${i && known(ys[i - 1]) ? "L" : "M"}${x(v)} ${y(place(ys[i]))}` : "").join("");
    const dashes = ["", "7 4", "2 3", "9 3 2 3", "4 2", "1 4"];
    for (const c of shown) {
      const line = svg("path", {d: path(c.x, c.y), fill: "none", stroke: paint(c),
        "stroke-width": 2, "stroke-dasharray": dashes[c.m % dashes.length], class: "curve", "stroke-linejoin": "round"});
      const last = c.y.length - 1;
      tip(curves, line, `${name(c)}\nstep ${c.x[last]}: ${range([c.y[last], c.low[last], c.high[last]])}`);
      root.append(line);
    }
  };

  // ---- wiring --------------------------------------------------------------------------------------------
  const titles = data.groups.map(g => g.title);
  fill(find("scatter-group"), titles, 0);
  fill(find("curve-group"), titles, 0);
  fill(find("x-task"), data.measures.map(m => m.label), 0);
  fill(find("y-task"), data.measures.map(m => m.label), 1);
  fill(find("quantity"), quantities, 0);
  fill(find("curve-task"), data.tasks.map(t => t.name), 0);
  find("as-gain").closest("label").hidden = !(find("as-gain").checked = Boolean(data.baseline));
  const charts = [...(data.measures.length > 1 ? [[scatter, drawScatter]] : []), ...(quantities.length ? [[curves, drawCurves]] : [])];
  const redraw = () => { charts.forEach(([, draw]) => draw()); filterTables(); };
  document.querySelectorAll(".controls").forEach(box => box.addEventListener("change", redraw));
  let width = 0;
  new ResizeObserver(() => { if (document.body.clientWidth !== width) { width = document.body.clientWidth; redraw(); } })
    .observe(document.body);
  addEventListener("beforeprint", () => document.querySelectorAll("details.plots").forEach(d => d.open = true));
  redraw();
}
