// How hard the machine works: small curves over the time of all attempts, one after the other.
import { colour, element } from "./charts.js";
import { duration } from "./format.js";

const SYNC = "gauges";
const GIB = 2 ** 30;
const digits = (value) => Number(value.toPrecision(3));
const KINDS = [
  { key: "cpu_percent", label: "Processor", scale: 100, unit: "cores" },
  { key: "memory_bytes", label: "Memory", scale: GIB, unit: "GiB" },
  { key: "gpu_percent", label: "GPU", scale: 1, unit: "%", top: 100 },
  { key: "gpu_memory_bytes", label: "GPU memory", scale: GIB, unit: "GiB" },
  { key: "gpu_celsius", label: "Temperature", scale: 1, unit: "°C" },
  { key: "gpu_watts", label: "Power", scale: 1, unit: "W" },
];

/** All gauges of a job; hidden while nothing is measured. */
export class GaugePanel {
  /** @param {HTMLElement} section with a `.gauge-grid` and a `[data-gauges-when]`. */
  constructor(section) {
    this.section = section;
    this.when = section.querySelector("[data-gauges-when]");
    this.grid = section.querySelector(".gauge-grid");
    this.points = new Map();
    this.charts = new Map();
    const rebuild = () => { for (const chart of this.charts.values()) chart.rebuild(); };
    document.addEventListener("yard:theme", rebuild);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", rebuild);
  }

  /**
   * Show what the page holds.
   * @param {string[]} fields of each row.
   * @param {(number | null)[][]} rows by attempt and second.
   */
  setData(fields, rows) {
    this.points.clear();
    for (const values of rows) this.#keep(Object.fromEntries(fields.map((name, index) => [name, values[index]])));
    this.#draw();
  }

  /** Show one more point, as the stream brings it. */
  add(point) {
    this.#keep(point);
    this.#draw();
  }

  #keep(point) {
    this.points.set(`${point.attempt}:${point.second}`, point);
  }

  #draw() {
    const { times, rows, starts } = inOneLine([...this.points.values()]);
    const found = KINDS.filter(({ key }) => rows.filter((row) => row?.[key] != null).length > 1);
    this.section.hidden = found.length === 0;
    this.times = times;
    this.rows = rows;
    for (const kind of found) {
      if (!this.charts.has(kind.key)) this.charts.set(kind.key, new GaugeChart(this.grid, kind, (index) => this.#point(index)));
      const values = rows.map((row) => (row?.[kind.key] == null ? null : row[kind.key] / kind.scale));
      this.charts.get(kind.key).setData(times, values, starts);
    }
    this.#point(null);
  }

  /** Tell the time of the point under the cursor, in all gauges at once; null: of the last one. */
  #point(index) {
    const at = this.rows[index] ? index : this.times.length - 1;
    const attempts = this.rows.at(-1)?.attempt ?? 1;
    const where = attempts > 1 ? `, attempt ${this.rows[at]?.attempt}` : "";
    this.when.textContent = this.rows[at] ? `${at === index ? "at " : ""}${duration(this.times[at])}${where}` : "";
    for (const chart of this.charts.values()) chart.tell(at);
  }
}

/** Lay the attempts one after the other; between two of them is a row of nothing. */
function inOneLine(points) {
  points.sort((a, b) => a.attempt - b.attempt || a.second - b.second);
  const [times, rows, starts] = [[], [], []];
  let offset = 0;
  points.forEach((point, index) => {
    const last = points[index - 1];
    if (last && last.attempt !== point.attempt) {
      offset = times.at(-1);
      starts.push(offset);
      times.push(offset);
      rows.push(null);
    }
    times.push(offset + point.second);
    rows.push(point);
  });
  return { times, rows, starts };
}

class GaugeChart {
  constructor(grid, kind, onPoint) {
    this.kind = kind;
    this.onPoint = onPoint;
    this.columns = [[], []];
    this.starts = [];
    this.value = element("b");
    const caption = element("figcaption");
    caption.append(element("span", "", kind.label), this.value);
    this.plot = element("div", "plot");
    const figure = element("figure", "gauge");
    figure.dataset.chart = kind.key;
    figure.append(caption, this.plot);
    grid.append(figure);
    this.#build();
    new ResizeObserver(() => {
      const [width, height] = [this.plot.clientWidth, this.plot.clientHeight];
      if (width && height && (width !== this.u.width || height !== this.u.height)) this.u.setSize({ width, height });
    }).observe(this.plot);
  }

  setData(times, values, starts) {
    this.columns = [times, values];
    this.starts = starts;
    this.u.setData(this.columns);
  }

  tell(index) {
    const value = this.columns[1][index];
    this.value.textContent = value == null ? "–" : `${digits(value)}\u202f${this.kind.unit}`;
  }

  rebuild() {
    this.u.destroy();
    this.#build();
  }

  #build() {
    const [ink, line, stroke] = [colour("3"), colour("line"), colour("gauge")];
    const axis = { stroke: ink, font: `11px ${getComputedStyle(document.body).fontFamily}`, ticks: { show: false } };
    this.u = new uPlot({
      width: Math.max(this.plot.clientWidth, 120),
      height: Math.max(this.plot.clientHeight, 80),
      padding: [8, 18, 0, 0],
      legend: { show: false },
      cursor: { sync: { key: SYNC, scales: ["x", null] }, drag: { x: false, y: false }, points: { size: 7 } },
      scales: {
        x: { time: false, range: (u, min, max) => [0, max || 1] },
        y: { range: (u, min, max) => [0, this.kind.top ?? (max > 0 ? max * 1.12 : 1)] },
      },
      axes: [
        { ...axis, size: 22, gap: 4, space: 64, grid: { show: false }, incrs: INCREMENTS, values: (u, ticks) => ticks.map(tickOfTime) },
        { ...axis, size: 40, gap: 6, space: 30, grid: { stroke: line, width: 1 }, values: (u, ticks) => ticks.map((value) => String(digits(value))) },
      ],
      series: [{}, { stroke, width: 1.5, fill: colour("gauge-shade"), points: { show: false } }],
      hooks: {
        setCursor: [(u) => this.onPoint(u.cursor.left >= 0 ? u.cursor.idx : null)],
        drawAxes: [(u) => this.#drawStarts(u, ink)],
      },
    }, this.columns, this.plot);
  }

  #drawStarts(u, ink) {
    u.ctx.save();
    u.ctx.setLineDash([3 * devicePixelRatio, 3 * devicePixelRatio]);
    u.ctx.strokeStyle = ink;
    u.ctx.lineWidth = devicePixelRatio;
    for (const start of this.starts) {
      const x = Math.round(u.valToPos(start, "x", true)) + 0.5;
      u.ctx.beginPath();
      u.ctx.moveTo(x, u.bbox.top);
      u.ctx.lineTo(x, u.bbox.top + u.bbox.height);
      u.ctx.stroke();
    }
    u.ctx.restore();
  }
}

// Steps of a time axis that people read: seconds, minutes, hours, days.
const INCREMENTS = [1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400, 21600, 43200, 86400, 172800, 604800];

function tickOfTime(seconds) {
  return seconds === 0 ? "0" : duration(seconds).replace(/\.0 s$/, " s");
}
