/* Drawing tools: pen and eraser, size, undo and redo, picture import. */

import { button, element } from "../dom.js";

const SIZES = [
  { name: "Thin", size: 0.05 },
  { name: "Medium", size: 0.085 },
  { name: "Thick", size: 0.13 },
];

/**
 * Return the tools of a canvas.
 *
 * @param {{drawing: import("./drawing.js").Drawing, brush: {size: number, erases: boolean},
 *   change: (act: () => void) => void, upload: (file: File) => void, pick: () => void}} options
 * @returns {{root: HTMLElement, update: () => void, key: (event: KeyboardEvent) => void}}
 *   `change` changes the drawing and shows it; call `update` after every change of the drawing, and `key` for keys pressed on the page
 */
export function toolbar({ drawing, brush, change, upload, pick }) {
  const only = { only: true, kind: "quiet" };
  const pen = button("Pen", () => take(false), { symbol: "pen", ...only });
  const eraser = button("Eraser", () => take(true), { symbol: "eraser", ...only });
  const undo = button("Undo", () => change(() => drawing.undo()), { symbol: "undo", ...only });
  const redo = button("Redo", () => change(() => drawing.redo()), { symbol: "redo", ...only });
  const clear = button("Clear", () => change(() => drawing.add({ kind: "clear" })), {
    symbol: "clear",
    ...only,
  });
  const file = element("input", {
    type: "file",
    accept: "image/png,image/jpeg,image/webp,image/bmp,image/gif",
    class: "unseen",
    tabindex: -1,
    "aria-label": "Picture of a digit",
    onchange: () => {
      if (file.files[0]) upload(file.files[0]);
      file.value = ""; // allows choosing the same file again
    },
  });
  const sizes = element(
    "fieldset",
    { class: "sizes", onchange: (event) => (brush.size = Number(event.target.value)) },
    element("legend", { class: "unseen" }, "Brush size"),
    SIZES.map(({ name, size }) =>
      element(
        "label",
        { title: name },
        element("input", {
          type: "radio",
          name: "brush-size",
          value: size,
          checked: size === brush.size,
        }),
        element("i", { style: { "--size": size }, "aria-hidden": "true" }),
        element("span", { class: "unseen" }, name),
      ),
    ),
  );

  function take(erases) {
    brush.erases = erases;
    pen.setAttribute("aria-pressed", String(!erases));
    eraser.setAttribute("aria-pressed", String(erases));
  }

  function update() {
    undo.disabled = !drawing.undoable;
    redo.disabled = !drawing.redoable;
    clear.disabled = drawing.blank;
  }

  function key(event) {
    if (
      !(event.ctrlKey || event.metaKey) ||
      event.target.closest("input, select, textarea, dialog")
    )
      return;
    const letter = event.key.toLowerCase();
    const forth = letter === "y" || (letter === "z" && event.shiftKey);
    if (!forth && letter !== "z") return;
    event.preventDefault();
    change(() => (forth ? drawing.redo() : drawing.undo()));
  }

  take(false);
  update();
  const root = element(
    "div",
    { class: "tools", role: "group", "aria-label": "Tools" },
    element("div", {}, pen, eraser, sizes),
    element("div", {}, undo, redo, clear),
    element(
      "div",
      { class: "sources" },
      button("Upload a picture", () => file.click(), { symbol: "upload", kind: "quiet" }),
      file,
      button("Pick a test image", pick, { symbol: "pictures", kind: "quiet" }),
    ),
  );
  return { root, update, key };
}
