/* Layer layout in the network view: sizes and positions of maps and cells. */

import { decoded, planOf, valueAt } from "../maps.js";

export const HEIGHT = 528; // of a column of maps in pixels
const DOWN = 16; // maps below each other
const WIDE = 56; // maximum width of a map in pixels; half of it where maps stand side by side
const FIRST = 84; // maximum width of the network's input
export const NAMED = 14; // units with space for a name beside each
const UNIT = 14; // maximum size of one of many units
const UNITS = 24; // approximate width of many units

/**
 * @typedef {{name: string, kind: string, shape: number[], sources: string[], groups: number,
 *   maps: import("../maps.js").Decoded, plan: import("../maps.js").Plan, across: number,
 *   gap: number | [number, number], scale: number, units: boolean, exact: number[] | null,
 *   probabilities: boolean}} Shown
 *   a layer, the arrangement of its maps on a bitmap, and the size of a cell in pixels
 */

/**
 * Return the layout of a layer.
 *
 * @param {{name: string, kind: string, shape: number[], sources: string[], groups: number,
 *   maps: import("../maps.js").Maps | null, values?: number[] | null, probabilities?: boolean}} layer
 * @param {number[] | null} given the shape of its input; a flattened picture is shown as a picture
 * @returns {Shown}
 */
export function shown(layer, given = null) {
  const { shape, maps, values = null, probabilities = false } = layer;
  const units = shape.length !== 3;
  const count = shape.reduce((product, size) => product * size, 1);
  const array = maps ? decoded(maps) : coded(values);
  const arranged = { ...array, shape: units ? [count, 1, 1] : shape };
  const [across, gap, scale] = units
    ? unitsOn(count, given?.length === 3 && given[0] === 1 ? given[2] : 0)
    : mapsOn(shape, layer.kind === "input" ? FIRST : WIDE);
  const plan = planOf(arranged.shape, across, gap);
  return {
    ...layer,
    maps: arranged,
    plan,
    across,
    gap,
    scale,
    units,
    exact: values,
    probabilities,
  };
}

/** Return maps per row, the gaps in cells, and the size of a cell. */
function mapsOn([count, height, width], wide) {
  const across = Math.ceil(count / DOWN);
  const down = Math.ceil(count / across);
  const most = across > 1 ? wide / 2 : wide;
  const scale = Math.max(1, Math.floor(Math.min(most / width, HEIGHT / down / (height + 1))));
  const below = Math.floor(HEIGHT / down / scale) - height;
  return [across, [Math.max(1, Math.min(below, height)), 1], scale];
}

/** Return units per row, the gap, and the size of a unit; `width` is that of a flattened picture. */
function unitsOn(count, width) {
  if (width) return [width, 0, Math.max(1, Math.floor(WIDE / width))];
  if (count <= NAMED) return [1, 1, 20];
  const about = Math.max(2, Math.min(UNIT, Math.floor(Math.sqrt((UNITS * HEIGHT) / count))));
  const across = Math.max(1, Math.round((count * about) / HEIGHT));
  return [across, 0, Math.max(2, Math.min(UNIT, Math.floor((HEIGHT * across) / count)))];
}

/**
 * Return numbers as maps, quantized as on the server.
 *
 * @param {number[]} values
 * @returns {import("../maps.js").Decoded}
 */
export function coded(values) {
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
 * Return the index of the largest value of a layer.
 *
 * @param {Shown} layer
 * @returns {number[]}
 */
export function liveliest(layer) {
  const { maps, plan } = layer;
  const place = maps.codes.indexOf(maps.codes.reduce((most, code) => Math.max(most, code), 0));
  const size = plan.rows * plan.columns;
  const inside = place % size;
  return indexOf(layer, [
    Math.floor(place / size),
    Math.floor(inside / plan.columns),
    inside % plan.columns,
  ]);
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

/**
 * Return the layers to show: repeated stages of a deep network, from the second on, are folded.
 *
 * A repeated stage is a sequence of kinds that follows itself. The last of three or more is shown.
 *
 * @template {{name: string, kind: string}} Layer
 * @param {Layer[]} layers
 * @param {number} most layers up to which nothing is folded
 * @returns {Array<Layer | Layer[]>} a list for layers that are folded
 */
export function folded(layers, most) {
  if (layers.length <= most) return layers;
  const made = [];
  let place = 0;
  while (place < layers.length) {
    const { period, times } = repetition(layers.map(({ kind }) => kind).slice(place));
    const end = place + period * times;
    const tail = times > 2 ? end - period : end;
    made.push(...layers.slice(place, place + period));
    if (times > 1) made.push(layers.slice(place + period, tail), ...layers.slice(tail, end));
    place = end;
  }
  return made;
}

/** Return the shortest sequence of at least two kinds at the beginning that follows itself. */
function repetition(kinds) {
  for (let period = 2; 2 * period <= kinds.length; period += 1) {
    let end = period;
    while (kinds[end] !== undefined && kinds[end] === kinds[end - period]) end += 1;
    if (end >= 2 * period) return { period, times: Math.floor(end / period) };
  }
  return { period: 1, times: 1 };
}
