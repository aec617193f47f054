/* Column: the names, texts, outlines and keys of one layer in the network view. */

import { element } from "../dom.js";
import { number, percent } from "../numbers.js";
import { NAMED, cellName, cellValue, indexOf } from "./layers.js";

/**
 * Return the name above a column; an activation is called by its function.
 *
 * @param {import("./layers.js").Shown} layer
 * @returns {string}
 */
export function titleOf({ name, kind, shape, groups }) {
  const each = groups === shape[0] && !kind.endsWith("pooling") && kind !== "batch-norm";
  return each && kind !== "convolution" && kind !== "input" ? kind : name;
}

/**
 * Return the value of a cell as text.
 *
 * @param {import("./layers.js").Shown} layer
 * @param {[number, number, number]} cell
 * @returns {string}
 */
export function textOf(layer, cell) {
  const exact = layer.units && layer.exact ? "" : "≈ ";
  return `${layer.name}, ${cellName(indexOf(layer, cell))}: ${exact}${number(cellValue(layer, cell))}`;
}

/**
 * Return the classes and values beside the units of the output.
 *
 * @param {import("./layers.js").Shown} layer
 * @param {string[]} classes
 * @returns {HTMLElement[]}
 */
export function namesOf(layer, classes) {
  if (layer.plan.count > NAMED) return [];
  const textOf = layer.probabilities ? percent : (value) => number(value, 2);
  const values = Array.from({ length: layer.plan.count }, (_, unit) =>
    cellValue(layer, [unit, 0, 0]),
  );
  const most = Math.max(...values);
  return values.map((value, unit) =>
    element(
      "li",
      {
        class: layer.probabilities && value === most ? "most" : "",
        style: { "--share": layer.probabilities ? value.toFixed(4) : 0 },
      },
      element("b", {}, classes[unit] ?? String(unit)),
      element("span", {}, textOf(value)),
    ),
  );
}

/**
 * Return an outline of cells of a map, relative to the bitmap.
 *
 * @param {{width: number, height: number, at: (map: number) => {top: number, left: number}}} plan
 * @param {import("./network.js").Rectangle} rectangle
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

/**
 * Return the cell that a key moves to, or −1 or 1 for the layer before or after; else `null`.
 *
 * @param {import("./layers.js").Shown} layer
 * @param {[number, number, number]} cell
 * @param {string} key
 * @returns {[number, number, number] | number | null}
 */
export function moved({ plan, across }, [map, row, column], key) {
  const among = (one) => (one >= 0 && one < plan.count ? one : null);
  if (key === "Enter" || key === " ") return [map, row, column];
  if (key === "PageUp" || key === "PageDown") {
    const next = among(map + (key === "PageDown" ? 1 : -1));
    return next === null ? [map, row, column] : [next, row, column];
  }
  if (!(key in STEPS)) return null;
  const [down, right] = STEPS[key];
  const [below, beside] = [row + down, column + right];
  if (below >= 0 && below < plan.rows && beside >= 0 && beside < plan.columns)
    return [map, below, beside];
  const edge = right && Math.floor(map / across) !== Math.floor((map + right) / across);
  const next = edge ? null : among(map + down * across + right);
  if (next === null) return right || [map, row, column];
  return [
    next,
    down > 0 ? 0 : down < 0 ? plan.rows - 1 : row,
    right > 0 ? 0 : right < 0 ? plan.columns - 1 : column,
  ];
}
