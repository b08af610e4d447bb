// Curves over epochs, drawn by uPlot: legend with last and best values, tooltip, zoom by dragging.
import { count } from "./format.js";

const SYNC = "epochs";
const MAX_DOTS = 60;
const charts = new Set();

/** Resolve a colour token for the canvas, in the theme that holds now. */
export function colour(token) {
  const probe = document.createElement("i");
  probe.className = `ink-${token}`;
  document.body.append(probe);
  const value = getComputedStyle(probe).color;
  probe.remove();
  return value;
}

/**
 * The part of the value axis that is worth seeing: the far end of a few first epochs is cut off
 * when it would press everything else flat.
 * @param {number[]} values in view.
 * @param {"low" | "high" | null} farEnd where outliers of first epochs lie.
 */
export function interestingRange(values, farEnd) {
  const sorted = values.toSorted((a, b) => a - b);
  const [low, high] = [sorted[0], sorted.at(-1)];
  const whole = high - low;
  if (farEnd && sorted.length >= 8 && whole > 0) {
    const quarter = Math.floor(sorted.length / 4);
    const near = farEnd === "low" ? high - sorted[quarter] : sorted.at(-1 - quarter) - low;
    if (near > 0 && whole > 8 * near) {
      return farEnd === "low"
        ? { low: high - 2 * near, high, cut: true }
        : { low, high: low + 2 * near, cut: true };
    }
  }
  return { low, high, cut: false };
}

export class EpochChart {
  /**
   * @param {HTMLElement} figure with a `.panel-head` and a `.plot`.
   * @param {object} options
   * @param {{key: string, label: string, token: string, best?: "max" | "min"}[]} options.series
   * @param {(value: number) => string} options.format of values.
   * @param {(value: number) => string} [options.tick] of the axis; like `format` unless given.
   * @param {"low" | "high" | null} options.farEnd see interestingRange.
   * @param {string} [options.emptyText] shown while there is nothing to draw.
   * @param {[number, number]} options.limits that the axis never leaves.
   */
  constructor(figure, options) {
    this.options = options;
    this.plot = figure.querySelector(".plot");
    this.head = figure.querySelector(".panel-head");
    this.rows = [];
    this.live = null;
    this.lastEpoch = 1;
    this.whole = false;
    this.marks = [];
    this.span = null;
    this.#addControls();
    this.empty = element("p", "plot-empty", options.emptyText ?? "");
    this.plot.append(this.empty);
    this.#build();
    new ResizeObserver(() => this.#resize()).observe(this.plot);
    charts.add(this);
  }

  /** Show `rows`, epochs ascending; `live` is the running epoch so far: {at, values}. */
  setData(rows, { live = null, lastEpoch = null } = {}) {
    this.rows = rows;
    this.live = live;
    this.lastEpoch = Math.max(lastEpoch ?? 1, rows.at(-1)?.epoch ?? 1, live ? Math.ceil(live.at) : 1);
    this.u.setData(this.#columns(), false);
    this.#showAll();
    this.#writeLegend();
    this.empty.hidden = rows.length > 0 || live !== null;
  }

  /** Draw upright lines at these places on the epoch axis, such as where an attempt went on. */
  setMarks(marks) {
    this.marks = marks;
    this.u.redraw(false, false);
  }

  /** Shade a stretch of epochs, or none. */
  setSpan(span) {
    this.span = span;
    this.u.redraw(false, false);
  }

  rebuild() {
    this.u.destroy();
    this.#build();
    this.setData(this.rows, { live: this.live, lastEpoch: this.lastEpoch });
  }

  #columns() {
    const { series } = this.options;
    const rows = this.rows;
    const columns = [rows.map((row) => row.epoch), ...series.map(({ key }) => rows.map((row) => row[key]))];
    const last = rows.at(-1);
    const live = this.live && this.live.at > (last?.epoch ?? 0) ? this.live : null;
    const tail = rows.map(() => null);
    if (live) {
      const key = series[0].key;
      columns[0].push(live.at);
      for (const column of columns.slice(1)) column.push(null);
      if (last) tail[tail.length - 1] = last[key];
      tail.push(live.values[key] ?? null);
    }
    return [...columns, tail];
  }

  #showAll() {
    if (this.zoomed) this.u.setScale("x", this.zoomed);
    else this.u.setScale("x", this.#wholeX());
  }

  #wholeX() {
    const first = this.rows[0]?.epoch ?? 1;
    const low = this.live && this.rows.length === 0 ? 0 : first;
    return this.lastEpoch > low ? { min: low, max: this.lastEpoch } : { min: low - 0.5, max: low + 0.5 };
  }

