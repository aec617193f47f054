/* Test image picker. */

import { get } from "../api.js";
import { button, element, fill } from "../dom.js";
import { digit } from "../maps.js";
import { dialog } from "../message.js";
import { a, grouped, wordy } from "../numbers.js";
import { load } from "../requests.js";

const SHOWN = 60;
const DIGITS = [..."0123456789"];

/**
 * Open a dialog to pick a test image.
 *
 * @param {(image: {index: number, label: number, input: string}) => void} picked
 * @param {{data?: string, classes?: string[]}} [images] the set, and the names of its classes
 */
export function pickImage(picked, { data = "digits", classes = DIGITS } = {}) {
  const grid = element("div", { class: "pictures", "aria-live": "off" });
  const count = element("p", { class: "faint small", role: "status" });
  const more = button("More", () => ask(), { kind: "quiet" });
  let label = "";
  let known = 0; // images of this label

  const loading = load(
    ({ offset, label }, signal) =>
      get("images", { data, part: "test", label, offset, limit: SHOWN }, { signal }),
    ({ total, images }, { offset }) => {
      if (offset !== known) return; // asked twice
      const made = images.map(tile);
      if (offset) grid.append(...made);
      else fill(grid, made);
      known += images.length;
      more.hidden = known >= total;
      count.textContent = `${grouped(known)} of ${grouped(total)} test images`;
    },
  );
  const ask = () => loading.want({ offset: known, label });

  const tile = (image) =>
    element(
      "button",
      {
        type: "button",
        "aria-label": `Test image ${image.index}, ${a(classes[image.label])}`,
        onclick: () => {
          box.close();
          picked(image);
        },
      },
      digit(image.input),
    );

  const box = dialog(
    "Pick a test image",
    labelChoice(
      "Show",
      "Any",
      label,
      (value) => {
        label = value;
        known = 0;
        ask();
      },
      classes,
    ),
    grid,
    element("div", { class: "more" }, count, more),
  );
  box.addEventListener("close", loading.stop);
  ask();
}

/**
 * Return radio buttons for the classes, and optionally one for none.
 *
 * @param {string} legend text for screen readers
 * @param {string | null} none label of the choice of none; `null` omits it
 * @param {string | number} chosen "" for none
 * @param {(value: string) => void} onchange called with the number of a class
 * @param {string[]} [classes]
 * @returns {HTMLFieldSetElement}
 */
export function labelChoice(legend, none, chosen, onchange, classes = DIGITS) {
  const name = `label-${Math.random().toString(36).slice(2)}`;
  const values = [
    ...(none === null ? [] : [["", none]]),
    ...classes.map((text, label) => [String(label), text]),
  ];
  return element(
    "fieldset",
    { class: `choices ${wordy(classes)}`, onchange: (event) => onchange(event.target.value) },
    element("legend", { class: "unseen" }, legend),
    values.map(([value, text]) =>
      element(
        "label",
        {},
        element("input", { type: "radio", name, value, checked: value === String(chosen) }),
        element("span", {}, text),
      ),
    ),
  );
}
