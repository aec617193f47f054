/* One cell, number by number: patch times kernel, and what becomes of the sum. */

import { element } from "../dom.js";
import { formula } from "../mathematics.js";
import { fixed, grouped, number, percent } from "../numbers.js";
import { cellName, kindSentence } from "./layers.js";
import { numbersTable, productsOf, valuesPicture } from "./numbers.js";

/**
 * Return how a cell comes about.
 *
 * @param {any} cell the server's answer to explain/cell
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
      element("p", { class: "faint" }, kindSentence(cell.kind)),
      formula(cell.mathml, cell.equation, { reference: cell.reference }),
    ),
    write(cell),
  );
}

function convolution(cell) {
  return [
    element(
      "div",
      { class: "terms" },
      cell.terms.map(({ source, patch, kernel, product_sum: sum }) =>
        productsOf(source, patch, kernel, sum),
      ),
    ),
    sumLine(cell),
  ];
}

function maxPooling({ terms: [{ source, patch }], winner, written }) {
  return [
    element("div", { class: "terms" }, numbersTable(patch, { caption: source, winner })),
    element("p", { class: "sum" }, `${written}: the largest stays.`),
  ];
}

function averagePooling({ terms: [{ source, patch }], written }) {
  return [
    element("div", { class: "terms" }, numbersTable(patch, { caption: source })),
    element("p", { class: "sum" }, written),
  ];
}

function dense(cell) {
  const { terms, rest, bias, value, picture } = cell;
  const most = Math.max(...terms.map(({ product_sum: product }) => Math.abs(product)));
  const bar = (product) => element("td", { class: "gauge" }, signedBar(product, most));
  const row = (name, numbers, product, drawn = null) =>
    element(
      "tr",
      {},
      element("th", { scope: "row" }, name),
      numbers,
      element("td", { class: "number" }, fixed(product, 4)),
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
      terms.map(({ source, patch, kernel, product_sum: product }) =>
        row(
          source,
          [patch, kernel].map(([[entry]]) => element("td", { class: "number" }, fixed(entry, 4))),
          product,
          bar(product),
        ),
      ),
      rest
        ? row(
            `${grouped(rest.count)} more together`,
            element("td", { colspan: 2 }),
            rest.product_sum,
          )
        : null,
      bias === null ? null : row("bias", element("td", { colspan: 2 }), bias),
    ),
    element(
      "tfoot",
      {},
      element(
        "tr",
        {},
        element("th", { scope: "row" }, "sum"),
        element("td", { colspan: 2 }),
        element("td", { class: "number" }, fixed(value, 4)),
        element("td"),
      ),
    ),
  );
  const pictures = picture
    ? element(
        "div",
        { class: "pictures-of" },
        valuesPicture(picture.inputs, "what it is given"),
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

function softmax({ terms, constants, cell: [own], written }) {
  const body = terms.map(({ patch: [[logit]], product_sum: power }, unit) =>
    element(
      "tr",
      { class: unit === own ? "own" : "" },
      element("th", { scope: "row" }, String(unit)),
      [fixed(logit, 4), number(power), percent(power / constants.sum)].map((text) =>
        element("td", { class: "number" }, text),
      ),
    ),
  );
  return [
    element(
      "div",
      { class: "scroll", tabindex: 0, role: "group", "aria-label": "The ten powers" },
      element(
        "table",
        { class: "products" },
        element("caption", {}, "e to the power of each, less the largest, over the sum of all ten"),
        element(
          "thead",
          {},
          element(
            "tr",
            {},
            ["digit", "z", `e^(z − ${number(constants.largest)})`, "share"].map((name, place) =>
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
            element("td", { class: "number" }, number(constants.sum)),
            element("td", { class: "number" }, percent(1)),
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

/** Return the line that adds everything up: the sums of the channels, and the bias. */
function sumLine({ terms, bias, value, written }) {
  if (terms.length > 12) return element("p", { class: "sum" }, written);
  const parts = terms.map(({ source, product_sum: sum }) => [sum, source]);
  if (bias !== null) parts.push([bias, "bias"]);
  return element(
    "p",
    { class: "sum" },
    parts.flatMap(([part, name], place) => [
      place ? (part < 0 ? " − " : " + ") : part < 0 ? "−" : "",
      element(
        "span",
        { class: "part", title: name },
        fixed(Math.abs(part), 4),
        element("small", {}, name),
      ),
    ]),
    " = ",
    element("b", {}, fixed(value, 4)),
  );
}

/**
 * Return a bar that goes to the left for what is negative and to the right for the rest.
 *
 * @param {number} value
 * @param {number} most the size at which it is full
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
