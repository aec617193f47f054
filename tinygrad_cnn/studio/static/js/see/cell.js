/* Cell explanation: patch times kernel, the sum, and the result. */

import { element } from "../dom.js";
import { formula } from "../mathematics.js";
import { equation, fixed, grouped, number, percent } from "../numbers.js";
import { cellName } from "./layers.js";
import { numbersTable, productsOf, valuesPicture } from "./numbers.js";

/**
 * Return the computation of a cell.
 *
 * @param {any} cell the response of explain/cell
 * @returns {HTMLElement}
 */
export function cellOf(cell) {
  const write = WRITERS[cell.kind] ?? entry;
  return element(
    "div",
    { class: "written" },
    element(
      "header",
      {},
      element("h2", {}, `${cell.layer}, ${cellName(cell.cell)}`),
      element("p", { class: "value" }, number(cell.value)),
      element("p", { class: "faint" }, cell.sentence),
      formula(cell.mathml, cell.equation, { reference: cell.reference }),
    ),
    write(cell),
  );
}

function convolution(cell) {
  const { terms, bias, value } = cell;
  const numbers = [...terms.map(({ product_sum: sum }) => sum), ...(bias === null ? [] : [bias])];
  const { parts, result } = equation(numbers, added, value);
  return [
    element(
      "div",
      { class: "terms" },
      terms.map(({ source, patch, kernel }, place) =>
        productsOf(source, patch, kernel, parts[place]),
      ),
    ),
    element("p", { class: "faint" }, "The tables are rounded; their sums (≈) use the full numbers."),
    sumLine(cell, parts, result),
  ];
}

function added(numbers) {
  return numbers.reduce((sum, x) => sum + x, 0);
}

function maxPooling({ terms: [{ source, patch }], winner, written }) {
  return [
    element("div", { class: "terms" }, numbersTable(patch, { caption: source, winner })),
    element("p", { class: "sum" }, `${written}: the maximum.`),
  ];
}

function averagePooling({ terms: [{ source, patch }], written }) {
  return [
    element("div", { class: "terms" }, numbersTable(patch, { caption: source })),
    element("p", { class: "sum" }, written),
  ];
}

function dense(cell) {
  const { terms, rest, bias, picture } = cell;
  const texts = denseText(cell);
  const most = Math.max(...terms.map(({ product_sum: product }) => Math.abs(product)));
  const bar = (product) => element("td", { class: "gauge" }, signedBar(product, most));
  const row = (name, numbers, text, drawn = null) =>
    element(
      "tr",
      {},
      element("th", { scope: "row" }, name),
      numbers,
      element("td", { class: "number" }, text),
      drawn ?? element("td"),
    );
  const table = element(
    "table",
    { class: "products" },
    element("caption", {}, `The ${terms.length} largest products`),
    element(
      "thead",
      {},
      element(
        "tr",
        {},
        ["from", "input", "weight", "product", ""].map((name, place) =>
          element(
            place === 4 ? "td" : "th",
            { scope: place === 4 ? null : "col", class: place ? "number" : "" },
            name,
          ),
        ),
      ),
    ),
    element(
      "tbody",
      {},
      terms.map(({ source, product_sum: product }, place) =>
        row(
          source,
          texts.rows[place].parts.map((entry) => element("td", { class: "number" }, entry)),
          texts.rows[place].result,
          bar(product),
        ),
      ),
      rest
        ? row(
            `${grouped(rest.count)} more together`,
            element("td", { colspan: 2 }),
            texts.rest,
          )
        : null,
      bias === null ? null : row("bias", element("td", { colspan: 2 }), texts.bias),
    ),
    element(
      "tfoot",
      {},
      element(
        "tr",
        {},
        element("th", { scope: "row" }, "sum"),
        element("td", { colspan: 2 }),
        element("td", { class: "number" }, texts.sum),
        element("td"),
      ),
    ),
  );
  const pictures = picture
    ? element(
        "div",
        { class: "pictures-of" },
        valuesPicture(picture.inputs, "input"),
        element("span", { class: "sign" }, "×"),
        valuesPicture(picture.weights, "its weights"),
        element("span", { class: "sign" }, "="),
        valuesPicture(picture.products, "the products"),
      )
    : null;
  return [
    pictures,
    element(
      "div",
      { class: "scroll", tabindex: 0, role: "group", "aria-label": "The products" },
      table,
    ),
  ];
}

/**
 * Return a dense unit's sum as text; each row and the column add up as printed.
 *
 * @param {any} cell
 */
