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

const palettes = new Map(); // by kind, its colors as ABGR words; rebuilt when the color scheme changes

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
 * @param {{across?: number, gap?: number | [number, number], ink?: "ahead" | "back" | "picture"}} [options]
 *   `across`: maps per row; `gap`: pixels between maps, or between rows and between columns of maps;
 *   `ink`: the sequential palette, for values that cannot be negative, or that of a picture
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
 * @param {number | [number, number]} [gap]
 * @returns {Plan}
 */
export function planOf(shape, across = 0, gap = 1) {
  const [count, rows, columns] =
    shape.length === 3 ? shape : shape.length === 2 ? [1, ...shape] : [1, 1, shape[0]];
  const width = across || Math.ceil(Math.sqrt(count));
  const [below, beside] = Array.isArray(gap) ? gap : [gap, gap];
  const at = (map) => ({
    top: Math.floor(map / width) * (rows + below),
    left: (map % width) * (columns + beside),
  });
  const cellAt = (x, y) => {
    const [across, down] = [Math.floor(x / (columns + beside)), Math.floor(y / (rows + below))];
    const [column, row] = [
      Math.floor(x) - across * (columns + beside),
      Math.floor(y) - down * (rows + below),
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
    width: Math.min(width, count) * (columns + beside) - beside,
    height: Math.ceil(count / width) * (rows + below) - below,
    at,
    cellAt,
  };
}

/**
 * Return a canvas with a network input.
 *
 * @param {string} input base64: 784 bytes of gray, or 3,072 of red, green and blue
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
 * Paint a network input on a canvas: in color, or light ink on black in every color scheme.
 *
 * @param {HTMLCanvasElement} canvas
 * @param {string | null} input base64, as of `digit`; `null` for an empty square
 */
export function paintDigit(canvas, input) {
  const codes = input ? bytesOf(input) : new Uint8Array(784);
  const pixels = codes.length === 3072 ? 1024 : codes.length; // with three channels, one by one
  canvas.width = canvas.height = Math.sqrt(pixels);
  const image = new ImageData(canvas.width, canvas.height);
  for (let place = 0; place < pixels; place += 1) {
    const color = [0, 1, 2].map((channel) => codes[(channel * pixels + place) % codes.length]);
    image.data.set([...color, 255], 4 * place);
  }
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

/** Return the colors of the 256 levels of a range. */
function paletteOf({ low, high }, ink) {
  const colors = known(low < 0 && ink !== "picture" ? "signed" : ink);
  if (colors.length === 256) return colors;
  const most = Math.max(-low, high); // the palette goes from −most to most
  return Uint32Array.from({ length: 256 }, (_, code) => {
    const value = low + ((high - low) * code) / 255;
    return colors[Math.round(255 * (1 + value / most))];
  });
}

function known(kind) {
  if (!palettes.has(kind)) palettes.set(kind, kind === "signed" ? diverging() : sequential(kind));
  return palettes.get(kind);
}

function diverging() {
  const [zero, negative, positive] = ["--zero", "--negative", "--positive"].map(color);
  return words(511, (code) =>
    mixed(zero, code < 255 ? negative : positive, Math.abs(code - 255) / 255),
  );
}

function sequential(ink) {
  const [zero, end] =
    ink === "picture"
      ? [
          [0, 0, 0],
          [255, 255, 255],
        ] // light ink on black in every color scheme
      : [color("--zero"), color(ink === "back" ? "--back" : "--ink")];
  return words(256, (code) => mixed(zero, end, code / 255));
}

function words(length, colorOf) {
  return Uint32Array.from({ length }, (_, code) => {
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
