/* Drawing: a list of marks, with undo and redo. */

import { freshKey } from "../requests.js";

/**
 * @typedef {{x: number, y: number, pressure: number}} Point in the unit square; pressure around 1
 * @typedef {{kind: "stroke", points: Point[], size: number, erases: boolean}
 *   | {kind: "picture", bitmap: ImageBitmap, ground: string, ink: string}
 *   | {kind: "digit", input: string}
 *   | {kind: "clear"}} Mark
 *   a stroke of the pen or the eraser, its size relative to the side; a picture from a file; a
 *   digit of the data set, 28 × 28; a cleared canvas
 */

/** The marks, and those undone. */
export class Drawing {
  /** @type {Mark[]} */
  #marks = [];

  /** @type {Mark[]} */
  #undone = [];

  #key = null;

  /**
   * Add a mark; undone marks are discarded.
   *
   * @param {Mark} mark
   */
  add(mark) {
    this.#marks.push(mark);
    this.#undone = [];
    this.touch();
  }

  /**
   * Replace all marks; nothing remains to undo.
   *
   * @param {Mark[]} [marks]
   */
  reset(marks = []) {
    this.#marks = [...marks];
    this.#undone = [];
    this.touch();
  }

  /** Note that the last mark has changed. */
  touch() {
    this.#key = null;
  }

  /** The key under which the drawing is stored; another one after every change. */
  get key() {
    this.#key ??= freshKey();
    return this.#key;
  }

  /** Undo the last mark. */
  undo() {
    if (this.undoable) this.#undone.push(this.#marks.pop());
    this.touch();
  }

  /** Redo the last mark undone. */
  redo() {
    if (this.redoable) this.#marks.push(this.#undone.pop());
    this.touch();
  }

  get undoable() {
    return this.#marks.length > 0;
  }

  get redoable() {
    return this.#undone.length > 0;
  }

  /** The visible marks: from the last one that covers the whole canvas. */
  get visible() {
    const sheet = this.#marks.findLastIndex(({ kind }) => kind !== "stroke");
    return this.#marks.slice(Math.max(sheet, 0));
  }

  /** Whether the canvas is empty; erased ink counts as ink. */
  get blank() {
    return !this.visible.some(({ kind, erases }) => kind !== "clear" && !erases);
  }

  /** The network input if the canvas shows exactly that, else `null`. */
  get exact() {
    const [first, ...others] = this.visible;
    return first?.kind === "digit" && others.length === 0 ? first.input : null;
  }
}
