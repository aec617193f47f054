/* Walk: one step of gradient descent, moment by moment, forward and backward. */

import { button, element, fill } from "../dom.js";
import { formula } from "../mathematics.js";
import { fixed } from "../numbers.js";
import { deltaLine, gradientLine, lossLine, outputLine, sumLine, updateLine } from "./written.js";

const SLOW = 2200; // milliseconds a moment is shown

/**
 * Return the moments of a step.
 *
 * @param {any} step of the server
 * @param {object} about
 * @param {{layers: number, features: string[]}} about.names
 * @param {import("./setup.js").Setup} about.setup
 * @param {import("./diagram.js").Subject | null} about.subject decides which neuron is written out
 * @returns {{title: string, text: string, equations: any[], lines: string[],
 *   stage: import("./diagram.js").Stage}[]}
 */
export function momentsOf(step, { names, setup, subject }) {
  const { layers, point } = step;
  const last = layers.length;
  const count = layers[0].inputs.length;
  const values = [layers[0].inputs[0], ...layers.map(({ output }) => output[0])];
  const unitOf = (layer) => (subject?.layer === layer ? subject.unit : 0);
  const inputOf = (layer) => (subject?.layer === layer ? (subject.input ?? 0) : 0);
  const deltas = (from) => [
    [],
    ...layers.map(({ delta }, place) => (place + 1 >= from ? delta[0] : [])),
  ];
  const known = (to) => values.slice(0, to + 1);
  const name = (layer) => (layer === last ? "the output" : `layer ${layer}`);
  const features = names.features
    .map((label, unit) => `${label} = ${fixed(values[0][unit], 2)}`)
    .join(", ");
  const moments = [
    {
      title: "The point",
      text: `${point.label ? "Orange, y = 1" : "Blue, y = 0"}. The features are ${features}.`,
      equations: [],
      lines: [],
      stage: { values: known(0), deltas: [], lit: null },
    },
  ];
  for (let layer = 1; layer <= last; layer += 1) {
    const { equations, parameters } = layers[layer - 1];
    moments.push({
      title: `Forward, ${name(layer)}`,
      text: "Each neuron adds up what comes in, times its weights, and applies the activation φ.",
      equations: [equations.z, equations.output],
      lines: [
        sumLine(step, layer, unitOf(layer), names),
        outputLine(step, layer, unitOf(layer), names),
      ],
      stage: {
        values: known(layer),
        deltas: [],
        lit: { layer, way: "forward", numbers: parameters.weight },
        about: { layer, unit: unitOf(layer) },
      },
    });
  }
  moments.push({
    title: "The loss",
    text: `How wrong is the output? The class is y = ${point.label}.`,
    equations: [step.loss_equation],
    lines: [lossLine(step, setup.loss === "squared_error")],
    stage: { values, deltas: [], lit: null },
  });
  for (let layer = last; layer >= 1; layer -= 1) {
    const { equations, gradients } = layers[layer - 1];
    const [unit, input] = [unitOf(layer), inputOf(layer)];
    moments.push({
      title: `Backward, ${name(layer)}`,
      text: "The gradient flowing in, times the slope of the activation, is δ = ∂E/∂z; times what came in, it is the gradient of the weight.",
      equations: [equations.flowing, equations.derivative, equations.weight].filter(Boolean),
      lines: [deltaLine(step, layer, unit), gradientLine(step, layer, unit, input, names)],
      stage: {
        values,
        deltas: deltas(layer),
        lit: { layer, way: "backward", numbers: gradients.weight },
        about: { layer, unit, input },
      },
    });
  }
  const at = subject?.layer > 0 ? subject.layer : 1;
  moments.push({
    title: "The update",
    text: `Every weight moves against its gradient${count > 1 ? `, averaged over ${count} points` : ""}; η = ${setup.lr} is the learning rate.`,
    equations: [step.update],
    lines: [updateLine(step, at, unitOf(at), inputOf(at), setup.lr)],
    stage: { values, deltas: deltas(1), lit: null },
  });
  return moments;
}

