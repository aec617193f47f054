/* Edges: the weights of the diagram as lines, colored by sign, as wide as they are large. */

import { element, fill, style, vector } from "../dom.js";
import { number } from "../numbers.js";

const THIN = 0.6; // pixels
const WIDE = 5;
const FULL = 2.5; // the absolute weight that is drawn widest
const CROWD = 16; // more numbers than these between two layers would overlap,
const NARROW = 110; // and several numbers side by side in fewer pixels

/** The edges between the nodes of a diagram. */
export class Edges {
  /**
   * @param {{point: (subject: any) => void, choose: (subject: any) => void}} handlers
   */
  constructor(handlers) {
    this.handlers = handlers;
    this.lines = vector("g", {});
    this.labels = element("div", { class: "labels", "aria-hidden": "true" });
    this.element = element(
      "div",
      { class: "edges" },
      vector("svg", { "aria-hidden": "true" }, this.lines),
      this.labels,
    );
    this.marked = null;
    this.layers = [];
  }

  /**
   * Create the edges of a network.
   *
   * @param {any[][]} nodes by layer
   */
  lay(nodes) {
    this.layers = nodes.slice(1).map((layer, place) =>
      layer.map((_, unit) =>
        nodes[place].map((__, input) => {
          const subject = { layer: place + 1, unit, input };
          const line = vector("path", { class: "edge" });
          const hit = vector("path", {
            class: "hit",
            onpointerenter: () => this.handlers.point(subject),
            onpointerleave: () => this.handlers.point(null),
            onclick: () => this.handlers.choose(subject),
          });
          return { line, hit, group: vector("g", {}, line, hit) };
        }),
      ),
    );
    fill(
      this.lines,
      this.layers.flat(2).map(({ group }) => group),
    );
    this.lit = null;
    fill(this.labels);
  }

  /**
   * Move the edges to the nodes.
   *
   * @param {{left: number, right: number, middle: number}[][]} boxes of the nodes, by layer
   */
  place(boxes) {
    this.boxes = boxes;
    this.#each(({ line, hit }, layer, unit, input) => {
      const [from, to] = [boxes[layer - 1][input], boxes[layer][unit]];
      const half = (from.right + to.left) / 2;
      const path = `M${from.right},${from.middle}C${half},${from.middle} ${half},${to.middle} ${to.left},${to.middle}`;
      line.setAttribute("d", path);
      hit.setAttribute("d", path);
    });
    this.annotate(this.lit);
  }

  /**
   * Draw weights, or gradients relative to the largest.
   *
   * @param {import("./session.js").Layer[] | null} values
   * @param {boolean} relative
   */
  show(values, relative) {
    const all = values?.flatMap(({ weight }) => weight.flat()) ?? [0];
    const most = relative ? Math.max(...all.map(Math.abs)) || 1 : FULL;
    this.#each(({ line }, layer, unit, input) => {
      const value = values?.[layer - 1].weight[unit]?.[input] ?? 0;
      const share = Math.min(1, Math.abs(value) / most);
      const drawn = relative ? Math.sqrt(share) : share;
      line.classList.toggle("below", value < 0);
      style(line, {
        "stroke-width": (THIN + (WIDE - THIN) * drawn).toFixed(2),
        "stroke-opacity": (0.3 + 0.7 * drawn).toFixed(2),
      });
    });
  }

  /**
   * Mark a weight, or all weights of a neuron.
   *
   * @param {import("./diagram.js").Subject | null} subject
   */
  mark(subject) {
    this.marked = subject;
    this.#each(({ group }, layer, unit, input) => {
      const own = subject?.layer === layer && subject.unit === unit;
      group.classList.toggle("marked", own && (subject.input ?? input) === input);
    });
    if (this.lit) this.annotate(this.lit);
  }

  /**
   * Light up the weights of a layer, and write a number at each; `null` ends that.
   *
   * @param {{layer: number, way: string, numbers: number[][]} | null} lit
   */
  annotate(lit) {
    this.lit = lit;
    this.element.classList.toggle("lit", lit !== null);
    this.#each(({ group }, layer) => {
      group.classList.toggle("forward", lit?.layer === layer && lit.way === "forward");
      group.classList.toggle("backward", lit?.layer === layer && lit.way === "backward");
    });
    fill(this.labels, lit && this.boxes ? this.#labelsOf(lit) : null);
  }

  #labelsOf({ layer, way, numbers }) {
    const room = this.boxes[layer][0].left - this.boxes[layer - 1][0].right;
    const crowded = numbers.flat().length > CROWD || room < NARROW;
    const own = this.marked?.layer === layer ? this.marked.unit : 0;
    return numbers.flatMap((row, unit) =>
      crowded && unit !== own
        ? []
        : row.map((value, input) => {
            const [from, to] = [this.boxes[layer - 1][input], this.boxes[layer][unit]];
            const share = crowded ? 0.4 : shareOf(row.length, numbers.length, input, unit);
            const [x, y] = along(from, to, share);
            return element(
              "span",
              { class: way, style: { left: `${x}px`, top: `${y}px` } },
              number(value, 2),
            );
          }),
    );
  }

  #each(visit) {
    this.layers.forEach((layer, place) =>
      layer.forEach((row, unit) =>
        row.forEach((edge, input) => visit(edge, place + 1, unit, input)),
      ),
    );
  }
}

/** Return where a number stands on its edge: at the end with more nodes, which keeps them apart. */
function shareOf(inputs, units, input, unit) {
  const staggered = (place, count) => (count > 1 ? 0.16 + (0.3 * place) / (count - 1) : 0.3);
  return inputs >= units ? staggered(unit, units) : 1 - staggered(input, inputs);
}

/** Return the place at a share of an edge. */
function along(from, to, share) {
  const rest = 1 - share;
  const late = share * share * (share + 3 * rest); // of a cubic whose ends are horizontal
  const half = (from.right + to.left) / 2;
  const x = rest ** 3 * from.right + 3 * rest * share * half + share ** 3 * to.left;
  return [x, from.middle + late * (to.middle - from.middle)];
}
