/* Plot: the SVG of a line chart, with axes, lines, labels and a cursor. */

import { fill, vector } from "../dom.js";
import { pathThrough, spread, thinned } from "./curves.js";

const LEFT = 44; // pixels for the axis labels
const BOTTOM = 26;
const TOP = 10;
const LETTER = 6.6; // approximate width of a letter of a label
const LINE = 15; // distance between labels
const CROWD = 40; // from this many dots on, they are drawn small
const LONGEST = 17; // maximum letters of a label; the legend shows the whole name

/** The SVG of a chart. Only the cursor moves without a complete redraw. */
export class Plot {
  constructor() {
    this.axes = vector("g", { class: "axes" });
    this.lines = vector("svg", { class: "lines" }); // a nested svg clips the lines
    this.labels = vector("g", { class: "ends" });
    this.cursor = vector("g", { class: "cursor" });
    this.element = vector(
      "svg",
      { "aria-hidden": "true" },
      this.axes,
      this.lines,
      this.labels,
      this.cursor,
    );
    this.area = { left: LEFT, top: TOP, width: 1, height: 1 };
  }

  /**
   * Draw everything.
   * @param {{width: number, height: number}} size  in pixels
   * @param {import("../chart.js").Series[]} series
   * @param {import("./scales.js").Scale & {unit: string}} across
   * @param {import("./scales.js").Scale} up
   */
  draw({ width, height }, series, across, up) {
    const room = this.#roomForLabels(width, series);
    this.area = {
      left: LEFT,
      top: TOP,
      width: Math.max(1, width - LEFT - room),
      height: height - TOP - BOTTOM,
    };
    this.across = across;
    this.up = up;
    this.element.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.#drawAxes();
    const { left, top, width: wide, height: high } = this.area;
    for (const [name, value] of Object.entries({
      x: left,
      y: top - 4,
      width: wide + 4,
      height: high + 8,
    })) {
      this.lines.setAttribute(name, value);
    }
    fill(
      this.lines,
      series.map((each) => this.#lineOf(each)),
    );
    fill(this.labels, room > 14 ? this.#endsOf(series) : null);
  }

  /**
   * Move the cursor; null hides it.
   * @param {number | null} x
   * @param {{color: string, y: number}[]} values  intersections with the lines
   */
  point(x, values) {
    if (x === null) return fill(this.cursor);
    const { left, top, height } = this.area;
    const at = left + this.#x(x);
    fill(
      this.cursor,
      vector("line", { x1: at, x2: at, y1: top, y2: top + height }),
      vector(
        "text",
        { x: at, y: top + height + 20, "text-anchor": "middle" },
        this.across.write(x),
      ),
      values
        .filter(({ y }) => Number.isFinite(y))
        .map(({ color, y }) =>
          vector("circle", { cx: at, cy: top + this.#y(y), r: 4, style: { "--series": color } }),
        ),
    );
  }

  /** Return the x value at a distance in pixels from the left edge. */
  valueAt(pixels) {
    const share = Math.max(0, Math.min(1, (pixels - this.area.left) / this.area.width));
    return this.across.low + share * (this.across.high - this.across.low);
  }

  #x(value) {
    return this.across.at(value) * this.area.width;
  }

  #y(value) {
    return (1 - this.up.at(value)) * this.area.height;
  }

  #roomForLabels(width, series) {
    const room =
      16 +
      LETTER * Math.max(0, ...series.map(({ label, name }) => shortened(label ?? name).length));
    return series.length > 1 && room < width / 4 ? room : 14;
  }

  #drawAxes() {
    const { left, top, width, height } = this.area;
    const every = Math.max(1, Math.ceil((44 * this.across.ticks.length) / width));
    fill(
      this.axes,
      this.up.ticks.map((value) => {
        const y = top + this.#y(value);
        return [
          vector("line", { x1: left, x2: left + width, y1: y, y2: y }),
          vector("text", { x: left - 8, y: y + 4, "text-anchor": "end" }, this.up.write(value)),
        ];
      }),
      this.across.ticks
        .filter((_, index) => index % every === 0)
        .map((value) =>
          vector(
            "text",
            { x: left + this.#x(value), y: top + height + 20, "text-anchor": "middle" },
            this.across.write(value),
          ),
        ),
      vector("text", { x: left - 8, y: top + height + 20, "text-anchor": "end" }, this.across.unit),
    );
  }

  #lineOf({ color, dash, points, raw = [], dots = [] }) {
    const place = ([x, y]) => [this.#x(x), this.#y(y) + 4];
    return vector(
      "g",
      { style: { "--series": color } },
      raw.length ? vector("path", { class: "raw", d: pathThrough(thinned(raw.map(place))) }) : null,
      vector("path", {
        class: "line",
        d: pathThrough(thinned(points.map(place))),
        "stroke-dasharray": dash,
      }),
      dots
        .map(place)
        .map(([x, y]) =>
          vector(
            "circle",
            dots.length > CROWD
              ? { cx: x, cy: y, r: 1.5, class: "small" }
              : { cx: x, cy: y, r: 3.5 },
          ),
        ),
    );
  }

  #endsOf(series) {
    const { left, top, height } = this.area;
    const ends = series
      .map(({ name, label, color, points }) => ({
        text: shortened(label ?? name),
        color,
        last: points.at(-1),
      }))
      .filter(({ last }) => last && Number.isFinite(last[1]));
    const wanted = ends.map(({ last }) => top + Math.max(0, Math.min(height, this.#y(last[1]))));
    const placed = spread(wanted, LINE, [top + 4, top + height]);
    return ends.map(({ text, color, last }, index) => {
      const x = left + this.#x(last[0]);
      return vector(
        "g",
        { style: { "--series": color } },
        vector("path", { d: `M${x + 3},${wanted[index]}L${x + 9},${placed[index]}` }),
        vector("text", { x: x + 12, y: placed[index] + 4 }, text),
      );
    });
  }
}

function shortened(text) {
  return text.length > LONGEST ? `${text.slice(0, LONGEST - 1).trimEnd()}…` : text;
}
