/* A line chart of several series: a legend that reads values out, a cursor, a table of the numbers. */

import { element, fill, vector } from "./dom.js";
import { nearest } from "./chart/curves.js";
import { Plot } from "./chart/plot.js";
import { evenScale, extent, logScale } from "./chart/scales.js";
import { Numbers } from "./chart/table.js";

/**
 * @typedef {object} Series
 * @property {string} key
 * @property {string} name
 * @property {string} [label]  at the line's end, if not the name
 * @property {string} color  a CSS color
 * @property {string} [dash]  the line's dashes, as SVG has them
 * @property {[number, number][]} points  x and y, ascending in x: the line
 * @property {[number, number][]} [raw]  drawn thin behind it
 * @property {[number, number][]} [dots]  drawn as dots on top
 * @property {string} [dotsName]  what they are
 */

const KEYS = { ArrowLeft: -1, ArrowRight: 1, ArrowDown: -1, ArrowUp: 1, PageDown: -10, PageUp: 10 };
const SHORT = { second: "s" }; // units, where an axis names them
const START = 1 / 100; // of a series: what does not count for the axis
const PLACES = 50; // a key moves the cursor by this part of the chart

/** A chart; its size is CSS's (`.chart .plot`), and new numbers never change it. */
export class LineChart {
  /**
   * @param {object} options
   * @param {string} options.title
   * @param {string} [options.whose]  what a screen reader hears after the title
   * @param {string} [options.note]  what the lines mean, below the title
   * @param {(value: number) => string} options.write  a value in words
   * @param {(value: number) => string} [options.mark]  a tick of the axis in words
   * @param {boolean} [options.log]  a logarithmic axis: values of 0 and below are left out
   * @param {boolean} [options.many]  keep room for a legend of two lines
   * @param {[number, number]} [options.within]  the axis, where it is always the same
   * @param {(x: number | null) => void} [options.onread]  called with the position that is read
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
   * Show series; what was shown goes.
   * @param {Series[]} series
   * @param {object} axis
   * @param {string} axis.unit  of x: step, epoch, second
   * @param {number} axis.end  where the axis ends; 0 lets the numbers say
   * @param {[number, number] | null} [axis.shared]  the extent of y, where charts share it
   */
  show(series, { unit, end, shared = null }) {
    const same = series.map(({ key }) => key).join() === this.series.map(({ key }) => key).join();
    Object.assign(this, { series, unit, end, shared });
    if (!same || this.legend.children.length !== series.length) this.#makeLegend();
    this.#drawSoon();
  }

  /**
   * Put the cursor somewhere, as another chart's stands; null lets it follow the newest values.
   * @param {number | null} x
   */
  point(x) {
    this.cursor = x;
    if (this.plot.across) this.#showCursor();
  }

  /** Stop watching the page. */
  close() {
    this.resized.disconnect();
    cancelAnimationFrame(this.asked);
  }

  /**
   * The least and the largest value, for charts that share an axis. The very first ones do not
   * count: those of an untrained network would flatten all that follow.
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
 * A short piece of a series' line, for legends.
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
