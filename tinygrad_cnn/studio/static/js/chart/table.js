/* Table of a chart's numbers, an accessible alternative to the chart. */

import { element, fill } from "../dom.js";
import { nearest } from "./curves.js";

const ROWS = 20;

/** A table that is filled only while it is open. */
export class Numbers {
  /**
   * @param {string} title  the chart's title
   * @param {(value: number) => string} write
   */
  constructor(title, write) {
    this.write = write;
    this.table = element("table", {});
    this.title = title;
    this.element = element(
      "details",
      { class: "numbers", ontoggle: () => this.#write() },
      element("summary", { "aria-label": `${title} as a table` }, "Table"),
      element(
        "div",
        { class: "scroll", tabindex: "0", role: "group", "aria-label": `${title}, table` },
        this.table,
      ),
    );
  }

  /**
   * Set the data.
   * @param {import("../chart.js").Series[]} series
   * @param {string} unit  unit of x
   * @param {(value: number) => string} writeX
   */
  show(series, unit, writeX) {
    this.shown = { series, unit, writeX };
    if (this.element.open) this.#write();
  }

  #write() {
    if (!this.element.open || !this.shown) return;
    const { series, unit, writeX } = this.shown;
    const head = element(
      "tr",
      {},
      element("th", { scope: "col" }, unit),
      series.map(({ name, dots, dotsName }) => [
        element("th", { scope: "col", class: "number" }, name),
        dots?.length ? element("th", { scope: "col", class: "number" }, dotsName) : null,
      ]),
    );
    const rows = places(series).map((x) =>
      element(
        "tr",
        {},
        element("th", { scope: "row" }, writeX(x)),
        series.map(({ points, dots }) => [
          element("td", { class: "number" }, this.#at(points, x)),
          dots?.length ? element("td", { class: "number" }, this.#before(dots, x)) : null,
        ]),
      ),
    );
    fill(
      this.table,
      element("caption", { class: "unseen" }, this.title),
      element("thead", {}, head),
      element("tbody", {}, rows),
    );
  }

  #at(points, x) {
    if (!points.length || x > points.at(-1)[0]) return "–";
    return this.write(points[nearest(points, x)][1]);
  }

  #before(dots, x) {
    const last = dots.findLast(([at]) => at <= x);
    return last ? this.write(last[1]) : "–";
  }
}

/** Return evenly spaced values of x at which the longest series has a point. */
function places(series) {
  const longest = series.reduce(
    (best, { points }) => (points.length > best.length ? points : best),
    [],
  );
  if (longest.length <= ROWS) return longest.map(([x]) => x);
  const step = (longest.length - 1) / (ROWS - 1);
  return Array.from({ length: ROWS }, (_, row) => longest[Math.round(row * step)][0]);
}
