/* Labeling: one drawing, with the prediction and the true label. */

import { patch, post, remove } from "../api.js";
import { button, element, fill, fresh } from "../dom.js";
import { paintDigit } from "../maps.js";
import { ask, say } from "../message.js";
import { a, percent } from "../numbers.js";
import { create, freshKey, load, write } from "../requests.js";
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
    this.digits = element("fieldset", {
      class: "choices digits",
      onchange: () => this.#showChoice(),
    });
    this.store = element("button", { type: "submit", class: "button primary back" }, "Store");
    this.see = element("a", { class: "button quiet" }, "See why");
    this.delete = button("Delete", () => this.#delete(), { symbol: "clear", kind: "quiet" });
    this.guessing = load(
      (wish, signal) => post("predict/input", wish, { signal }),
      (answer) => this.#showGuess(answer),
      { refused: (error) => (this.guess.textContent = error.message) },
    );
    this.element = element(
      "section",
      { class: "labeling", "aria-label": "The chosen drawing", hidden: true },
      this.canvas,
      element(
        "div",
        { class: "question" },
        this.title,
        this.guess,
        element(
          "form",
          { onsubmit: (event) => (event.preventDefault(), this.#label()) },
          this.digits,
          element("div", { class: "others" }, this.store, this.see, this.delete),
        ),
      ),
    );
  }

  /**
   * Show a drawing; one without an id is stored when it is labeled.
   * @param {Partial<import("./drawings.js").Drawing> & {input: string}} drawing
   */
  show(drawing) {
    this.element.hidden = false;
    paintDigit(this.canvas, drawing.input);
    const { label = null } = drawing;
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
            required: true,
            checked: digit === label,
          }),
          String(digit),
        ),
      ),
    );
    this.#showChoice();
    this.guess.textContent = "\u00a0";
    this.#showStored(drawing);
  }

  /** Hide the drawing. */
  hide() {
    this.drawing = null;
    this.element.hidden = true;
    this.guessing.stop();
  }

  /** Stop loading; answers that are still to come change nothing. */
  close() {
    this.hide();
  }

  #showStored(drawing) {
    this.drawing = drawing;
    const { id, input, label = null } = drawing;
    this.title.textContent = label === null ? "Which digit is it?" : `It is ${a(label)}`;
    this.delete.hidden = id === undefined;
    this.see.href = link("see", { input: toLink(input), label });
    this.guessing.want({ input, model: this.model });
  }

  get #chosen() {
    const chosen = this.digits.querySelector("input:checked");
    return chosen === null ? null : Number(chosen.value);
  }

  #showChoice() {
    const chosen = this.#chosen;
    this.store.textContent = chosen === null ? "Store" : `Store as ${a(chosen)}`;
  }

  #showGuess({ classes, probabilities }) {
    const best = probabilities.indexOf(Math.max(...probabilities));
    const sure = percent(probabilities[best]);
    const { label = null } = this.drawing;
    const right =
      label === null ? "" : String(label) === classes[best] ? ", correctly" : ", wrongly";
    this.guess.textContent = `The model predicts ${a(classes[best])} (${sure})${right}.`;
  }

  /** Store the drawing with the chosen label; the answer is shown only if the drawing still is. */
  #label() {
    const { drawing } = this;
    const label = this.#chosen;
    drawing.key ??= freshKey();
    write(`drawing ${drawing.id ?? drawing.key}`, () => stored(drawing, label), {
      shown: () => this.drawing === drawing || this.drawing?.id === drawing.id,
      answered: (answer) => {
        say(`Stored as ${a(label)}${answer.held_back ? ", held out for validation" : ""}`);
        this.#showStored(answer);
        this.then.labeled(answer);
      },
    });
  }

  async #delete() {
    const { id } = this.drawing;
    const detail = "This cannot be undone.";
    if (!(await ask("Delete this drawing?", { detail, yes: "Delete", kind: "danger" }))) return;
    await write(`drawing ${id}`, () => remove(`drawings/${id}`), {
      shown: () => this.drawing?.id === id,
      answered: () => {
        say("Drawing deleted");
        this.hide();
        this.then.deleted();
      },
    });
  }
}

/** Store a drawing with its label, or the label of a stored drawing; return the stored drawing. */
async function stored(drawing, label) {
  if (drawing.id === undefined) {
    const { key, input } = drawing;
    const answer = await create("drawings", await pictureOf(input), { query: { label }, key });
    drawing.id = answer.id;
    if (answer.label === label) return answer;
  }
  return patch(`drawings/${drawing.id}`, { label });
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
