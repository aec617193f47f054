/* Test image picker. */

import { get } from "../api.js";
import { button, element, fill } from "../dom.js";
import { digit } from "../maps.js";
import { dialog, failed } from "../message.js";
import { grouped } from "../numbers.js";

const SHOWN = 60;

/**
 * Open a dialog to pick a test image.
 *
 * @param {(image: {index: number, label: number, input: string}) => void} picked
 */
export function pickImage(picked) {
  const grid = element("div", { class: "pictures", "aria-live": "off" });
  const count = element("p", { class: "faint small", role: "status" });
  const more = button("More", () => load(false), { kind: "quiet" });
  let label = "";
  let offset = 0;

  async function load(reload) {
    if (reload) offset = 0;
    const asked = label;
    try {
      const { total, images } = await get("images", { part: "test", label, offset, limit: SHOWN });
      if (asked !== label) return;
      const made = images.map(tile);
      if (reload) fill(grid, made);
      else grid.append(...made);
      offset += images.length;
      more.hidden = offset >= total;
      count.textContent = `${grouped(offset)} of ${grouped(total)} test images`;
    } catch (error) {
      failed(error);
    }
  }

  const tile = (image) =>
    element(
      "button",
      {
        type: "button",
        "aria-label": `Test image ${image.index}, a ${image.label}`,
        onclick: () => {
          box.close();
          picked(image);
        },
      },
      digit(image.input),
    );

  const box = dialog(
    "Pick a test image",
    labelChoice("Show", "Any", label, (value) => {
      label = value;
      load(true);
    }),
    grid,
    element("div", { class: "more" }, count, more),
  );
  load(true);
}

/**
 * Return radio buttons for the ten digits, and optionally one for none.
 *
 * @param {string} legend text for screen readers
 * @param {string | null} none label of the choice of none; `null` omits it
 * @param {string | number} chosen "" for none
 * @param {(value: string) => void} onchange
 * @returns {HTMLFieldSetElement}
 */
export function labelChoice(legend, none, chosen, onchange) {
  const name = `label-${Math.random().toString(36).slice(2)}`;
  const values = [
    ...(none === null ? [] : [["", none]]),
    ...[..."0123456789"].map((text) => [text, text]),
  ];
  return element(
    "fieldset",
    { class: "choices", onchange: (event) => onchange(event.target.value) },
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
