/* A layer as a picture in the film: where its maps stand, and which cell lies where. */

import { decoded, planOf, valueAt } from "../maps.js";

const HEIGHT = 264; // pixels that the maps of a layer may take on the page
const LARGEST = 20; // pixels of a cell at most
const UNITS_DOWN = 20; // units of a row of them that stand below one another

/**
 * @typedef {{name: string, kind: string, shape: number[], maps: import("../maps.js").Decoded,
 *   plan: import("../maps.js").Plan, across: number, gap: number, scale: number, units: boolean,
 *   exact: number[] | null}} Shown
 *   a layer, how its maps are arranged on a bitmap, and how many pixels of the page a cell takes
 */

/**
 * Return how a layer is shown.
 *
 * @param {{name: string, kind: string, shape: number[], maps: import("../maps.js").Maps | null,
 *   values?: number[] | null}} layer
 * @returns {Shown}
 */
export function shown({ name, kind, shape, maps, values = null }) {
  const units = shape.length !== 3;
  const count = shape.reduce((product, size) => product * size, 1);
  const array = maps ? decoded(maps) : coded(values);
  const across = units ? unitsAcross(count) : Math.max(1, Math.floor(Math.sqrt(shape[0])));
  const gap = units ? 0 : 1;
  const arranged = { ...array, shape: units ? [count, 1, 1] : shape };
  const plan = planOf(arranged.shape, across, gap);
  const scale = Math.max(1, Math.min(units ? LARGEST : 8, Math.floor(HEIGHT / plan.height)));
  return { name, kind, shape, maps: arranged, plan, across, gap, scale, units, exact: values };
}

/** Return how many units stand beside one another: a flattened picture is a picture again. */
function unitsAcross(count) {
  const side = Math.sqrt(count);
  return Number.isInteger(side) && side >= UNITS_DOWN ? side : Math.ceil(count / UNITS_DOWN);
}

/** Return a row of numbers as maps: a byte each, as the server codes them. */
function coded(values) {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const room = high - low || 1;
  const codes = Uint8Array.from(values, (value) => Math.round((255 * (value - low)) / room));
  return { shape: [values.length], low, high, codes };
}

/**
 * Return the index of a cell as the server names it: channel, row, column, or the unit.
 *
 * @param {Shown} layer
 * @param {[number, number, number]} place
 * @returns {number[]}
 */
export function indexOf(layer, place) {
  return layer.units ? [place[0]] : place;
}

/**
 * Return the place of an index on the page; `null` if the layer has no such cell.
 *
 * @param {Shown} layer
 * @param {number[]} index
 * @returns {[number, number, number] | null}
 */
export function placeOf(layer, index) {
  if (index.length !== layer.shape.length) return null;
  if (
    !index.every(
      (place, axis) => Number.isInteger(place) && place >= 0 && place < layer.shape[axis],
    )
  )
    return null;
  return layer.units ? [index[0], 0, 0] : [index[0], index[1], index[2]];
}

/**
 * Return the value of a cell, to the nearest of 256 levels where the server told no more.
 *
 * @param {Shown} layer
 * @param {[number, number, number]} place
 * @returns {number}
 */
export function cellValue({ maps, plan, exact, units }, [map, row, column]) {
  if (units && exact) return exact[map];
  return valueAt(maps, (map * plan.rows + row) * plan.columns + column);
}

/**
 * Return a cell in words: map 3, row 4, column 5.
 *
 * @param {number[]} index
 * @returns {string}
 */
export function cellName(index) {
  if (index.length === 3) return `map ${index[0]}, row ${index[1]}, column ${index[2]}`;
  return index.length === 1 ? `unit ${index[0]}` : `cell ${index.join(", ")}`;
}

const KINDS = {
  convolution:
    "Each cell is a weighted sum of a small window, with the same kernel everywhere.",
  dense: "Each unit is a weighted sum of all inputs.",
  "max-pooling": "Each cell is the maximum of a small window.",
  "average-pooling": "Each cell is the mean of a small window.",
  relu: "Negative numbers become zero.",
  sigmoid: "Every number is squeezed between 0 and 1.",
  tanh: "Every number is squeezed between −1 and 1.",
  flatten: "The maps are flattened into one vector.",
  softmax: "Ten numbers become ten probabilities.",
  "batch-norm": "Each map is normalized: shifted and scaled to the same mean and spread.",
};

/**
 * Return a sentence about a kind of layer, or nothing.
 *
 * @param {string} kind
 * @returns {string}
 */
export function kindSentence(kind) {
  return KINDS[kind] ?? "";
}
