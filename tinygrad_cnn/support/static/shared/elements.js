/* DOM elements, created from plain text only, which prevents HTML injection. */

const SVG = "http://www.w3.org/2000/svg";

/**
 * Return an element with attributes and children.
 *
 * An attribute that is `false`, `null` or `undefined` is omitted, and `true` is an empty string;
 * `on…` adds a listener, `style` takes an object of properties (also custom ones), and `dataset`
 * an object. Children are elements or text; `null` and `false` are omitted, arrays are flattened.
 *
 * @param {string} tag
 * @param {Record<string, unknown>} [attributes]
 * @param {...unknown} children
 * @returns {HTMLElement}
 */
export function element(tag, attributes = {}, ...children) {
  return furnish(document.createElement(tag), attributes, children);
}

/**
 * Return an SVG element; arguments as for `element`.
 *
 * @param {string} tag
 * @param {Record<string, unknown>} [attributes]
 * @param {...unknown} children
 * @returns {SVGElement}
 */
export function vector(tag, attributes = {}, ...children) {
  return furnish(document.createElementNS(SVG, tag), attributes, children);
}

function furnish(made, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name === "style") style(made, value);
    else if (name === "dataset") Object.assign(made.dataset, value);
    else made.setAttribute(name, value === true ? "" : String(value));
  }
  made.append(...kept(children));
  return made;
}

function kept(children) {
  return children
    .flat(Infinity)
    .filter((child) => child !== null && child !== false && child !== undefined);
}

/**
 * Set style properties one by one, as the Content-Security-Policy requires.
 *
 * @param {HTMLElement | SVGElement} made
 * @param {Record<string, string | number>} properties
 */
export function style(made, properties) {
  for (const [name, value] of Object.entries(properties))
    made.style.setProperty(name, String(value));
}

/**
 * Replace the content of an element; children as for `element`.
 *
 * @param {Element} parent
 * @param {...unknown} children
 */
export function fill(parent, ...children) {
  parent.replaceChildren(...kept(children));
}
