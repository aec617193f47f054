/* Icons and form controls, and the elements that they are made of. */

import { element, vector } from "../shared/elements.js";

export { element, fill, style, vector } from "../shared/elements.js";

/**
 * Return a symbol of icons.svg in the color of the text; it says nothing to a screen reader.
 *
 * @param {string} name of a symbol: pen, eraser, undo, redo, clear, upload, pictures, …
 * @returns {SVGElement}
 */
export function icon(name) {
  const file = new URL("../icons.svg", import.meta.url).pathname;
  return vector(
    "svg",
    { class: "icon", "aria-hidden": "true", viewBox: "0 0 24 24" },
    vector("use", { href: `${file}#${name}` }),
  );
}

/**
 * Return a button that does not submit.
 *
 * @param {string} label what it says, also to a screen reader
 * @param {(event: Event) => void} onclick
 * @param {{symbol?: string, kind?: "plain" | "primary" | "quiet" | "danger", only?: boolean} & Record<string, unknown>} [options]
 *   `symbol` shows an icon before the label, with `only` in place of it; more are attributes
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

let last = 0;

/**
 * Return an id that no element has yet.
 *
 * @param {string} [stem]
 * @returns {string}
 */
export function fresh(stem = "made") {
  last += 1;
  return `${stem}-${last}`;
}

/**
 * Return a labeled form control: the label stands above it.
 *
 * @param {string} label
 * @param {HTMLElement} control
 * @param {string} [hint] a sentence below
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
 * Return a select of choices.
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
