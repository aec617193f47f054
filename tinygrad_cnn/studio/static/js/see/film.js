/* Film: the layers side by side, with selectable cells. */

import { element, fill, fresh } from "../dom.js";
import { paint } from "../maps.js";
import { say } from "../message.js";
import { number, percent, sizes } from "../numbers.js";
import { cellName, cellValue, indexOf } from "./layers.js";

/**
 * Return a film of layers.
 *
 * @param {import("./layers.js").Shown[]} layers
 * @param {{ink?: "ahead" | "back", label: string, what?: string, below?: (layer: any, place: number) => HTMLElement | null,
 *   chosen?: (layer: import("./layers.js").Shown, index: number[]) => void}} options
 *   `what`: name of a cell's value, for screen readers; `below`: returns content below a layer's name;
 *   `chosen`: called when a cell is chosen; without it, cells only show their value
 * @returns {{root: HTMLElement, mark: (name: string, rectangles: Rectangle[], kind: string) => void,
 *   clear: () => void, reveal: (name: string) => void}}
 */
export function film(
  layers,
  { ink = "ahead", label, what = "value", below = () => null, chosen } = {},
) {
  const reading = element("p", { class: "reading", "aria-hidden": "true" }, "\u00a0");
  const how = element(
    "p",
    { class: "unseen", id: fresh("how") },
    "Arrow keys choose a cell, Page Up and Page Down a map.",
  );
  const frames = new Map(layers.map((layer, place) => [layer.name, frame(layer, place)]));
  const strip = element(
    "div",
    { class: "strip", role: "group", "aria-label": label, tabindex: 0 },
    [...frames.values()].map(({ root }) => root),
  );

  function frame(layer, place) {
    const canvas = element("canvas", {
      class: "maps",
      tabindex: 0,
      role: "application",
      "aria-roledescription": "layer",
      "aria-label": `${layer.name}, ${layer.kind}, ${sizes(layer.shape)}`,
      "aria-describedby": how.id,
      style: {
        width: `${layer.plan.width * layer.scale}px`,
        height: `${layer.plan.height * layer.scale}px`,
      },
    });
    paint(canvas, layer.maps, { across: layer.across, gap: layer.gap, ink });
    const marks = element("div", { class: "marks", "aria-hidden": "true" });
    let at = [0, 0, 0];

    const under = (event) => {
      const box = canvas.getBoundingClientRect();
      return layer.plan.cellAt(
        (event.clientX - box.left) / layer.scale,
        (event.clientY - box.top) / layer.scale,
      );
    };
    const textOf = (cell) =>
      `${layer.name}, ${cellName(indexOf(layer, cell))}: ${number(cellValue(layer, cell))}`;
    const choose = (cell) => {
      at = cell;
      reading.textContent = textOf(cell);
      chosen?.(layer, indexOf(layer, cell));
    };

    canvas.addEventListener("pointermove", (event) => {
      const cell = under(event);
      reading.textContent = cell ? textOf(cell) : "\u00a0";
    });
    canvas.addEventListener("pointerleave", () => (reading.textContent = "\u00a0"));
    canvas.addEventListener("click", (event) => {
      const cell = under(event);
      if (cell) choose(cell);
    });
    canvas.addEventListener("keydown", (event) => {
      const cell = moved(layer, at, event.key);
      if (cell === null) return;
      event.preventDefault();
      choose(cell);
      say(`${textOf(cell)} (${what})`);
    });
    const root = element(
      "section",
      { class: "layer", "aria-label": layer.name },
      element("h3", {}, layer.name),
      element("p", { class: "kind" }, `${layer.kind}, ${sizes(layer.shape)}`),
      below(layer, place),
      element("div", { class: "stage" }, canvas, marks, classes(layer)),
    );
    return { root, marks, layer, put: (cell) => (at = cell) };
  }

  return {
    root: element("div", { class: "film" }, how, strip, reading),
    mark(name, rectangles, kind) {
      const found = frames.get(name);
      if (!found) return;
      found.marks.append(
        ...rectangles.map((rectangle) => markOf(found.layer.plan, rectangle, kind)),
      );
      if (kind === "cell") found.put([rectangles[0].map, rectangles[0].top, rectangles[0].left]);
    },
    clear() {
      frames.forEach(({ marks }) => fill(marks));
    },
    reveal(name) {
      frames.get(name)?.root.scrollIntoView({ block: "nearest", inline: "nearest" });
    },
  };
}

/** Return the digits and values beside a column of ten units. */
function classes(layer) {
  if (!layer.units || layer.plan.count !== 10) return null;
  const textOf = layer.probabilities ? percent : (value) => number(value, 3);
  const names = Array.from({ length: 10 }, (_, unit) =>
    element(
      "li",
      {},
      element("b", {}, String(unit)),
      `\u2002${textOf(cellValue(layer, [unit, 0, 0]))}`,
    ),
  );
  return element("ol", { class: "names", "aria-hidden": "true" }, names);
}

/**
 * @typedef {{map: number, top: number, left: number, bottom: number, right: number}} Rectangle
 *   rows `top` to below `bottom` and columns `left` to below `right` of a map
 */

/**
 * Return an outline of cells of a map, relative to the bitmap.
 *
 * @param {{width: number, height: number, at: (map: number) => {top: number, left: number}}} plan
 * @param {Rectangle} rectangle
 * @param {string} kind field, source or cell
 * @returns {HTMLElement}
 */
export function markOf(plan, { map, top, left, bottom, right }, kind) {
  const origin = plan.at(map);
  return element("i", {
    class: `mark ${kind}`,
    style: {
      left: `${(100 * (origin.left + left)) / plan.width}%`,
      top: `${(100 * (origin.top + top)) / plan.height}%`,
      width: `${(100 * (right - left)) / plan.width}%`,
      height: `${(100 * (bottom - top)) / plan.height}%`,
    },
  });
}

const STEPS = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };

/** Return the cell that a key moves to; Page Up and Page Down change the map. */
function moved({ plan, units, across }, [map, row, column], key) {
  const between = (value, size) => Math.max(0, Math.min(size - 1, value));
  if (key === "Enter" || key === " ") return [map, row, column];
  if (key === "PageUp" || key === "PageDown") {
    return [between(map + (key === "PageDown" ? 1 : -1), plan.count), row, column];
  }
  if (!(key in STEPS)) return null;
  const [down, right] = STEPS[key];
  if (units) return [between(map + down * across + right, plan.count), 0, 0];
  return [map, between(row + down, plan.rows), between(column + right, plan.columns)];
}