function denseText({ terms, rest, bias, value }) {
  const others = [rest?.product_sum, bias].filter((x) => x !== undefined && x !== null);
  const products = terms.map(({ product_sum: product }) => product);
  const { parts, result: sum } = equation([...products, ...others], added, value);
  const decimals = parts[0].split(".")[1].length;
  const rows = terms.map(({ patch: [[x]], kernel: [[w]], product_sum: product }) =>
    equation([x, w], ([a, b]) => a * b, product, decimals),
  );
  const texts = parts.slice(terms.length);
  return { rows, rest: rest ? texts[0] : null, bias: texts.at(-1), sum };
}

/**
 * Return a softmax as text; powers, sum and shares follow from the printed logits.
 *
 * @param {any} cell
 */
export function softmaxText({ terms, constants: { largest, temperature, sum } }) {
  let texts = null;
  for (let digits = 5; digits <= 9; digits += 1) {
    const round = (x) => Number(x.toPrecision(digits));
    const cut = (x) => Number(x.toFixed(digits));
    const logits = terms.map(({ patch: [[logit]] }) => cut(logit));
    const powers = logits.map((z) => round(Math.exp((z - cut(largest)) / temperature)));
    const whole = Number(added(powers).toPrecision(digits - 1));
    const shares = powers.map((power) => percent(power / whole));
    texts = {
      largest: fixed(Math.abs(largest), digits),
      logits: logits.map((z) => fixed(z, digits)),
      powers: powers.map((power) => number(power, digits)),
      sum: number(whole, digits - 1),
      shares,
    };
    const right =
      number(sum, digits - 1) === texts.sum &&
      terms.every(({ product_sum: power }, unit) => percent(power / sum) === shares[unit]);
    if (right) break;
  }
  return texts;
}

function softmax(cell) {
  const { terms, constants, cell: [own], written } = cell;
  const texts = softmaxText(cell);
  const body = terms.map((_, unit) =>
    element(
      "tr",
      { class: unit === own ? "own" : "" },
      element("th", { scope: "row" }, String(unit)),
      [texts.logits[unit], texts.powers[unit], texts.shares[unit]].map((text) =>
        element("td", { class: "number" }, text),
      ),
    ),
  );
  const difference = `z ${constants.largest < 0 ? "+" : "−"} ${texts.largest}`;
  const exponent =
    constants.temperature === 1
      ? difference
      : `(${difference}) / ${number(constants.temperature, 9)}`;
  return [
    element(
      "div",
      { class: "scroll", tabindex: 0, role: "group", "aria-label": "The ten powers" },
      element(
        "table",
        { class: "products" },
        element("caption", {}, "exp of each logit minus the largest, divided by the sum"),
        element(
          "thead",
          {},
          element(
            "tr",
            {},
            ["digit", "z", `e^(${exponent})`, "share"].map((name, place) =>
              element("th", { scope: "col", class: place ? "number" : "" }, name),
            ),
          ),
        ),
        element("tbody", {}, body),
        element(
          "tfoot",
          {},
          element(
            "tr",
            {},
            element("th", { scope: "row" }, "sum"),
            element("td"),
            element("td", { class: "number" }, texts.sum),
            element("td"),
          ),
        ),
      ),
    ),
    element("p", { class: "sum" }, written),
  ];
}

function entry({ written }) {
  return element("p", { class: "sum large" }, written);
}

/** Return the line with the total: the sums of the channels, and the bias. */
function sumLine({ terms, written }, parts, result) {
  if (terms.length > 12) return element("p", { class: "sum" }, written);
  const names = [...terms.map(({ source }) => source), "bias"];
  return element(
    "p",
    { class: "sum" },
    parts.flatMap((part, place) => [
      place ? (part.startsWith("−") ? " − " : " + ") : part.startsWith("−") ? "−" : "",
      element(
        "span",
        { class: "part", title: names[place] },
        part.replace("−", ""),
        element("small", {}, names[place]),
      ),
    ]),
    " = ",
    element("b", {}, result),
  );
}

/**
 * Return a bar that extends left for negative values and right for positive ones.
 *
 * @param {number} value
 * @param {number} most the absolute value of a full bar
 * @returns {HTMLElement}
 */
function signedBar(value, most) {
  const share = most ? Math.abs(value) / most : 0;
  return element("i", {
    class: `signed ${value < 0 ? "less" : "more"}`,
    style: { "--share": share.toFixed(4) },
    "aria-hidden": "true",
  });
}

const WRITERS = {
  convolution,
  "max-pooling": maxPooling,
  "average-pooling": averagePooling,
  dense,
  softmax,
};
