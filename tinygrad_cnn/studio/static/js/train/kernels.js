/* Current kernels of a run's first layer. */

import { element } from "../dom.js";
import { decoded, paint } from "../maps.js";
import { counted, fixed, grouped } from "../numbers.js";

const ACROSS = 8;

export class Kernels {
  /** @param {string} name  the run's name */
  constructor(name) {
    this.name = name;
    this.canvas = element("canvas", {
      class: "maps",
      role: "img",
      "aria-label": `Kernels of ${name}: none yet`,
    });
    this.words = element("p", { class: "hint" }, "They appear after the first batches.");
    this.element = element(
      "figure",
      { class: "kernels" },
      element("figcaption", {}, element("h3", {}, "Kernels"), this.words),
      element("div", { class: "stage" }, this.canvas),
    );
  }

  /** @param {{step: number, layer: string, kernels: import("../maps.js").Maps} | null} snapshot */
  show(snapshot) {
    if (!snapshot || snapshot === this.shown) return;
    this.shown = snapshot;
    const { layer, step, kernels } = snapshot;
    const [count, rows, columns] = kernels.shape;
    const plan = paint(this.canvas, decoded(kernels), {
      across: Math.min(count, ACROSS),
      gap: rows > 9 ? 2 : 1,
    });
    this.canvas.style.setProperty("--cells", String(plan.width));
    this.canvas.classList.toggle("large", rows > 9);
    const values = `from ${fixed(kernels.low, 2)} to ${fixed(kernels.high, 2)}`;
    this.words.textContent = `${layer} after ${grouped(step)} ${step === 1 ? "step" : "steps"}, ${values}`;
    this.canvas.setAttribute(
      "aria-label",
      `${counted(count, "kernel")} of ${rows} × ${columns}, ${values}: ${this.name}`,
    );
  }
}
