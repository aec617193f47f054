/* Sketch: draw a digit and label it; it is stored with its label, and the next one can be drawn. */

import { post, remove } from "../api.js";
import { button, element, fresh } from "../dom.js";
import { Drawing } from "../draw/drawing.js";
import { surface } from "../draw/surface.js";
import { failed, say } from "../message.js";
import { a, percent } from "../numbers.js";
import { create, load, write } from "../requests.js";
import { link, toLink } from "../state.js";

const EMPTY = "Draw a digit, then press its key or a button.";

const drawing = new Drawing(); // kept across views
let known = null; // its network input, as far as links show it

/**
 * Put another drawing on the sketch, which the view then shows.
 *
 * @param {import("../draw/drawing.js").Mark[]} marks
 * @param {string | null} input  its network input, if it is known
 */
export function handOver(marks, input) {
  drawing.reset(marks);
  known = input;
}

/**
 * Return the digit of a pressed key, or null: for another key, with a modifier, or in a text field.
 *
 * @param {KeyboardEvent} event
 * @returns {number | null}
 */
export function digitOf({ key, ctrlKey, metaKey, altKey, repeat, target }) {
  if (!/^\d$/.test(key) || ctrlKey || metaKey || altKey || repeat) return null;
  return target.closest("input:not([type='radio']), select, textarea, dialog") ? null : Number(key);
}

export class Sketch {
  /**
   * @param {object} then
   * @param {(drawing: import("./drawings.js").Drawing) => void} then.stored
   * @param {(input: string | null) => void} then.drawn  called with the input of the drawing
   * @param {object} from
   * @param {string | null} from.input  a network input to show
   * @param {import("../models/drawn.js").Chosen} from.model  for the prediction
   */
  constructor({ stored, drawn }, { input, model }) {
    this.then = { stored, drawn };
    this.model = model;
    this.last = null; // the drawing stored last, which can be taken back
    if (input !== null && input !== known) handOver([{ kind: "digit", input }], input);
    const how = element(
      "p",
      { class: "unseen", id: fresh("how") },
      "Arrow keys move the pen; Space puts it down or lifts it. A digit key stores the drawing.",
    );
    this.sheet = surface(drawing, {
      describedBy: how.id,
      changed: (finished) => (this.#ask(), finished && this.#settle()),
    });
    this.guess = element("p", { class: "guess faint" });
    this.digits = Array.from({ length: 10 }, (_, digit) =>
      button(String(digit), () => this.label(digit), { title: `Store as ${a(digit)}` }),
    );
    this.undo = button("Undo", () => this.#change(() => drawing.undo()), {
      symbol: "undo",
      kind: "quiet",
    });
    this.clear = button("Clear", () => this.#change(() => drawing.add({ kind: "clear" })), {
      symbol: "clear",
      kind: "quiet",
    });
    this.see = element("a", { class: "button quiet" }, "See why");
    this.receipt = element("span", {});
    this.back = button("Take it back", () => this.#takeBack(), { kind: "quiet", hidden: true });
    const title = element("h2", { id: fresh("sketch") }, "Which digit is it?");
    this.element = element(
      "section",
      { class: "sketch", "aria-labelledby": title.id },
      this.sheet.root,
      how,
      element(
        "div",
        { class: "question" },
        title,
        this.guess,
        element("div", { class: "keys", role: "group", "aria-labelledby": title.id }, this.digits),
        element("div", { class: "others" }, this.undo, this.clear, this.see),
        element("div", { class: "stored-last", role: "status" }, this.receipt, this.back),
      ),
    );
    this.asking = load(
      async (_, signal) => this.#predict(signal),
      (answer) => this.#showGuess(answer),
      { refused: (error) => this.#showRefusal(error), live: true },
    );
    this.#ask();
    this.#settle();
  }

  /**
   * Label the drawing, store it, and make room for the next one.
   * @param {number} digit
   */
  async label(digit) {
    if (this.element.inert) return; // it stops the pointer, but no keys of the document
    this.sheet.end();
    if (drawing.blank) return this.#showEmpty();
    const { key, visible: marks } = drawing;
    this.element.inert = true; // until it is stored, nothing is drawn over it
    const picture = await this.sheet.picture();
    await write("the sketch", () => create("drawings", picture, { query: { label: digit }, key }), {
      answered: (stored) => {
        const held = stored.held_back ? ", held out for validation" : "";
        this.last = { id: stored.id, marks };
        this.receipt.textContent = `Stored as ${a(stored.label)}${held}.`;
        this.back.hidden = false;
        this.#replace([]);
        this.then.stored(stored);
      },
    });
    this.element.inert = false;
    this.sheet.canvas.focus({ preventScroll: true });
  }

  /** Stop loading; the drawing stays for the next visit. */
  close() {
    this.asking.stop();
    this.sheet.stop();
  }

  /**
   * Note that a drawing is deleted: it cannot be taken back.
   * @param {number} id
   */
  gone(id) {
    if (this.last?.id === id && !this.back.disabled) this.#forget(); // else by this sketch
  }

  #forget() {
    this.last = null;
    this.back.hidden = true;
    this.receipt.textContent = "";
  }

  /** Delete the drawing stored last, and show it again. */
  async #takeBack() {
    const { id, marks } = this.last;
    this.back.disabled = true;
    const done = await write(`drawing ${id}`, () => remove(`drawings/${id}`), {
      shown: () => this.last?.id === id,
      answered: () => {
        this.#forget();
        if (drawing.blank) this.#replace(marks);
        say("Deleted again");
        this.sheet.canvas.focus({ preventScroll: true });
      },
    });
    this.back.disabled = false;
    if (!done) this.back.focus();
  }

  #change(act) {
    this.sheet.end();
    act();
    this.sheet.show();
    this.#ask();
    this.#settle();
  }

  #replace(marks) {
    this.#change(() => drawing.reset(marks));
  }

  #settle() {
    this.undo.disabled = !drawing.undoable;
    this.clear.disabled = this.see.hidden = drawing.blank;
  }

  #ask() {
    if (!drawing.blank) return this.asking.want();
    this.asking.stop();
    this.#showEmpty();
  }

  async #predict(signal) {
    const model = await this.model(signal);
    if (drawing.exact !== null)
      return post("predict/input", { input: drawing.exact, model }, { signal });
    return post("predict", await this.sheet.picture(), { signal, query: { model } });
  }

  #showGuess({ input, classes, probabilities }) {
    const best = probabilities.indexOf(Math.max(...probabilities));
    const sure = percent(probabilities[best]);
    this.guess.textContent = `The model predicts ${a(classes[best])} (${sure}).`;
    this.see.href = link("see", { input: toLink(input) });
    this.#note(input);
  }

  #showRefusal(error) {
    if (error.name === "blank") return this.#showEmpty();
    if (error.name === "no-model") this.guess.textContent = "No model is trained yet.";
    else failed(error);
  }

  #showEmpty() {
    this.guess.textContent = EMPTY;
    this.#note(null);
  }

  #note(input) {
    if (this.sheet.drawing()) return;
    known = input;
    this.then.drawn(input);
  }
}
