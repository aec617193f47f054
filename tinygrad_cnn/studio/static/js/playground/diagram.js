/* Diagram: the features, the neurons with their outputs, and the weights between them. */

import { button, element, fill, style, vector } from "../dom.js";
import { number } from "../numbers.js";
import { Edges } from "./edges.js";
import { paintMap } from "./plane.js";

/**
 * @typedef {{layer: number, unit: number, input?: number | null}} Subject
 *   a neuron: layer 0 has the features, the last one the output; or one of its weights, with
 *   `input` −1 for the bias
 * @typedef {object} Stage what a moment of a single step shows
 * @property {number[][]} values by layer and neuron: outputs, as far as known
 * @property {number[][]} deltas by layer and neuron: gradients of z, as far as known
 * @property {{layer: number, way: "forward" | "backward", numbers: number[][]} | null} lit the
 *   layer whose weights are in use, and the number at each of them
 * @property {Subject} [about] what is written out
 */

/** The diagram of a network. */
export class Diagram {
  /**
   * @param {any} choices of the server
   * @param {object} handlers
   * @param {(name: string) => void} handlers.feature switches a feature on or off
   * @param {(layer: number, change: 1 | -1) => void} handlers.neurons adds or removes a neuron
   * @param {(subject: Subject | null) => void} handlers.point the pointer or the focus is there
   * @param {(subject: Subject) => void} handlers.choose
   */
  constructor(choices, handlers) {
    Object.assign(this, { choices, handlers });
    this.edges = new Edges(handlers);
    this.columns = element("div", { class: "columns" });
    this.inside = element("div", { class: "inside" }, this.edges.element, this.columns);
    this.element = element(
      "div",
      { class: "net scroll", role: "group", "aria-label": "The network", tabindex: "0" },
      this.inside,
    );
    this.resized = new ResizeObserver(() => this.#place());
    this.resized.observe(this.inside);
  }

  /**
   * Lay out another network.
   *
   * @param {import("./setup.js").Setup} setup
   */
  lay({ features, hidden }) {
    const focus = this.inside.contains(document.activeElement)
      ? document.activeElement.dataset.key
      : null;
    const feature = (name, label) => {
      const unit = features.indexOf(name);
      const node = this.#node(0, unit, `Feature ${label}`, {
        class: unit < 0 ? "node off" : "node",
        "aria-pressed": String(unit >= 0),
        dataset: { key: `feature ${name}` },
        onclick: () => this.handlers.feature(name),
      });
      node.root.prepend(element("span", { class: "name", "aria-hidden": "true" }, label));
      return { ...node, unit };
    };
    const offered = Object.entries(this.choices.features).map(([name, label]) =>
      feature(name, label),
    );
    const used = offered
      .filter(({ unit }) => unit >= 0)
      .sort((one, other) => one.unit - other.unit);
    const layers = hidden.map((size, place) =>
      Array.from({ length: size }, (_, unit) => this.#neuron(place + 1, unit)),
    );
    const output = [this.#neuron(hidden.length + 1, 0, "Output")];
    this.nodes = [used, ...layers, output];
    this.norms = this.nodes.map(() => element("p", { class: "norm" }));
    this.norms[0].textContent = "Norm of ∂E/∂w";
    fill(
      this.columns,
      this.#column("Features", offered, this.norms[0]),
      layers.map((nodes, place) =>
        this.#column(this.#counter(place, nodes.length), nodes, this.norms[place + 1]),
      ),
      this.#column("Output", output, this.norms.at(-1)),
    );
    this.edges.lay(this.nodes);
    this.#place();
    if (focus) this.columns.querySelector(`[data-key="${CSS.escape(focus)}"]`)?.focus();
  }

  /**
   * Draw the outputs of the neurons, and the weights or their gradients.
   *
   * @param {import("./session.js").Update} update
   * @param {boolean} gradients
   */
  show({ neurons, surface, parameters, gradients: found }, gradients) {
    const count = (layer) => layer.shape[1] * layer.shape[2];
    const maps = neurons.map((layer) => {
      const codes = atob(layer.bytes);
      return (unit) => ({
        shape: layer.shape.slice(1),
        bytes: btoa(codes.slice(unit * count(layer), (unit + 1) * count(layer))),
      });
    });
    this.nodes.forEach((layer, place) =>
      layer.forEach(({ canvas }, unit) =>
        paintMap(canvas, place < maps.length ? maps[place](unit) : surface),
      ),
    );
    this.element.classList.toggle("gradients", gradients);
    this.edges.show(gradients ? found : parameters, gradients);
    found?.forEach(({ weight }, place) => {
      const norm = Math.hypot(...weight.flat());
      this.norms[place + 1].textContent = number(norm, 2);
    });
  }

  /**
   * Mark the neuron or weight that is pointed to or chosen.
   *
   * @param {Subject | null} subject
   */
  mark(subject) {
    this.nodes.forEach((layer, place) =>
      layer.forEach(({ root }, unit) =>
        root.classList.toggle("marked", subject?.layer === place && subject.unit === unit),
      ),
    );
    this.edges.mark(subject);
  }

  /**
   * Write the numbers of a moment of a single step; `null` removes them.
   *
   * @param {Stage | null} stage
   */
  annotate(stage) {
    this.nodes.forEach((layer, place) =>
      layer.forEach(({ value, delta }, unit) => {
        const text = (numbers) => {
          const found = numbers?.[place]?.[unit];
          return found === undefined ? "" : number(found, 3);
        };
        value.textContent = text(stage?.values);
        delta.textContent = text(stage?.deltas);
      }),
    );
    if (stage?.about) this.mark(stage.about);
    if (stage?.lit) this.#scrollTo(stage.lit.layer);
    this.edges.annotate(stage?.lit ?? null);
  }

  /** Remove the observers. */
  close() {
    this.resized.disconnect();
  }

  #neuron(layer, unit, name = `Layer ${layer}, neuron ${unit + 1}`) {
    return this.#node(layer, unit, name, {
      class: "node",
      dataset: { key: `${layer} ${unit}` },
      onclick: () => this.handlers.choose({ layer, unit }),
    });
  }

  #node(layer, unit, label, attributes) {
    const at = unit < 0 ? null : { layer, unit };
    const canvas = element("canvas", { "aria-hidden": "true" });
    const value = element("span", { class: "value" });
    const delta = element("span", { class: "delta" });
    const root = element(
      "button",
      {
        type: "button",
        "aria-label": label,
        ...attributes,
        onpointerenter: () => this.handlers.point(at),
        onpointerleave: () => this.handlers.point(null),
        onfocus: () => root.matches(":focus-visible") && this.handlers.point(at),
        onblur: () => this.handlers.point(null),
      },
      canvas,
      value,
      delta,
    );
    return { root, canvas, value, delta };
  }

  #counter(place, count) {
    const change = (symbol, by, disabled, label) =>
      button(label, () => this.handlers.neurons(place, by), {
        only: true,
        kind: "quiet",
        symbol,
        disabled,
        dataset: { key: `${label} ${place}` },
      });
    return element(
      "span",
      { class: "counter" },
      change("minus", -1, false, `Remove a neuron from layer ${place + 1}`),
      element("b", { title: "neurons" }, String(count)),
      change("plus", 1, count >= this.choices.neurons, `Add a neuron to layer ${place + 1}`),
    );
  }

  #column(head, nodes, norm) {
    return element(
      "div",
      { class: "column" },
      element("div", { class: "caption" }, head),
      norm,
      nodes.map(({ root }) => root),
    );
  }

  /** Bring a layer and the one before it into view, on a narrow screen. */
  #scrollTo(layer) {
    const [before, after] = [this.nodes[layer - 1][0], this.nodes[layer][0]].map(({ root }) =>
      root.getBoundingClientRect(),
    );
    const box = this.element.getBoundingClientRect();
    if (after.right > box.right || before.left < box.left)
      this.element.scrollLeft += (before.left + after.right - box.left - box.right) / 2;
  }

  #place() {
    const origin = this.inside.getBoundingClientRect();
    if (!origin.width || !this.nodes) return;
    const boxes = this.nodes.map((layer) =>
      layer.map(({ canvas }) => {
        const { left, right, top, height } = canvas.getBoundingClientRect();
        return {
          left: left - origin.left,
          right: right - origin.left,
          middle: top - origin.top + height / 2,
        };
      }),
    );
    style(this.edges.element, { width: `${origin.width}px`, height: `${origin.height}px` });
    this.edges.place(boxes);
  }
}