  #yRange(u) {
    const [first, last] = u.series[0].idxs;
    const values = [];
    for (let column = 1; column < u.data.length; column += 1) {
      values.push(...u.data[column].slice(first, last + 1).filter(Number.isFinite));
    }
    if (values.length === 0) return this.options.limits.map((limit, index) => (Number.isFinite(limit) ? limit : index));
    const { low, high, cut } = interestingRange(values, this.whole ? null : this.options.farEnd);
    this.cut = cut;
    const pad = Math.max((high - low) * 0.07, high - low ? 0 : Math.abs(high) * 0.05, 1e-9);
    const [floor, ceiling] = this.options.limits;
    return [Math.max(floor, low - pad), Math.min(ceiling, high + pad)];
  }

  #drawMarks(u) {
    const { left, top, width, height } = u.bbox;
    const across = (value) => Math.min(Math.max(u.valToPos(value, "x", true), left), left + width);
    u.ctx.save();
    if (this.span) {
      const [from, to] = this.span.map(across);
      u.ctx.fillStyle = this.shade;
      u.ctx.fillRect(from, top, to - from, height);
    }
    u.ctx.setLineDash([4 * devicePixelRatio, 4 * devicePixelRatio]);
    u.ctx.strokeStyle = this.ink;
    u.ctx.lineWidth = devicePixelRatio;
    for (const mark of this.marks) {
      const x = Math.round(across(mark)) + 0.5;
      if (x <= left || x >= left + width) continue;
      u.ctx.beginPath();
      u.ctx.moveTo(x, top);
      u.ctx.lineTo(x, top + height);
      u.ctx.stroke();
    }
    u.ctx.restore();
  }

  #build() {
    const [ink, line] = [colour("3"), colour("line")];
    [this.ink, this.shade] = [ink, colour("shade")];
    const font = `12px ${getComputedStyle(document.body).fontFamily}`;
    const { series, format, tick = format } = this.options;
    const dots = { show: (u) => u.data[0].length <= MAX_DOTS, size: 6 };
    const axis = { stroke: ink, font, grid: { stroke: line, width: 1 }, ticks: { show: false } };
    this.u = new uPlot({
      width: Math.max(this.plot.clientWidth, 120),
      height: Math.max(this.plot.clientHeight, 120),
      padding: [12, 14, 0, 0],
      legend: { show: false },
      cursor: {
        sync: { key: SYNC, scales: ["x", null] },
        drag: { x: true, y: false, dist: 6 },
        points: { size: 9, width: 2, fill: (u, index) => u.series[index]._stroke },
      },
      scales: { x: { time: false }, y: { range: (u) => this.#yRange(u) } },
      axes: [
        { ...axis, size: 30, gap: 6, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000], space: 44,
          values: (u, ticks) => ticks.map((value) => (value >= 1 ? count(value) : "")) },
        { ...axis, gap: 8, space: 38, values: (u, ticks) => ticks.map(tick),
          size: (u, labels) => Math.max(44, 14 + 7 * Math.max(0, ...(labels ?? []).map((text) => text.length))) },
      ],
      series: [
        {},
        ...series.map(({ token }) => ({ stroke: colour(token), width: 2.25, points: { ...dots, fill: colour(token), width: 0 } })),
        { stroke: colour(series[0].token), width: 1.5, dash: [4, 4], points: { show: true, size: 7, width: 1.5, fill: colour("surface") } },
      ],
      hooks: {
        setCursor: [(u) => this.#moveTooltip(u)],
        setScale: [(u, key) => key === "x" && this.#onScale(u)],
        drawAxes: [(u) => this.#drawMarks(u)],
        draw: [() => this.#showControls()],
      },
    }, this.#columns(), this.plot);
    this.tooltip = document.createElement("div");
    this.tooltip.className = "tooltip";
    this.tooltip.hidden = true;
    this.u.over.append(this.tooltip);
    this.u.over.addEventListener("mouseleave", () => { this.tooltip.hidden = true; });
    this.u.over.addEventListener("dblclick", () => resetZoom());
  }

  #resize() {
    const [width, height] = [this.plot.clientWidth, this.plot.clientHeight];
    if (width && height && (width !== this.u.width || height !== this.u.height)) this.u.setSize({ width, height });
  }

  #onScale(u) {
    const { min, max } = u.scales.x;
    const whole = this.#wholeX();
    const zoomed = min > whole.min + 1e-6 || max < whole.max - 1e-6;
    if (!zoomed || !u.over.matches(":hover")) return;
    for (const chart of charts) {
      chart.zoomed = { min, max };
      if (chart !== this) chart.u.setScale("x", chart.zoomed);
    }
  }

  // --- legend, tooltip, controls --------------------------------------------------------------

  #addControls() {
    this.legend = document.createElement("ul");
    this.legend.className = "legend";
    this.reset = button("Reset zoom", () => resetZoom());
    this.range = button("Whole range", () => {
      this.whole = !this.whole;
      this.range.setAttribute("aria-pressed", this.whole);
      this.u.setData(this.u.data, false);
      this.#showAll();
    });
    this.range.title = "Show the first epochs too, at the cost of detail in the later ones";
    this.head.append(this.legend, this.range, this.reset);
  }

  #showControls() {
    this.reset.hidden = !this.zoomed;
    this.range.hidden = !this.cut && !this.whole;
  }

  #writeLegend() {
    this.legend.replaceChildren(...this.options.series.map((one) => this.#legendItem(one)));
  }

  #legendItem({ key, label, token, best }) {
    const values = this.rows.filter((row) => Number.isFinite(row[key]));
    const item = element("li", `legend-item ink-${token}`);
    item.append(element("i", "swatch"), element("span", "legend-name", label));
    const last = values.at(-1);
    if (last) item.append(element("b", "", this.options.format(last[key])));
    if (best && last) {
      const top = values.reduce((a, b) => ((best === "max" ? b[key] > a[key] : b[key] < a[key]) ? b : a));
      if (top !== last) item.append(element("span", "legend-best", `best ${this.options.format(top[key])} at ${top.epoch}`));
    }
    return item;
  }

  #moveTooltip(u) {
    const { left, top, idx } = u.cursor;
    if (idx == null || left < 0 || !u.over.matches(":hover")) {
      this.tooltip.hidden = true;
      return;
    }
    const epoch = u.data[0][idx];
    const partial = !Number.isInteger(epoch);
    const lines = this.options.series.map((one, index) => {
      const value = u.data[index + 1][idx] ?? (index === 0 ? u.data.at(-1)[idx] : null);
      if (value == null) return null;
      const line = element("span", `tooltip-line ink-${one.token}`);
      line.append(element("i", "swatch"), element("span", "legend-name", one.label), element("b", "", this.options.format(value)));
      return line;
    });
    const title = partial ? `Epoch ${Math.ceil(epoch)}, so far` : `Epoch ${epoch}`;
    this.tooltip.replaceChildren(element("strong", "", title), ...lines.filter(Boolean));
    this.tooltip.hidden = false;
    const right = left > u.over.clientWidth / 2;
    const x = right ? left - this.tooltip.offsetWidth - 14 : left + 14;
    const y = Math.min(Math.max(top - this.tooltip.offsetHeight / 2, 0), Math.max(u.over.clientHeight - this.tooltip.offsetHeight, 0));
    this.tooltip.style.transform = `translate(${x}px, ${y}px)`;
  }

  clearZoom() {
    this.zoomed = null;
    this.#showAll();
  }
}

function resetZoom() {
  for (const chart of charts) chart.clearZoom();
}

export function element(name, className, text) {
  const node = document.createElement(name);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
}

function button(text, onClick) {
  const node = element("button", "button button-small", text);
  node.type = "button";
  node.hidden = true;
  node.addEventListener("click", onClick);
  return node;
}

function rebuildAll() {
  for (const chart of charts) chart.rebuild();
}
document.addEventListener("yard:theme", rebuildAll);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", rebuildAll);
