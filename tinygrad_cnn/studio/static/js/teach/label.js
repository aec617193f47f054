/* Labeling: one drawing, with the prediction and the true label. */

import { patch, post, remove } from "../api.js";
import { button, element, fill, fresh } from "../dom.js";
import { paintDigit } from "../maps.js";
import { ask, failed, say } from "../message.js";
import { percent } from "../numbers.js";
import { link, toLink } from "../state.js";

const SCALE = 10; // scale of the stored picture if only the network input is known

export class Labeling {
  /**
   * @param {object} then
   * @param {(drawing: import("./drawings.js").Drawing) => void} then.labeled  called after labeling
   * @param {() => void} then.deleted
   * @param {number | null} model  the model for the prediction; the promoted one by default
   */
  constructor({ labeled, deleted }, model) {
    this.then = { labeled, deleted };
    this.model = model;
    this.drawing = null;
    this.canvas = element("canvas", {
      class: "digit",
      width: 28,
      height: 28,
      role: "img",
      "aria-label": "The drawing",
    });
    this.title = element("h2", { tabindex: "-1" }, "Which digit is it?");
    this.guess = element("p", { class: "guess faint" });
    this.digits = element("fieldset", { class: "choices digits" });
    this.see = element("a", { class: "button quiet" }, "See why");
    this.delete = button("Delete", () => this.#delete(), { symbol: "clear", kind: "quiet" });
    this.element = element(
      "section",
      { class: "labeling", "aria-label": "The chosen drawing", hidden: true },
      this.canvas,
      element(
        "div",
        { class: "question" },
        this.title,
        this.guess,
        this.digits,
        element("div", { class: "others" }, this.see, this.delete),
      ),
    );
  }

  /**
   * Show a drawing; one without an id is stored when it is labeled.
   * @param {Partial<import("./drawings.js").Drawing> & {input: string}} drawing
   */
  show(drawing) {
    this.drawing = drawing;
    this.element.hidden = false;
    paintDigit(this.canvas, drawing.input);
    this.title.textContent =
      drawing.label === null || drawing.label === undefined
        ? "Which digit is it?"
        : `It is a ${drawing.label}`;
    const group = fresh("digit");
    fill(
      this.digits,
      element("legend", { class: "unseen" }, "Which digit is it?"),
      Array.from({ length: 10 }, (_, digit) =>
        element(
          "label",
          {},
          element("input", {
            type: "radio",
            name: group,
            value: digit,
            checked: digit === drawing.label,
            onchange: () => this.#label(digit),
          }),
          String(digit),
        ),
      ),
    );
    this.delete.hidden = drawing.id === undefined;
    this.see.href = link("see", { input: toLink(drawing.input), label: drawing.label });
    this.guess.textContent = "\u00a0";
    this.#guess(drawing);
  }

  /** Hide the drawing. */
  hide() {
    this.drawing = null;
    this.element.hidden = true;
  }

  async #guess(drawing) {
    try {
      const { classes, probabilities } = await post("predict/input", {
        input: drawing.input,
        model: this.model,
      });
      if (this.drawing !== drawing) return;
      const best = probabilities.indexOf(Math.max(...probabilities));
      const sure = percent(probabilities[best]);
      const right =
        drawing.label === null || drawing.label === undefined
          ? ""
          : String(drawing.label) === classes[best]
            ? ", correctly"
            : ", wrongly";
      this.guess.textContent = `The model predicts ${classes[best]} (${sure})${right}.`;
    } catch (error) {
      if (this.drawing === drawing) this.guess.textContent = error.message;
    }
  }

  async #label(label) {
    const { id, input } = this.drawing;
    try {
      const drawing =
        id === undefined
          ? await post("drawings", await pictureOf(input), { query: { label } })
          : await patch(`drawings/${id}`, { label });
      say(`Stored as a ${label}${drawing.held_back ? ", held out for validation" : ""}`);
      this.drawing = drawing;
      this.title.textContent = `It is a ${label}`;
      this.delete.hidden = false;
      this.see.href = link("see", { input: toLink(drawing.input), label });
      this.#guess(drawing);
      this.then.labeled(drawing);
    } catch (error) {
      failed(error);
    }
  }

  async #delete() {
    const { id } = this.drawing;
    if (
      !(await ask("Delete this drawing?", {
        detail: "This cannot be undone.",
        yes: "Delete",
        kind: "danger",
      }))
    )
      return;
    try {
      await remove(`drawings/${id}`);
      say("Drawing deleted");
      this.hide();
      this.then.deleted();
    } catch (error) {
      failed(error);
    }
  }
}

/** Return a picture of a network input, from which the server computes the same input. */
function pictureOf(input) {
  const small = element("canvas", {});
  paintDigit(small, input);
  const side = 28 * SCALE;
  const large = element("canvas", { width: side, height: side });
  const context = large.getContext("2d");
  context.imageSmoothingEnabled = false; // square pixels, so that scaling down is exact
  context.drawImage(small, 0, 0, side, side);
  return new Promise((resolve) => large.toBlob(resolve, "image/png"));
}
