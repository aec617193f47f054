/* Colored numbers: patches, kernels, and their products. */

import { element, style } from "../dom.js";
import { decoded, paint, planOf, tint, valueAt } from "../maps.js";
import { equation, fixed, number, sizes } from "../numbers.js";

const PICTURE = 150; // approximate width of a picture of numbers in pixels

/**
 * Return a table of numbers, each with its value as background color.
 *
 * @param {Array<Array<number | null>>} rows `null` for empty cells
 * @param {{caption: string, winner?: number[] | null}} options `winner`: row and column of the cell
 *   to outline
 * @returns {HTMLTableElement}
 */
export function numbersTable(rows, { caption, winner = null }) {
  const most = Math.max(...rows.flat().map((entry) => Math.abs(entry ?? 0)));
  return element(
    "table",
    { class: "entries" },
    element("caption", {}, caption),
    element(
      "tbody",
      {},
      rows.map((row, down) =>
        element(
          "tr",
          {},
          row.map((entry, right) => {
            const won = winner !== null && winner[0] === down && winner[1] === right;
            return element(
              "td",
              {
                class: won ? "winner" : "",
                style: { background: tint(entry ?? 0, most) },
                dataset: { place: down * row.length + right },
              },
              entry === null
                ? ""
                : fixed(entry, Math.abs(entry) >= 100 ? 0 : Math.abs(entry) >= 10 ? 1 : 2),
            );
          }),
        ),
      ),
    ),
  );
}

/**
 * Return a patch times a kernel and their sum of products; pointing at a number shows its product.
 *
 * @param {string} source the source of the patch
 * @param {number[][]} patch
 * @param {number[][]} kernel
 * @param {string} sum the printed sum, computed in full precision
 * @returns {HTMLElement}
 */
export function productsOf(source, patch, kernel, sum) {
  const tables = [
    numbersTable(patch, { caption: source }),
    numbersTable(kernel, { caption: "kernel" }),
  ];
  const resting = `Σ ≈ ${sum}`;
  const reading = element("p", { class: "product" }, resting);
  const flat = [patch.flat(), kernel.flat()];

  function point(event) {
    const place = event.target.closest?.("td")?.dataset.place;
    tables.forEach((table) => {
      table.querySelectorAll(".pointed").forEach((cell) => cell.classList.remove("pointed"));
      if (place !== undefined)
        table.querySelector(`[data-place="${place}"]`).classList.add("pointed");
    });
    if (place === undefined) {
      reading.textContent = resting;
      return;
    }
    const [x, w] = flat.map((numbers) => numbers[place]);
    const { parts, result } = equation([x, w], ([a, b]) => a * b, x * w, 4);
    reading.textContent = `${parts.join(" × ")} = ${result}`;
  }

  return element(
    "div",
    { class: "term", onpointermove: point, onpointerleave: point },
    tables[0],
    element("span", { class: "sign", "aria-label": "times" }, "×"),
    tables[1],
    reading,
  );
}

/**
 * Return a small picture of an array from the server, with its range.
 *
 * @param {import("../maps.js").Maps} maps
 * @param {string} caption
 * @param {{ink?: "ahead" | "back", width?: number}} [options]
 * @returns {HTMLElement}
 */
export function valuesPicture(maps, caption, { ink = "ahead", width = PICTURE } = {}) {
  const whole = decoded(maps);
  const { shape } = whole;
  if (whole.codes.length === 1) return single(number(valueAt(whole, 0)), caption);
  const flat = { ...whole, shape: arranged(shape) };
  const count = flat.shape[0];
  const across = Math.ceil(Math.sqrt(count));
  const gap = shape.length === 1 ? 0 : 1;
  const canvas = element("canvas", {
    class: "maps",
    role: "img",
    "aria-label": `${caption}: ${sizes(shape)}, from ${number(maps.low)} to ${number(maps.high)}`,
  });
  const plan = planOf(flat.shape, across, gap);
  const scale = Math.max(1, Math.min(14, Math.round(width / plan.width)));
  style(canvas, { width: `${plan.width * scale}px`, height: `${plan.height * scale}px` });
  paint(canvas, flat, { across, gap, ink });
  return element(
    "figure",
    { class: "values" },
    canvas,
    element(
      "figcaption",
      {},
      caption,
      element("br"),
      element("span", { class: "faint" }, `${number(maps.low, 3)} … ${number(maps.high, 3)}`),
    ),
  );
}

/** Return an array's shape as maps: leading axes merged, a vector as maps of one cell. */
function arranged(shape) {
  if (shape.length === 1) return [shape[0], 1, 1];
  const [rows, columns] = shape.slice(-2);
  return [shape.slice(0, -2).reduce((product, size) => product * size, 1), rows, columns];
}

function single(text, caption) {
  return element(
    "figure",
    { class: "values single" },
    element("p", {}, text),
    element("figcaption", {}, caption),
  );
}
