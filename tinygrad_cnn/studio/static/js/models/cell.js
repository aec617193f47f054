/* A cell of the confusion matrix: its test images and drawings. */

import { get } from "../api.js";
import { button, element, fill } from "../dom.js";
import { digit } from "../maps.js";
import { dialog } from "../message.js";
import { a, percent, wordy } from "../numbers.js";
import { load } from "../requests.js";
import { link, read, remember, toLink } from "../state.js";

const PAGE = 60;

/**
 * Return classified images as links to their layers.
 *
 * @param {{id: number, classes: string[]}} model
 * @param {{index: number | null, drawing: number | null, label: number, predicted: number,
 *   probability: number, input: string}[]} images
 * @returns {HTMLElement}
 */
export function imageTiles({ id, classes }, images) {
  return element(
    "ul",
    { class: `tiles ${wordy(classes)}` },
    images.map(({ index, drawing, label, predicted, probability, input }) => {
      const which = drawing ? `Drawing ${drawing}` : `Image ${index}`;
      const share = percent(probability, 0);
      const said = `${a(classes[label])}, predicted ${classes[predicted]} with ${share}`;
      return element(
        "li",
        {},
        element(
          "a",
          {
            href: link("see", { model: id, input: toLink(input), label }),
            "aria-label": `${which}: ${said}`,
          },
          digit(input),
          element(
            "span",
            {},
            classes[label],
            element("i", {}, "→"),
            element("b", {}, classes[predicted]),
          ),
          element("small", {}, share),
        ),
      );
    }),
  );
}

/**
 * Show the images of a class that a model predicts as another, or as the same.
 *
 * @param {{id: number, classes: string[], drawn: boolean}} model
 * @param {number} label
 * @param {number} predicted
 */
export function showCell(model, label, predicted) {
  const { id, classes, drawn } = model;
  const place = element("div", { class: "cell-images" }, element("p", {}, "Loading …"));
  const leave = new AbortController();
  const loading = load(
    (limit, signal) => get(`models/${id}/images`, { label, predicted, limit }, { signal }),
    ({ total, images, drawings }, limit) =>
      fill(
        place,
        element("p", { class: "hint" }, "The true class, the predicted class and its probability."),
        part("Test images", total, images),
        images.length < total && images.length === limit
          ? button("Show more", () => loading.want(200), { kind: "quiet", disabled: limit === 200 })
          : null,
        drawn ? part("Drawings", drawings.length, drawings) : null,
      ),
  );
  const part = (name, total, images) => [
    element("h3", {}, `${name} `, element("span", { class: "faint" }, String(total))),
    total ? imageTiles(model, images) : element("p", { class: "faint" }, "None."),
  ];
  const [truth, said] = [classes[label], classes[predicted]].map(a);
  const made = dialog(`${truth}, predicted as ${said}`.replace(/^a/, "A"), place);
  made.addEventListener("close", () => {
    loading.stop();
    leave.abort();
    if (read().view === "models") remember({ cell: null });
  });
  addEventListener("hashchange", () => made.close(), { signal: leave.signal });
  remember({ cell: `${label}-${predicted}` });
  loading.want(PAGE);
}
