/* Labeling: a stored drawing, with the prediction and the true label. */

import { patch, post, remove } from "../api.js";
import { button, element, fill, fresh } from "../dom.js";
import { paintDigit } from "../maps.js";
import { ask, say } from "../message.js";
import { a, percent } from "../numbers.js";
import { load, write } from "../requests.js";
import { link, toLink } from "../state.js";
import { digitOf } from "./sketch.js";

export class Labeling {
  /**
   * @param {object} then
   * @param {(drawing: import("./drawings.js").Drawing) => void} then.labeled  called after labeling
   * @param {(focused: boolean) => void} then.deleted  called with whether it had the keyboard focus
   * @param {import("../models/drawn.js").Chosen} model  for the prediction
   */
  constructor({ labeled, deleted }, model) {
    this.then = { labeled, deleted };
    this.model = model;
    this.drawing = null;
    this.deleting = false;
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
      async (input, signal) =>
        post("predict/input", { input, model: await this.model(signal) }, { signal }),
      (answer) => this.#showGuess(answer),
      { refused: (error) => (this.guess.textContent = error.message) },
    );
    this.element = element(
      "section",
      {
        class: "labeling",
        "aria-label": "The chosen drawing",
        hidden: true,
        onkeydown: (event) => this.#key(event),
      },
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
   * Show a drawing.
   * @param {import("./drawings.js").Drawing} drawing
   */
  show(drawing) {
    this.element.hidden = false;
    paintDigit(this.canvas, drawing.input);
    const { label } = drawing;
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

  /**
   * Note that a drawing is deleted, and hide it.
   * @param {number} id
   */
  gone(id) {
    if (this.drawing?.id !== id || this.deleting) return;
    const focused = this.element.contains(document.activeElement);
    say("Drawing deleted");
    this.hide();
    this.then.deleted(focused);
  }

  /** Stop loading; answers that are still to come change nothing. */
  close() {
    this.hide();
  }

  #showStored(drawing) {
    this.drawing = drawing;
    const { input, label } = drawing;
    this.title.textContent = label === null ? "Which digit is it?" : `It is ${a(label)}`;
    this.see.href = link("see", { input: toLink(input), label });
    this.guessing.want(input);
  }

  get #chosen() {
    const chosen = this.digits.querySelector("input:checked");
    return chosen === null ? null : Number(chosen.value);
  }

  /** Choose a digit by its key. */
  #key(event) {
    if (digitOf(event) === null) return;
    const box = this.digits.querySelector(`[value="${event.key}"]`);
    event.stopPropagation(); // it is not for the sketch
    box.checked = true;
    box.focus();
    this.#showChoice();
  }

  #showChoice() {
    const chosen = this.#chosen;
    this.store.textContent = chosen === null ? "Store" : `Store as ${a(chosen)}`;
  }

  #showGuess({ classes, probabilities }) {
    const best = probabilities.indexOf(Math.max(...probabilities));
    const sure = percent(probabilities[best]);
    const { label } = this.drawing;
    const right =
      label === null ? "" : String(label) === classes[best] ? ", correctly" : ", wrongly";
    this.guess.textContent = `The model predicts ${a(classes[best])} (${sure})${right}.`;
  }

  /** Store the drawing with the chosen label; the answer is shown only if the drawing still is. */
  #label() {
    const { id } = this.drawing;
    const label = this.#chosen;
    write(`drawing ${id}`, () => patch(`drawings/${id}`, { label }), {
      shown: () => this.drawing?.id === id,
      answered: (answer) => {
        say(`Stored as ${a(answer.label)}${answer.held_back ? ", held out for validation" : ""}`);
        this.#showStored(answer);
        this.then.labeled(answer);
      },
    });
  }

  async #delete() {
    const { id } = this.drawing;
    const detail = "This cannot be undone.";
    if (!(await ask("Delete this drawing?", { detail, yes: "Delete", kind: "danger" }))) return;
    this.deleting = true;
    await write(`drawing ${id}`, () => remove(`drawings/${id}`), {
      shown: () => this.drawing?.id === id,
      answered: () => {
        say("Drawing deleted");
        this.hide();
        this.then.deleted(true);
      },
    });
    this.deleting = false;
  }
}
