/* Cell finder: a form that selects a cell by its indices, for keyboard users. */

import { element, field, fill, select } from "../dom.js";

/**
 * Return a form that selects a cell.
 *
 * @param {import("./layers.js").Shown[]} layers
 * @param {(layer: string, index: number[] | null) => void} choose `null` for any cell of a layer
 * @returns {{root: HTMLElement, show: (layer: string, index: number[]) => void}}
 */
export function finder(layers, choose) {
  const among = select(
    layers.map(({ name }) => ({ value: name, label: name })),
    null,
    (name) => choose(name, null),
  );
  const places = element("div", { class: "places" });
  let controls = [];

  function go() {
    if (controls.some((control) => control.value === "" || !control.checkValidity())) return;
    choose(
      among.value,
      controls.map((control) => Number(control.value)),
    );
  }

  function show(name, index) {
    among.value = name;
    const { shape } = layers.find((layer) => layer.name === name);
    if (controls.length !== index.length) {
      const axes = index.length === 3 ? ["Map", "Row", "Column"] : ["Unit"];
      controls = index.map(() =>
        element("input", { type: "number", min: 0, step: 1, onchange: go }),
      );
      fill(
        places,
        controls.map((control, axis) => field(axes[axis], control)),
      );
    }
    controls.forEach((control, axis) => {
      control.max = shape[axis] - 1;
      control.value = index[axis];
    });
  }

  const root = element(
    "div",
    { class: "finder", role: "group", "aria-label": "Choose a cell" },
    field("Layer", among),
    places,
    element("p", { class: "hint" }, "Counted from 0."),
  );
  return { root, show };
}
