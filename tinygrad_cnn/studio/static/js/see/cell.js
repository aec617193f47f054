/* Cell explanation: windows times kernels, products, and their sum, in the server's digits. */

import { element } from "../dom.js";
import { formula } from "../mathematics.js";
import { cellName } from "./layers.js";
import {
  numbersTable,
  productsOf,
  productsTable,
  typeset,
  valueOf,
  valuesPicture,
} from "./numbers.js";

/**
 * @typedef {{terms: Array<{patch: string[][], kernel: string[][] | null, sum: string}>,
 *   rest: string | null, bias: string | null, total: string}} PrintedSum
 */

/**
 * Return the computation of a cell.
 *
 * @param {any} cell the response of explain/cell
 * @returns {HTMLElement}
 */
export function cellOf(cell) {
  const write = WRITERS[cell.kind] ?? entry;
  const value = valueOf(cell);
  return element(
    "div",
    { class: "written" },
    element(
      "header",
      {},
      element("h3", {}, `${cell.layer}, ${cellName(cell.cell)}`),
      element("p", { class: "value" }, value),
      element("p", { class: "faint" }, cell.sentence),
      formula(cell.mathml, cell.equation, { reference: cell.reference }),
    ),
    write(cell),
  );
}

function convolution({ terms, printed }) {
  return [
    element(
      "div",
      { class: "terms" },
      terms.map((term, place) => productsOf(term, printed.terms[place])),
    ),
    sumLine(terms, printed),
  ];
}

function maxPooling({ terms: [{ source, patch }], winner, written }) {
  return [
    element("div", { class: "terms" }, numbersTable(patch, { caption: source, winner })),
    element("p", { class: "sum" }, `${typeset(written)}: the maximum.`),
  ];
}

function averagePooling({ terms: [{ source, patch }], written }) {
  return [
    element("div", { class: "terms" }, numbersTable(patch, { caption: source })),
    element("p", { class: "sum" }, typeset(written)),
  ];
}

function dense({ terms, rest, picture, printed }) {
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
  const names = terms.map(({ source }) => source);
  return [pictures, productsTable(["from", "input", "weight"], names, printed, rest?.count ?? 0)];
}

function softmax({ cell: [own], written, printed }) {
  const { logits, powers, shares, total, largest, temperature } = printed;
  const body = logits.map((logit, unit) =>
    element(
      "tr",
      { class: unit === own ? "own" : "" },
      element("th", { scope: "row" }, String(unit)),
      [logit, powers[unit], shares[unit]].map((text) => element("td", { class: "number" }, text)),
    ),
  );
  const difference = largest.startsWith("−") ? `z + ${largest.slice(1)}` : `z − ${largest}`;
  const exponent = temperature === "1" ? difference : `(${difference}) / ${temperature}`;
  return [
    element(
      "div",
      { class: "scroll", tabindex: 0, role: "group", "aria-label": "The powers" },
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
            element("td", { class: "number" }, total),
            element("td"),
          ),
        ),
      ),
    ),
    element("p", { class: "sum" }, typeset(written)),
  ];
}

function entry({ written }) {
  return element("p", { class: "sum large" }, typeset(written));
}

/** Return the line with the total: the sums of the channels, and the bias. */
function sumLine(terms, { terms: printed, bias, total }) {
  const parts = printed.map(({ sum }, place) => [sum, terms[place].source]);
  if (bias !== null) parts.push([bias, "bias"]);
  return element(
    "p",
    { class: "sum" },
    parts.flatMap(([part, name], place) => [
      place ? (part.startsWith("−") ? " − " : " + ") : part.startsWith("−") ? "−" : "",
      element(
        "span",
        { class: "part", title: name },
        part.replace("−", ""),
        element("small", {}, name),
      ),
    ]),
    " = ",
    element("b", {}, total),
  );
}

const WRITERS = {
  convolution,
  "max-pooling": maxPooling,
  "average-pooling": averagePooling,
  dense,
  softmax,
};
