/* A drawing: a list of marks, so that every one of them can be taken back. */

/**
 * @typedef {{x: number, y: number, pressure: number}} Point in the unit square; pressure around 1
 * @typedef {{kind: "stroke", points: Point[], size: number, erases: boolean}
 *   | {kind: "picture", bitmap: ImageBitmap, ground: string, ink: string}
 *   | {kind: "digit", input: string}
 *   | {kind: "clear"}} Mark
 *   a stroke of the pen or the eraser, whose size is a share of the side; a picture from a file; a
 *   digit of the data, in the network's own 28 × 28; an empty sheet
 */

/** What was drawn, and what was taken back. */
export class Drawing {
  /** @type {Mark[]} */
  #marks = [];

  /** @type {Mark[]} */
  #undone = [];

  /**
   * Add a mark; what was taken back is then gone.
   *
   * @param {Mark} mark
   */
  add(mark) {
    this.#marks.push(mark);
    this.#undone = [];
  }

  /** Take the last mark back. */
  undo() {
    if (this.undoable) this.#undone.push(this.#marks.pop());
  }

  /** Put the last mark that was taken back in its place again. */
  redo() {
    if (this.redoable) this.#marks.push(this.#undone.pop());
  }

  get undoable() {
    return this.#marks.length > 0;
  }

  get redoable() {
    return this.#undone.length > 0;
  }

  /** The marks that can be seen: from the last one that covers the whole sheet. */
  get visible() {
    const sheet = this.#marks.findLastIndex(({ kind }) => kind !== "stroke");
    return this.#marks.slice(Math.max(sheet, 0));
  }

  /** Whether nothing was put on the sheet; ink that was erased again counts as ink. */
  get blank() {
    return !this.visible.some(({ kind, erases }) => kind !== "clear" && !erases);
  }

  /** The network's input, where the sheet shows just that; else `null`. */
  get exact() {
    const [first, ...others] = this.visible;
    return first?.kind === "digit" && others.length === 0 ? first.input : null;
  }
}
