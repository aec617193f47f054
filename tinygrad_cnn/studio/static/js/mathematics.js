/* Formulas: MathML from the server, copied element by element, so that only MathML gets in. */

import { element } from "./dom.js";

const MATHML = "http://www.w3.org/1998/Math/MathML";
const ELEMENTS = new Set(
  (
    "math mfrac mi mn mo mover mpadded mphantom mroot mrow mspace msqrt mstyle msub msubsup msup " +
    "mtable mtd mtext mtr munder munderover"
  ).split(" "),
);
const ATTRIBUTES = new Set(
  (
    "columnalign columnspacing display displaystyle fence form lspace mathvariant movablelimits " +
    "rowspacing rspace scriptlevel separator stretchy width"
  ).split(" "),
);

/**
 * Return a formula as MathML, or as text if there is none.
 *
 * @param {string | null} mathml a `math` element
 * @param {string} text
 * @param {{reference?: string, inline?: boolean}} [options] `reference`: the equation's number
 * @returns {HTMLElement}
 */
export function formula(mathml, text, { reference = "", inline = false } = {}) {
  const markup =
    (mathml && copied(mathml, inline)) || element("span", { class: "mathematics" }, text);
  const source = reference ? element("span", { class: "reference" }, reference) : null;
  return element(inline ? "span" : "div", { class: "formula" }, markup, source);
}

function copied(mathml, inline) {
  const root = new DOMParser().parseFromString(mathml, "application/xml").documentElement;
  if (root.localName !== "math" || root.namespaceURI !== MATHML) return null;
  const made = copy(root);
  if (made !== null && inline) made.removeAttribute("display");
  return made;
}

function copy(node) {
  if (node.namespaceURI !== MATHML || !ELEMENTS.has(node.localName)) return null;
  const made = document.createElementNS(MATHML, node.localName);
  for (const { name, value } of node.attributes) {
    if (ATTRIBUTES.has(name)) made.setAttribute(name, value);
  }
  for (const child of node.childNodes) {
    const inside = child.nodeType === Node.ELEMENT_NODE ? copy(child) : child.textContent;
    if (inside !== null) made.append(inside);
  }
  return made;
}
