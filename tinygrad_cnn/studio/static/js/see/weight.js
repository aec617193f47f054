/* Weight explanation: the chain rule from the loss to one weight, and a measured gradient. */

import { post } from "../api.js";
import { button, element, field, fill, select } from "../dom.js";
import { formula } from "../mathematics.js";
import { number, sizes } from "../numbers.js";
import { load } from "../requests.js";
import { productsTable, valuesPicture } from "./numbers.js";

/**
 * Return the parameters with their gradients, and the chain rule of the selected weight.
 *
 * @param {{input: string, model: number | null, label: number}} about
 * @param {Array<{name: string, shape: number[], gradient_norm: number, norm: number}>} parameters
 * @param {{parameter: string | null, index: number[] | null}} asked the selection in the link
 * @param {(chosen: {parameter: string, index: number[]}) => void} chosen
 * @returns {{table: HTMLElement, root: HTMLElement, stop: () => void}} `table` lists the parameters
 */
export function weightPanel(about, parameters, asked, chosen) {
  const chain = element("div", { class: "chain", "aria-live": "off" });
  const places = element("div", { class: "places" });
  const among = select(
    parameters.map(({ name, shape }) => ({ value: name, label: `${name}, ${sizes(shape)}` })),
    null,
    () => take(among.value, null),
  );
  let controls = [];

  const asking = load(
    (wish, signal) => post("explain/weight", { ...about, ...wish }, { signal }),
    (answer) => fill(chain, chainOf(answer)),
  );

  function take(name, index) {
    const { shape } = parameters.find((parameter) => parameter.name === name);
    const at = fits(index, shape) ? index : firstIndex(shape);
    among.value = name;
    controls = shape.map((size, axis) =>
      element("input", {
        type: "number",
        min: 0,
        max: size - 1,
        step: 1,
        value: at[axis],
        onchange: go,
      }),
    );
    fill(
      places,
      controls.map((control, axis) => field(axisName(shape.length, axis), control)),
    );
    go();
  }

  function go() {
    if (controls.some((control) => control.value === "" || !control.checkValidity())) return;
    const wish = {
      parameter: among.value,
      index: controls.map((control) => Number(control.value)),
    };
    chosen(wish);
    asking.want(wish);
  }

  const most = Math.max(...parameters.map((parameter) => parameter.gradient_norm));
  const row = ({ name, shape, gradient_norm: gradient, norm }) =>
    element(
      "tr",
      {},
      element(
        "th",
        { scope: "row" },
        button(name, () => take(name, null), {
          kind: "quiet",
          "aria-label": `Write out a weight of ${name}`,
        }),
      ),
      element("td", { class: "faint" }, sizes(shape)),
      element("td", { class: "number" }, number(gradient, 3)),
      gauge(gradient, most),
      element("td", { class: "number" }, number(norm, 3)),
    );
  const table = element(
    "table",
    { class: "parameters" },
    element("caption", { class: "unseen" }, "Parameters and the norms of their gradients"),
    head(
      column("parameter"),
      column("shape"),
      column("gradient", "number"),
      element("td"),
      column("weights", "number"),
    ),
    element("tbody", {}, parameters.map(row)),
  );

  const [first] = parameters;
  const known = parameters.some(({ name }) => name === asked.parameter);
  const listed = element(
    "div",
    {},
    element(
      "p",
      { class: "faint" },
      "The norm of each gradient, beside the norm of the parameter; an update moves against the gradient.",
    ),
    element(
      "div",
      { class: "scroll", tabindex: 0, role: "group", "aria-label": "All parameters" },
      table,
    ),
  );
  const root = element(
    "section",
    { class: "one", "aria-label": "One weight" },
    element(
      "div",
      { class: "finder", role: "group", "aria-label": "Choose a weight" },
      field("Parameter", among),
      places,
    ),
    chain,
  );
  if (first) take(known ? asked.parameter : first.name, known ? asked.index : null);
  return { table: listed, root, stop: asking.stop };
}

function chainOf({
  value,
  gradient,
  difference_quotient: measured,
  step,
  text,
  mathml,
  layers,
  local,
}) {
  const largest = Math.max(...layers.map(({ after }) => after));
  return [
    element(
      "dl",
      { class: "figures" },
      figure("w", number(value)),
      figure("∂E/∂w, by the chain rule", number(gradient), "back"),
      figure(`measured, with w changed by ${number(step)}`, number(measured)),
    ),
    element(
      "div",
      { class: "scroll", tabindex: 0, role: "group", "aria-label": "The chain rule" },
      formula(mathml, mathml ? "" : text),
    ),
    element(
      "div",
      { class: "scroll", tabindex: 0, role: "group", "aria-label": "The factors" },
      element(
        "table",
        { class: "factors" },
        element("caption", { class: "unseen" }, "The factors, from the loss down to the weight"),
        head(
          column("layer"),
          column("its derivative"),
          column("norm of the product so far", "number"),
          element("td"),
        ),
        element(
          "tbody",
          {},
          layers.map((factor) =>
            element(
              "tr",
              {},
              element("th", { scope: "row" }, factor.module || factor.op.replaceAll("_", " ")),
              element(
                "td",
                {},
                formula(factor.mathml, factor.text, { reference: factor.reference, inline: true }),
              ),
              element("td", { class: "number" }, number(factor.after, 3)),
              gauge(factor.after, largest),
            ),
          ),
        ),
      ),
    ),
    local ? localOf(local) : null,
    element(
      "details",
      {},
      element("summary", {}, "The whole derivation as text"),
      element("pre", { class: "scroll", tabindex: 0 }, text),
    ),
  ];
}

function localOf({ layer, gradient, inputs, products, places, more, printed }) {
  const names = places.map((place) => (place.length ? `row ${place.join(", column ")}` : layer));
  return element(
    "div",
    { class: "local" },
    element("h3", {}, `The last factor, in ${layer}`),
    element(
      "div",
      { class: "pictures-of" },
      valuesPicture(gradient, "gradient flowing in", { ink: "back" }),
      element("span", { class: "sign" }, "×"),
      valuesPicture(inputs, "input of the weight"),
      element("span", { class: "sign" }, "="),
      valuesPicture(products, "the products", { ink: "back" }),
    ),
    productsTable(["at", "gradient flowing in", "input"], names, printed, more),
  );
}

function figure(name, text, kind = "") {
  return element("div", { class: kind }, element("dt", {}, name), element("dd", {}, text));
}

function fits(index, shape) {
  return (
    index !== null &&
    index.length === shape.length &&
    index.every((place, axis) => place >= 0 && place < shape[axis])
  );
}

/** Return the initial index: the middle of the first kernel, or the first entry. */
function firstIndex(shape) {
  return shape.map((size, axis) => (axis < 2 ? 0 : size >> 1));
}

function axisName(axes, axis) {
  if (axes === 4) return ["Kernel", "Channel", "Row", "Column"][axis];
  return axes === 2 ? ["Unit", "Input"][axis] : ["Unit", `Axis ${axis}`][Math.min(axis, 1)];
}

/** Return the header of a table. */
function head(...cells) {
  return element("thead", {}, element("tr", {}, cells));
}

/** Return the header of a column. */
function column(name, kind = null) {
  return element("th", { scope: "col", class: kind }, name);
}

/** Return a cell with a bar: a value relative to the largest. */
function gauge(value, largest) {
  const share = largest ? value / largest : 0;
  const length = { class: "length", "aria-hidden": "true", style: { "--share": share.toFixed(4) } };
  return element("td", { class: "gauge" }, element("i", length));
}
