/* DOM helpers: icons, form controls, and elements. */

import { element, vector } from "../shared/elements.js";

export { element, fill, style, vector } from "../shared/elements.js";

/**
 * Return an icon in the text color, hidden from screen readers; index.html holds the symbols.
 *
 * @param {string} name id of a symbol: pen, eraser, undo, redo, clear, upload, pictures, …
 * @returns {SVGElement}
 */
export function icon(name) {
  return vector(
    "svg",
    { class: "icon", "aria-hidden": "true", viewBox: "0 0 24 24" },
    vector("use", { href: `#icon-${name}` }),
  );
}

/**
 * Return a button that does not submit.
 *
 * @param {string} label text, also for screen readers
 * @param {(event: Event) => void} onclick
 * @param {{symbol?: string, kind?: "plain" | "primary" | "quiet" | "danger", only?: boolean} & Record<string, unknown>} [options]
 *   `symbol` shows an icon before the label, or instead of it with `only`; the rest are attributes
 * @returns {HTMLButtonElement}
 */
export function button(
  label,
  onclick,
  { symbol, kind = "plain", only = false, ...attributes } = {},
) {
  const named = only ? { "aria-label": label, title: label } : {};
  const classes = ["button", kind, only ? "only" : ""].filter(Boolean).join(" ");
  return element(
    "button",
    { type: "button", class: classes, onclick, ...named, ...attributes },
    symbol ? icon(symbol) : null,
    only ? null : element("span", {}, label),
  );
}

const RIGHT_TO_LEFT = /[\u0590-\u08ff\u200f\ufb1d-\ufdff\ufe70-\ufeff\u{10800}-\u{10fff}\u{1e800}-\u{1efff}]/u;

/**
 * Return a user's text so that its direction does not turn the words around it.
 *
 * Unlike a `bdi` element, the marks also work in attributes, options and messages.
 *
 * @param {string} text
 * @returns {string}
 */
export function isolated(text) {
  return RIGHT_TO_LEFT.test(text) ? `\u2068${text}\u2069` : text;
}

let last = 0;

/**
 * Return a unique id.
 *
 * @param {string} [stem]
 * @returns {string}
 */
export function fresh(stem = "made") {
  last += 1;
  return `${stem}-${last}`;
}

/**
 * Return a form control with a label above it.
 *
 * @param {string} label
 * @param {HTMLElement} control
 * @param {string} [hint] help text below the control
 * @returns {HTMLElement}
 */
export function field(label, control, hint = "") {
  control.id ||= fresh("field");
  const said = hint ? element("p", { class: "hint", id: `${control.id}-hint` }, hint) : null;
  if (said) control.setAttribute("aria-describedby", said.id);
  return element(
    "div",
    { class: "field" },
    element("label", { for: control.id }, label),
    control,
    said,
  );
}

/**
 * Return a select element.
 *
 * @param {Array<{value: string | number, label: string}>} choices
 * @param {string | number | null} chosen
 * @param {(value: string) => void} onchange
 * @param {Record<string, unknown>} [attributes]
 * @returns {HTMLSelectElement}
 */
export function select(choices, chosen, onchange, attributes = {}) {
  const options = choices.map(({ value, label }) =>
    element("option", { value, selected: String(value) === String(chosen) }, label),
  );
  return element(
    "select",
    { ...attributes, onchange: (event) => onchange(event.target.value) },
    options,
  );
}

/**
 * Return a segmented control: radio buttons side by side.
 *
 * @param {string} name for screen readers
 * @param {Record<string, unknown>} labels by value: text or elements
 * @param {string} chosen
 * @param {(value: string) => void} onchange
 * @returns {HTMLFieldSetElement}
 */
export function choicesOf(name, labels, chosen, onchange) {
  const group = fresh("choices");
  const radio = (value) =>
    element("input", {
      type: "radio",
      name: group,
      value,
      checked: value === chosen,
      onchange: () => onchange(value),
    });
  return element(
    "fieldset",
    { class: "choices" },
    element("legend", { class: "unseen" }, name),
    Object.entries(labels).map(([value, label]) => element("label", {}, radio(value), label)),
  );
}
