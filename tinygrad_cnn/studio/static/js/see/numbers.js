/* Numbers in tables and pictures: windows, kernels, and their products. */

import { element, style } from "../dom.js";
import { decoded, paint, planOf, tint, valueAt } from "../maps.js";
import { grouped, number, raised, sizes } from "../numbers.js";

const PICTURE = 150; // approximate width of a picture of numbers in pixels

/**
 * Return the printed value of an answer: the total of its sum, or the result of its equation.
 *
 * @param {{written: string, printed?: {total?: string, terms?: unknown[]} | null}} answer
 * @returns {string}
 */
export function valueOf({ written, printed }) {
  if (printed?.terms) return printed.total;
  return typeset(written.slice(written.lastIndexOf("=") + 1).trim());
}

/**
 * Return the server's text with powers of ten as people write them: 4.8·10⁻⁷ for 4.8e−7.
 *
 * @param {string} written
 * @returns {string}
 */
export function typeset(written) {
  return written.replace(/(?<=\d)e(−?\d+)/g, (_, exponent) => `·10${raised(exponent)}`);
}

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
              },
              entry === null ? "" : number(entry),
            );
          }),
        ),
      ),
    ),
  );
}

/**
 * Return a window times a kernel: each entry, the weight below it, and the sum of the products.
 *
 * @param {{source: string, patch: number[][], kernel: number[][]}} term
 * @param {{patch: string[][], kernel: string[][], sum: string}} printed
 * @returns {HTMLElement}
 */
export function productsOf({ source, patch, kernel }, printed) {
  const products = patch.map((row, down) => row.map((x, right) => x * kernel[down][right]));
  const most = Math.max(...products.flat().map(Math.abs));
  const cells = (row, down) =>
    row.map((product, right) =>
      element(
        "td",
        { style: { background: tint(product, most) } },
        element("span", {}, printed.patch[down][right]),
        element("span", {}, `× ${printed.kernel[down][right]}`),
      ),
    );
  return element(
    "div",
    { class: "term scroll", tabindex: 0, role: "group", "aria-label": source },
    element(
      "table",
      { class: "entries pairs" },
      element("caption", {}, `${source}, window × kernel`),
      element(
        "tbody",
        {},
        products.map((row, down) => element("tr", {}, cells(row, down))),
      ),
    ),
    element("p", { class: "product" }, `Σ = ${printed.sum}`),
  );
}

/**
 * Return a table of products, with their sum.
 *
 * @param {[string, string, string]} titles of the columns of names and factors
 * @param {string[]} names one for each product
 * @param {import("./cell.js").PrintedSum} printed terms of one product each
 * @param {number} more number of the other products
 * @returns {HTMLElement}
 */
export function productsTable(titles, names, { terms, rest, bias, total }, more) {
  const row = (name, x, w, product) =>
    element(
      "tr",
      {},
      element("th", { scope: "row" }, name),
      [x, w, product].map((text) => element("td", { class: "number" }, text)),
    );
  const heads = [...titles, "product"].map((title, place) =>
    element("th", { scope: "col", class: place ? "number" : "" }, title),
  );
  const caption = more ? `The ${terms.length} largest products` : "The products";
  return element(
    "div",
    { class: "scroll", tabindex: 0, role: "group", "aria-label": "The products" },
    element(
      "table",
      { class: "products" },
      element("caption", {}, caption),
      element("thead", {}, element("tr", {}, heads)),
      element(
        "tbody",
        {},
        terms.map(({ patch: [[x]], kernel: [[w]], sum }, place) => row(names[place], x, w, sum)),
        rest === null ? null : row(`${grouped(more)} more together`, "", "", rest),
        bias === null ? null : row("bias", "", "", bias),
      ),
      element("tfoot", {}, row("sum", "", "", total)),
    ),
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
