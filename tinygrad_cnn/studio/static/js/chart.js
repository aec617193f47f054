/* Line chart of several series, with a cursor, a legend of values, and a table. */

import { element, fill, vector } from "./dom.js";
import { nearest } from "./chart/curves.js";
import { Plot } from "./chart/plot.js";
import { evenScale, extent, logScale } from "./chart/scales.js";
import { Numbers } from "./chart/table.js";

/**
 * @typedef {object} Series
 * @property {string} key
 * @property {string} name
 * @property {string} [label]  text at the line's end; the name by default
 * @property {string} color  a CSS color
 * @property {string} [dash]  SVG stroke-dasharray
 * @property {[number, number][]} points  the line as (x, y), ascending in x
 * @property {[number, number][]} [raw]  a thin line behind it
 * @property {[number, number][]} [dots]  dots on top
 * @property {string} [dotsName]  their name
 */

const KEYS = { ArrowLeft: -1, ArrowRight: 1, ArrowDown: -1, ArrowUp: 1, PageDown: -10, PageUp: 10 };
const SHORT = { second: "s" }; // units as abbreviated on axes
const START = 1 / 100; // share of a series that the axis range ignores
const PLACES = 50; // steps of the cursor across the chart by keyboard

/** A chart. CSS sets its size (`.chart .plot`); new numbers never change it. */
export class LineChart {
  /**
   * @param {object} options
   * @param {string} options.title
   * @param {string} [options.whose]  read after the title by screen readers
   * @param {string} [options.note]  a subtitle that explains the lines
   * @param {(value: number) => string} options.write  formats a value
   * @param {(value: number) => string} [options.mark]  formats a tick of the axis
   * @param {boolean} [options.log]  logarithmic axis; omits values of 0 and below
   * @param {boolean} [options.many]  reserve space for a legend of two lines
   * @param {[number, number]} [options.within]  a fixed axis range
   * @param {(x: number | null) => void} [options.onread]  called with the cursor's x
   */
  constructor({
    title,
    whose = "",
    note = "",
    write,
    mark,
    log = false,
    many = false,
    within,
    onread = () => {},
  }) {
    Object.assign(this, {
      title,
      write,
      mark,
      log,
      within,
      onread,
      series: [],
      unit: "step",
      cursor: null,
      asked: 0,
    });
    this.plot = new Plot();
    this.numbers = new Numbers(title + whose, write);
    this.legend = element("ul", { class: many ? "legend many" : "legend" });
    this.stage = element(
      "div",
      {
        class: "plot",
        role: "slider",
        tabindex: "0",
        "aria-label": `${title}${whose}: read the values`,
        "aria-valuemin": 0,
        "aria-valuemax": 0,
        "aria-valuenow": 0,
        "aria-valuetext": "the newest values",
        onkeydown: (event) => this.#pressed(event),
        onpointermove: (event) =>
          this.#read(this.plot.valueAt(event.clientX - this.stage.getBoundingClientRect().left)),
        onpointerleave: () => this.#read(null),
        onblur: () => this.#read(null),
      },
      this.plot.element,
    );
    this.element = element(
      "figure",
      { class: "chart" },
      element(
        "figcaption",
        {},
        element("h3", {}, title),
        note ? element("p", { class: "hint" }, note) : null,
      ),
      this.legend,
      this.stage,
      this.numbers.element,
    );
    this.resized = new ResizeObserver(() => this.#drawSoon());
    this.resized.observe(this.stage);
  }

  /**
   * Replace the series.
   * @param {Series[]} series
   * @param {object} axis
   * @param {string} axis.unit  unit of x: step, epoch, second
   * @param {number} axis.end  end of the x axis; 0 to fit the data
   * @param {[number, number] | null} [axis.shared]  y range shared by several charts
   */
  show(series, { unit, end, shared = null }) {
    const same = series.map(({ key }) => key).join() === this.series.map(({ key }) => key).join();
    Object.assign(this, { series, unit, end, shared });
    if (!same || this.legend.children.length !== series.length) this.#makeLegend();
    this.#drawSoon();
  }

  /**
   * Set the cursor's x, to link charts; null follows the latest values.
   * @param {number | null} x
   */
  point(x) {
    this.cursor = x;
    if (this.plot.across) this.#showCursor();
  }

  /** Remove the observers. */
  close() {
    this.resized.disconnect();
    cancelAnimationFrame(this.asked);
  }

  /**
   * Return the minimum and maximum for charts that share an axis. The first values are excluded:
   * those of an untrained network would flatten the rest.
   * @param {Series[]} series
   * @param {boolean} [log]
   * @returns {[number, number] | null}
   */
  static extentOf(series, log = false) {
    const counts = (value) => Number.isFinite(value) && (!log || value > 0);
    const values = series.flatMap(({ points, dots = [] }) => {
      const from = START * (points.at(-1)?.[0] ?? 0);
      return [...points.filter(([x]) => x >= from), ...dots].map(([, y]) => y);
    });
    return extent(values, counts);
  }

  #drawSoon() {
    this.asked ||= requestAnimationFrame(() => {
      this.asked = 0;
      this.#draw();
    });
  }

