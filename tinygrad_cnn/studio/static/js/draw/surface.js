/* Drawing surface for mouse, touch, pen and keyboard. */

import { element, style } from "../dom.js";
import { pngOf } from "./redraw.js";
import { colorsOf, render, stroke } from "./render.js";

const SIDE = 560; // pixels of the bitmap on the page
const CELL = 1 / 28; // step of the arrow keys; three times as far with Shift

/**
 * Return a canvas that shows and edits a drawing.
 *
 * @param {import("./drawing.js").Drawing} drawing
 * @param {{describedBy: string, changed: (finished: boolean) => void}} options
 *   `describedBy`: ids of the elements with instructions; `changed` is called for every movement,
 *   with `true` at the end of a stroke
 * @returns {{root: HTMLElement, canvas: HTMLCanvasElement, brush: {size: number, erases: boolean},
 *   show: () => void, end: () => void, drawing: () => boolean, picture: () => Promise<Blob>, stop: () => void}}
 */
export function surface(drawing, { describedBy, changed }) {
  const canvas = element("canvas", {
    width: SIDE,
    height: SIDE,
    tabindex: 0,
    role: "application",
    "aria-label": "Drawing area",
    "aria-describedby": describedBy,
  });
  const pen = element("i", { class: "pen", "aria-hidden": "true", hidden: true });
  const hint = element("p", { class: "invitation", "aria-hidden": "true" }, "Draw a digit");
  const root = element("div", { class: "sheet" }, canvas, hint, pen);
  const context = canvas.getContext("2d");
  const brush = { size: 0.085, erases: false };
  const place = { x: 0.5, y: 0.5 }; // position of the keyboard's pen
  let current = null; // the current stroke
  let pointer = null; // id of the pointer that draws it

  const page = () => {
    const computed = getComputedStyle(root);
    return {
      ink: computed.getPropertyValue("--ink"),
      ground: computed.getPropertyValue("--sheet"),
    };
  };

  function show() {
    render(context, drawing.visible, page());
    hint.hidden = !drawing.blank;
  }

  function begin(point) {
    current = { kind: "stroke", points: [], size: brush.size, erases: brush.erases };
    drawing.add(current);
    extend([point]);
  }

  function extend(points) {
    const from = Math.max(current.points.length - 1, 0);
    current.points.push(...points);
    drawing.touch();
    paint(from, false);
    hint.hidden = !drawing.blank;
    changed(false);
  }

  function paint(from, ended) {
    stroke(context, current, colorsOf(drawing.visible, page()), from, ended);
  }

  function end() {
    if (current === null) return;
    paint(current.points.length - 1, true);
    current = pointer = null;
    pen.classList.remove("down");
    changed(true);
  }

  function pointOf(event) {
    const box = canvas.getBoundingClientRect();
    const pressed = event.pointerType === "pen" && event.pressure > 0;
    return {
      x: (event.clientX - box.left) / box.width,
      y: (event.clientY - box.top) / box.height,
      pressure: pressed ? 0.55 + 0.9 * event.pressure : 1,
    };
  }

  canvas.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || pointer !== null) return; // ignores a second finger
    end(); // a stroke by keyboard
    canvas.setPointerCapture(event.pointerId);
    pen.hidden = true;
    begin(pointOf(event));
    pointer = event.pointerId;
  });
  canvas.addEventListener("pointermove", (event) => {
    if (event.pointerId !== pointer) return;
    const passed = event.getCoalescedEvents?.() ?? [];
    extend((passed.length ? passed : [event]).map(pointOf));
  });
  for (const kind of ["pointerup", "pointercancel", "lostpointercapture"]) {
    canvas.addEventListener(kind, (event) => event.pointerId === pointer && end());
  }

  const MOVES = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

  function movePen([right, down], far) {
    const step = far ? 3 * CELL : CELL;
    place.x = Math.max(0, Math.min(1, place.x + right * step));
    place.y = Math.max(0, Math.min(1, place.y + down * step));
    showPen();
    if (current !== null && pointer === null) extend([{ ...place, pressure: 1 }]);
  }

  function showPen() {
    pen.hidden = false;
    style(pen, { left: `${100 * place.x}%`, top: `${100 * place.y}%` });
  }

  canvas.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || pointer !== null) return;
    if (event.key in MOVES) movePen(MOVES[event.key], event.shiftKey);
    else if (event.key === " " && !event.repeat) {
      showPen();
      if (current !== null) return (event.preventDefault(), end());
      begin({ ...place, pressure: 1 });
      pen.classList.add("down");
    } else if (event.key === "Escape") end();
    else return;
    event.preventDefault();
  });
  canvas.addEventListener("blur", () => {
    if (pointer === null) end();
    pen.hidden = true;
  });
  canvas.addEventListener(
    "focus",
    () => canvas.matches(":focus-visible") && pointer === null && showPen(),
  );

  const scheme = matchMedia("(prefers-color-scheme: dark)");
  scheme.addEventListener("change", show);
  requestAnimationFrame(show); // the colors are known once it is on the page

  return {
    root,
    canvas,
    brush,
    show,
    end,
    drawing: () => current !== null,
    picture: () => pngOf(drawing.visible),
    stop: () => scheme.removeEventListener("change", show),
  };
}
