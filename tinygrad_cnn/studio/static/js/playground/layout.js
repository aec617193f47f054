/* Layout of the playground's parts. */

import { element, fill } from "../dom.js";

/**
 * Put the parts on the page.
 *
 * @param {HTMLElement} root
 * @param {Record<string, any>} parts elements, lists of them, or objects with an element
 */
export function layOut(
  root,
  { steer, walkButton, walk, fields, data, bar, reading, diagram, right, inspector },
) {
  fill(
    root,
    element(
      "header",
      { class: "head" },
      element("h1", {}, "Playground"),
      element("div", { class: "steer" }, steer),
      walkButton,
    ),
    walk.element,
    fields,
    element(
      "div",
      { class: "bench" },
      data.data,
      element(
        "div",
        { class: "middle" },
        element("div", { class: "bar" }, bar),
        reading,
        diagram.element,
      ),
      element("div", { class: "right" }, right),
    ),
    inspector.element,
  );
}