  #draw() {
    const size = { width: this.stage.clientWidth, height: this.stage.clientHeight };
    if (!size.width) return;
    const last = Math.max(this.end, ...this.series.map(({ points }) => points.at(-1)?.[0] ?? 0), 1);
    const across = evenScale([0, last], { count: Math.max(2, size.width / 75), exact: true });
    const reach = this.shared ?? LineChart.extentOf(this.series, this.log);
    const up = this.#scaleOf(reach);
    this.plot.draw(
      size,
      this.series,
      { ...across, unit: SHORT[this.unit] ?? this.unit },
      this.mark ? { ...up, write: this.mark } : up,
    );
    this.stage.setAttribute("aria-valuemax", Math.round(last));
    this.numbers.show(this.series, this.unit, (x) => across.write(x));
    this.#showCursor();
  }

  #scaleOf(reach) {
    if (this.within) return evenScale(this.within);
    if (this.log) return logScale(reach ?? [0.01, 1]);
    return evenScale([0, reach ? reach[1] : 1]);
  }

  #makeLegend() {
    this.values = this.series.map(() => element("span", { class: "value" }, "–"));
    fill(
      this.legend,
      this.series.map(({ name, color, dash }, index) =>
        element("li", {}, swatch(color, dash), element("span", {}, name), this.values[index]),
      ),
    );
  }

  #showCursor() {
    const read = this.series.map(({ points, color }) => ({
      color,
      y: valueNear(points, this.cursor),
    }));
    this.plot.point(this.cursor, read);
    read.forEach(({ y }, index) => {
      this.values[index].textContent = Number.isFinite(y) ? this.write(y) : "–";
    });
  }

  #read(x) {
    this.point(x);
    this.onread(x);
  }

  #pressed(event) {
    const last = this.plot.across?.high ?? 1;
    const to = { Home: 0, End: last, Escape: null }[event.key];
    if (to === undefined && !(event.key in KEYS)) return;
    event.preventDefault();
    const moved = Math.max(
      0,
      Math.min(last, (this.cursor ?? last) + ((KEYS[event.key] ?? 0) * last) / PLACES),
    );
    const x = to === undefined ? moved : to;
    this.#read(x);
    const said = this.series
      .map(({ name, points }) => `${name} ${this.write(valueNear(points, x))}`)
      .join(", ");
    this.stage.setAttribute("aria-valuenow", Math.round(x ?? last));
    this.stage.setAttribute(
      "aria-valuetext",
      x === null ? "the newest values" : `${this.unit} ${Math.round(x)}: ${said}`,
    );
  }
}

/**
 * Return a legend's sample of a line.
 * @param {string} color
 * @param {string} [dash]
 * @returns {SVGElement}
 */
export function swatch(color, dash) {
  return vector(
    "svg",
    { class: "swatch", viewBox: "0 0 22 8", "aria-hidden": "true", style: { "--series": color } },
    vector("path", { class: "line", d: "M1,4L21,4", "stroke-dasharray": dash }),
  );
}

function valueNear(points, x) {
  if (x === null) return points.at(-1)?.[1] ?? NaN;
  if (!points.length || x > points.at(-1)[0] * 1.02 + 1e-9) return NaN;
  return points[nearest(points, x)][1];
}