/** The panel that walks through a step. */
export class Walk {
  /**
   * @param {object} handlers
   * @param {(stage: import("./diagram.js").Stage | null) => void} handlers.moved
   * @param {() => void} handlers.apply
   * @param {() => void} handlers.left
   * @param {(batch: boolean) => void} handlers.batch
   */
  constructor(handlers) {
    Object.assign(this, { handlers, moments: [], at: 0, timer: null });
    this.heading = element("h2", { tabindex: "-1" });
    this.body = element("div", { class: "moment", role: "status" });
    this.back = button("Back", () => this.go(this.at - 1), { symbol: "back" });
    this.next = button("Next", () => this.go(this.at + 1), { symbol: "forward", kind: "primary" });
    this.apply = button("Apply the update", handlers.apply, { kind: "primary", hidden: true });
    this.slowly = button("Play slowly", () => this.#toggle(), {
      symbol: "play",
      "aria-pressed": "false",
    });
    this.track = element("input", {
      type: "range",
      min: 0,
      "aria-label": "Moment of the step",
      oninput: () => this.go(Number(this.track.value)),
    });
    this.batch = element("input", {
      type: "checkbox",
      onchange: () => handlers.batch(this.batch.checked),
    });
    this.element = element(
      "section",
      { class: "walk", "aria-label": "One step", hidden: true },
      element(
        "header",
        {},
        this.heading,
        element("label", { class: "small" }, this.batch, " with the gradient of a whole batch"),
        button("Close", () => this.close(), { symbol: "close", only: true, kind: "quiet" }),
      ),
      this.body,
      element("div", { class: "steer" }, this.back, this.next, this.apply, this.slowly, this.track),
    );
  }

  /** Whether the walk is shown. */
  get open() {
    return !this.element.hidden;
  }

  /**
   * Show moments, from the first one, or from the same one if already open.
   *
   * @param {ReturnType<typeof momentsOf>} moments
   */
  show(moments) {
    const opened = !this.open;
    const begin = opened || moments.length !== this.moments.length;
    this.moments = moments;
    this.element.hidden = false;
    this.track.max = moments.length - 1;
    this.go(begin ? 0 : this.at);
    if (opened) this.heading.focus();
  }

  /** Hide the panel. */
  close() {
    if (!this.open) return;
    this.#halt();
    const focused = this.element.contains(document.activeElement);
    this.element.hidden = true;
    if (this.batch.checked) {
      this.batch.checked = false;
      this.handlers.batch(false);
    }
    this.handlers.moved(null);
    if (focused) this.handlers.left();
  }

  /**
   * Show a moment.
   *
   * @param {number} at
   */
  go(at) {
    this.at = Math.max(0, Math.min(this.moments.length - 1, at));
    const { title, text, equations, lines, stage } = this.moments[this.at];
    const end = this.at === this.moments.length - 1;
    this.heading.textContent = `${this.at + 1} of ${this.moments.length}: ${title}`;
    fill(
      this.body,
      element("p", {}, text),
      element(
        "div",
        { class: "equations scroll", tabindex: "0", role: "group", "aria-label": "Equations" },
        equations.map((each) =>
          formula(each.mathml, each.text, { reference: each.reference, inline: true }),
        ),
      ),
      element(
        "ol",
        { class: "lines" },
        lines.filter(Boolean).map((line) => element("li", {}, line)),
      ),
    );
    this.back.disabled = this.at === 0;
    this.next.hidden = end;
    this.apply.hidden = !end;
    this.track.value = this.at;
    this.track.setAttribute("aria-valuetext", title);
    if (end) this.#halt();
    this.handlers.moved(stage);
  }

  #toggle() {
    if (this.timer !== null) return this.#halt();
    this.slowly.setAttribute("aria-pressed", "true");
    if (this.at === this.moments.length - 1) this.go(0);
    this.timer = setInterval(() => this.go(this.at + 1), SLOW);
  }

  #halt() {
    clearInterval(this.timer);
    this.timer = null;
    this.slowly.setAttribute("aria-pressed", "false");
  }
}

/**
 * Return the names of the diagram's values.
 *
 * @param {import("./setup.js").Setup} setup
 * @param {any} choices
 * @returns {{layers: number, features: string[]}}
 */
export function namesOf({ features, hidden }, choices) {
  return { layers: hidden.length + 1, features: features.map((name) => choices.features[name]) };
}
