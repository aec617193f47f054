/* Layer layout in the film: positions of maps and cells. */

import { decoded, planOf, valueAt } from "../maps.js";

const HEIGHT = 264; // maximum height of a layer's maps in pixels
const LARGEST = 20; // maximum size of a cell in pixels
const UNITS_DOWN = 20; // maximum units in a single column

/**
 * @typedef {{name: string, kind: string, shape: number[], maps: import("../maps.js").Decoded,
 *   plan: import("../maps.js").Plan, across: number, gap: number, scale: number, units: boolean,
 *   exact: number[] | null, probabilities: boolean}} Shown
 *   a layer, the arrangement of its maps on a bitmap, and the size of a cell in pixels
 */

/**
 * Return the layout of a layer.
 *
 * @param {{name: string, kind: string, shape: number[], maps: import("../maps.js").Maps | null,
 *   values?: number[] | null, probabilities?: boolean}} layer
 * @returns {Shown}
 */
export function shown({ name, kind, shape, maps, values = null, probabilities = false }) {
  const units = shape.length !== 3;
  const count = shape.reduce((product, size) => product * size, 1);
  const array = maps ? decoded(maps) : coded(values);
  const across = units ? unitsAcross(count) : Math.max(1, Math.floor(Math.sqrt(shape[0])));
  const gap = units ? 0 : 1;
  const arranged = { ...array, shape: units ? [count, 1, 1] : shape };
  const plan = planOf(arranged.shape, across, gap);
  const scale = Math.max(1, Math.min(units ? LARGEST : 8, Math.floor(HEIGHT / plan.height)));
  const exact = values;
  return { name, kind, shape, maps: arranged, plan, across, gap, scale, units, exact, probabilities };
}

/** Return the number of units per row; a flattened picture is shown as a picture. */
function unitsAcross(count) {
  const side = Math.sqrt(count);
  return Number.isInteger(side) && side >= UNITS_DOWN ? side : Math.ceil(count / UNITS_DOWN);
}

/** Return numbers as maps, quantized as on the server. */
function coded(values) {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const room = high - low || 1;
  const codes = Uint8Array.from(values, (value) => Math.round((255 * (value - low)) / room));
  return { shape: [values.length], low, high, codes };
}

/**
 * Return the index of a cell as in the API: channel, row, column, or the unit.
 *
 * @param {Shown} layer
 * @param {[number, number, number]} place
 * @returns {number[]}
 */
export function indexOf(layer, place) {
  return layer.units ? [place[0]] : place;
}

/**
 * Return the position of an index on the page; `null` if the layer has no such cell.
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
 * Return the value of a cell: exact, or quantized to 256 levels if the server sent only those.
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
 * Return the name of a cell: map 3, row 4, column 5.
 *
 * @param {number[]} index
 * @returns {string}
 */
export function cellName(index) {
  if (index.length === 3) return `map ${index[0]}, row ${index[1]}, column ${index[2]}`;
  return index.length === 1 ? `unit ${index[0]}` : `cell ${index.join(", ")}`;
}
