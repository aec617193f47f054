/* Maps: arrays from the server as pictures, with a sequential or a diverging palette. */

import { element } from "./dom.js";

/**
 * @typedef {{shape: number[], low: number, high: number, bytes: string}} Maps
 *   a quantized array: value = low + (high − low)·byte/255, in C order
 * @typedef {{shape: number[], low: number, high: number, codes: Uint8Array}} Decoded
 */

/**
 * Return the bytes of base64 text.
 *
 * @param {string} text
 * @returns {Uint8Array<ArrayBuffer>}
 */
export function bytesOf(text) {
  const raw = atob(text);
  const bytes = new Uint8Array(raw.length);
  for (let place = 0; place < raw.length; place += 1) bytes[place] = raw.charCodeAt(place);
  return bytes;
}

/**
 * Decode a quantized array.
 *
 * @param {Maps} maps
 * @returns {Decoded}
 */
export function decoded({ shape, low, high, bytes }) {
  return { shape, low, high, codes: bytesOf(bytes) };
}

/**
 * Return one value of a decoded array.
 *
 * @param {Decoded} maps
 * @param {number} place in C order
 * @returns {number}
 */
export function valueAt({ low, high, codes }, place) {
  return low + ((high - low) * codes[place]) / 255;
}

const palettes = new Map(); // 256 colors per kind as ABGR words; rebuilt when the color scheme changes

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  palettes.clear();
  document.querySelectorAll("canvas").forEach((canvas) => repaints.get(canvas)?.());
});

const repaints = new WeakMap(); // by canvas, the function that repaints it

/**
 * Paint the maps of a layer side by side on a canvas, one pixel of its bitmap per cell.
 *
 * CSS sets the size on the page (`image-rendering: pixelated`). The plan holds the position of each
 * map. A canvas on the page is repainted when the color scheme changes.
 *
 * @param {HTMLCanvasElement} canvas
 * @param {Decoded} maps of shape (maps, rows, columns), (rows, columns) or (count,)
 * @param {{across?: number, gap?: number, ink?: "ahead" | "back"}} [options]
 *   `across`: maps per row; `gap`: pixels between maps; `ink`: the sequential palette, for values
 *   that cannot be negative
 * @returns {Plan}
 */
export function paint(canvas, maps, { across, gap = 1, ink = "ahead" } = {}) {
  const plan = planOf(maps.shape, across, gap);
  const draw = () => {
    canvas.width = plan.width;
    canvas.height = plan.height;
    const image = new ImageData(plan.width, plan.height);
    const words = new Uint32Array(image.data.buffer);
    const colors = paletteOf(maps, ink);
    const size = plan.rows * plan.columns;
    for (let map = 0; map < plan.count; map += 1) {
      const codes = maps.codes.subarray(map * size, (map + 1) * size);
      const { top, left } = plan.at(map);
      for (let row = 0; row < plan.rows; row += 1) {
        const start = (top + row) * plan.width + left;
        for (let column = 0; column < plan.columns; column += 1) {
          words[start + column] = colors[codes[row * plan.columns + column]];
        }
      }
    }
    canvas.getContext("2d").putImageData(image, 0, 0);
  };
  draw();
  repaints.set(canvas, draw);
  return plan;
}

/**
 * @typedef {{count: number, rows: number, columns: number, across: number, width: number,
 *   height: number, at: (map: number) => {top: number, left: number},
 *   cellAt: (x: number, y: number) => [number, number, number] | null}} Plan
 *   the positions of maps, in pixels of the bitmap
 */

/**
 * Return the positions of maps.
 *
 * @param {number[]} shape
 * @param {number} [across]
 * @param {number} [gap]
 * @returns {Plan}
 */
export function planOf(shape, across = 0, gap = 1) {
  const [count, rows, columns] =
    shape.length === 3 ? shape : shape.length === 2 ? [1, ...shape] : [1, 1, shape[0]];
  const width = across || Math.ceil(Math.sqrt(count));
  const at = (map) => ({
    top: Math.floor(map / width) * (rows + gap),
    left: (map % width) * (columns + gap),
  });
  const cellAt = (x, y) => {
    const [across, down] = [Math.floor(x / (columns + gap)), Math.floor(y / (rows + gap))];
    const [column, row] = [
      Math.floor(x) - across * (columns + gap),
      Math.floor(y) - down * (rows + gap),
    ];
    const map = down * width + across;
    const inside =
      across < width && map < count && row < rows && column < columns && x >= 0 && y >= 0;
    return inside ? [map, row, column] : null;
  };
  return {
    count,
    rows,
    columns,
    across: width,
    width: Math.min(width, count) * (columns + gap) - gap,
    height: Math.ceil(count / width) * (rows + gap) - gap,
    at,
    cellAt,
  };
}

/**
 * Return a canvas with a network input.
 *
 * @param {string} input base64 of 784 bytes
 * @param {string} label text for screen readers; "" if it stands beside it
 * @returns {HTMLCanvasElement}
 */
export function digit(input, label = "") {
  const canvas = element("canvas", {
    class: "digit",
    role: label ? "img" : null,
    "aria-label": label || null,
    "aria-hidden": label ? null : "true",
  });
  paintDigit(canvas, input);
  return canvas;
}

/**
 * Paint a network input on a canvas: light ink on black in every color scheme.
 *
 * @param {HTMLCanvasElement} canvas
 * @param {string | null} input base64 of 784 bytes; `null` for an empty square
 */
export function paintDigit(canvas, input) {
  canvas.width = canvas.height = 28;
  const image = new ImageData(28, 28);
  const codes = input ? bytesOf(input) : new Uint8Array(784);
  codes.forEach((code, place) => image.data.set([code, code, code, 255], 4 * place));
  canvas.getContext("2d").putImageData(image, 0, 0);
}

/**
 * Return the color of a value, as the background of a table's cell.
 *
 * @param {number} value
 * @param {number} most the largest absolute value: the end of the palette
 * @returns {string} a CSS color
 */
export function tint(value, most) {
  const share = most > 0 ? Math.min(1, Math.abs(value) / most) : 0;
  const end = value < 0 ? "--negative" : "--positive";
  return `color-mix(in oklab, var(${end}) ${Math.round(44 * share)}%, var(--zero))`;
}

function paletteOf({ low, high }, ink) {
  const kind = low < 0 ? `${low / (high - low || 1)}` : ink;
  if (!palettes.has(kind)) palettes.set(kind, low < 0 ? diverging(low, high) : sequential(ink));
  return palettes.get(kind);
}

function diverging(low, high) {
  const [zero, negative, positive] = ["--zero", "--negative", "--positive"].map(color);
  const most = Math.max(-low, high) || 1;
  return words((code) => {
    const value = (low + ((high - low) * code) / 255) / most;
    return mixed(zero, value < 0 ? negative : positive, Math.abs(value));
  });
}

function sequential(ink) {
  const [zero, end] = [color("--zero"), color(ink === "back" ? "--back" : "--ink")];
  return words((code) => mixed(zero, end, code / 255));
}

function words(colorOf) {
  return Uint32Array.from({ length: 256 }, (_, code) => {
    const [red, green, blue] = colorOf(code);
    return ((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0; // ImageData is RGBA in memory
  });
}

function mixed(from, to, share) {
  return from.map((part, place) => Math.round(part + (to[place] - part) * share));
}

function color(name) {
  const text = getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  return [1, 3, 5].map((place) => Number.parseInt(text.slice(place, place + 2), 16));
}
