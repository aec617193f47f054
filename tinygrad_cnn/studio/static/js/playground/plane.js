/* Plane: the points, over the network's output or one neuron's output. */

import { element, fill, style, vector } from "../dom.js";
import { bytesOf, paint } from "../maps.js";
import { fixed } from "../numbers.js";

const STEP = 0.1; // of the cursor by keyboard
const KEYS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };

/**
 * Paint a map in the colors of the classes; the middle of its range is neutral.
 *
 * @param {HTMLCanvasElement} canvas
 * @param {import("../maps.js").Maps} map of shape (rows, columns)
 */
export function paintMap(canvas, map) {
  paint(canvas, { shape: map.shape, low: -1, high: 1, codes: bytesOf(map.bytes) });
}

/** The plane. */
export class Plane {
  /**
   * @param {number} reach the plane goes from −reach to reach
   * @param {(x1: number, x2: number) => void} acted called for a click, or Enter at the cursor
   */
  constructor(reach, acted) {
    Object.assign(this, { reach, acted, cursor: [0, 0] });
    this.canvas = element("canvas", { "aria-hidden": "true" });
    this.dots = vector("g", {});
    this.ring = vector("circle", { class: "ring", r: 0.16 });
    this.cross = vector("path", { class: "cross", d: "M-0.2,0H0.2M0,-0.2V0.2" });
    this.stage = element(
      "div",
      {
        class: "plane",
        role: "application",
        tabindex: "0",
        onclick: (event) => this.#clicked(event),
        onkeydown: (event) => this.#pressed(event),
      },
      this.canvas,
      vector(
        "svg",
        { viewBox: `${-reach} ${-reach} ${2 * reach} ${2 * reach}`, "aria-hidden": "true" },
        this.dots,
        this.ring,
        this.cross,
      ),
    );
    this.caption = element("figcaption", {}, "\u00a0");
    this.element = element("figure", { class: "output" }, this.stage, this.caption);
    this.#describe();
  }

  /**
   * Draw a map, with a caption.
   *
   * @param {import("../maps.js").Maps} map
   * @param {string} caption
   */
  show(map, caption) {
    paintMap(this.canvas, map);
    if (this.caption.textContent !== caption) this.caption.textContent = caption;
  }

  /**
   * Draw the points.
   *
   * @param {import("./setup.js").Point[]} train
   * @param {import("./setup.js").Point[]} test drawn hollow
   */
  points(train, test) {
    const dot = (kind) => (point) =>
      vector("circle", {
        class: `${kind} ${point.label ? "one" : "zero"}`,
        cx: point.x1,
        cy: -point.x2,
        r: 0.085,
      });
    fill(this.dots, test.map(dot("test")), train.map(dot("train")));
  }

  /**
   * Mark the point that the numbers are about.
   *
   * @param {import("./setup.js").Point | null} point
   */
  mark(point) {
    style(this.ring, { display: point ? "" : "none" });
    if (!point) return;
    this.ring.setAttribute("cx", point.x1);
    this.ring.setAttribute("cy", -point.x2);
  }

  #clicked(event) {
    const box = this.stage.getBoundingClientRect();
    const share = (at, from, size) => (2 * (at - from)) / size - 1;
    this.acted(
      this.reach * share(event.clientX, box.left, box.width),
      -this.reach * share(event.clientY, box.top, box.height),
    );
  }

  #pressed(event) {
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      this.acted(...this.cursor);
    }
    const direction = KEYS[event.key];
    if (!direction) return;
    event.preventDefault();
    const step = event.shiftKey ? 5 * STEP : STEP;
    this.cursor = this.cursor.map((x, axis) =>
      Math.max(-this.reach, Math.min(this.reach, x + step * direction[axis])),
    );
    this.#describe();
  }

  #describe() {
    const [x1, x2] = this.cursor;
    this.cross.setAttribute("transform", `translate(${x1},${-x2})`);
    this.stage.setAttribute(
      "aria-label",
      `The plane; cursor at ${fixed(x1, 1)}, ${fixed(x2, 1)}; arrow keys move it, Enter acts`,
    );
  }
}
