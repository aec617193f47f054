/* Inspector: the weights of a neuron with their gradients, and the chain rule of one of them. */

import { button, element, fill } from "../dom.js";
import { formula } from "../mathematics.js";
import { number } from "../numbers.js";
import {
  deltaLine,
  gradientLine,
  outputLine,
  outputName,
  sumLine,
  symbol,
  updateLine,
} from "./written.js";

/** The panel below the diagram. */
export class Inspector {
  /**
   * @param {(subject: import("./diagram.js").Subject) => void} choose
   */
  constructor(choose) {
    this.choose = choose;
    this.element = element("section", { class: "inspector", "aria-label": "The chosen neuron" });
    this.key = "";
  }

  /**
   * Show a neuron or one of its weights.
   *
   * @param {import("./diagram.js").Subject} subject not a feature
   * @param {object} about
   * @param {import("./session.js").Update} about.update
   * @param {any} about.step the last step of the server for the marked point; may be `null`
   * @param {{layers: number, features: string[]}} about.names
   * @param {number} about.lr
   */
  show(subject, about) {
    const { layer, unit } = subject;
    const { names, update } = about;
    const key = JSON.stringify([layer, unit, update.parameters[layer - 1].weight[unit].length]);
    if (key !== this.key) this.#layOut(layer, unit, about);
    this.key = key;
    const { weight, bias } = update.parameters[layer - 1];
    const gradients = update.gradients?.[layer - 1];
    const input = subject.input ?? 0;
    this.rows.forEach(({ row, value, gradient, at }) => {
      const of = (part) => (at < 0 ? part.bias[unit] : part.weight[unit][at]);
      value.textContent = number(at < 0 ? bias[unit] : weight[unit][at], 3);
      gradient.textContent = gradients ? number(of(gradients), 3) : "–";
      row.classList.toggle("chosen", at === input);
      row.querySelector("button").setAttribute("aria-pressed", String(at === input));
    });
    const { step } = about;
    const fits = step?.layers.length === names.layers && step.layers[layer - 1];
    if (!fits || fits.parameters.weight[unit]?.[Math.max(input, 0)] === undefined) return;
    const above = [];
    for (let over = layer + 1; over <= names.layers; over += 1)
      for (let at = 0; at < step.layers[over - 1].delta[0].length; at += 1)
        above.push(deltaLine(step, over, at));
    this.#write(fits.equations.chain, [
      sumLine(step, layer, unit, names),
      outputLine(step, layer, unit, names),
      gradientLine(step, layer, unit, input, names),
      deltaLine(step, layer, unit),
      ...above,
      updateLine(step, layer, unit, input, about.lr),
    ]);
  }

  #layOut(layer, unit, { names, update }) {
    const inputs = update.parameters[layer - 1].weight[unit].length;
    this.rows = [...Array.from({ length: inputs }, (_, at) => at), -1].map((at) => {
      const value = element("td", { class: "number" });
      const gradient = element("td", { class: "number back" });
      const name = at < 0 ? "bias" : outputName(layer - 1, at, names);
      const letter = at < 0 ? symbol("b", layer, unit) : symbol("w", layer, unit, at);
      const choose = () => this.choose({ layer, unit, input: at });
      const row = element(
        "tr",
        {},
        element(
          "th",
          { scope: "row" },
          button(letter, choose, {
            kind: "quiet",
            "aria-label": `${letter}, ${at < 0 ? name : `from ${name}`}`,
          }),
        ),
        element("td", { class: "faint" }, at < 0 ? "" : `from ${name}`),
        value,
        gradient,
      );
      return { row, value, gradient, at };
    });
    const column = (text, kind = null) => element("th", { scope: "col", class: kind }, text);
    const title = layer === names.layers ? "Output" : `Layer ${layer}, neuron ${unit + 1}`;
    this.chain = element("div", {
      class: "scroll",
      tabindex: "0",
      role: "group",
      "aria-label": "The chain rule",
    });
    this.lines = element("ol", { class: "lines" });
    this.latex = null;
    fill(
      this.element,
      element("h2", {}, title),
      element(
        "div",
        { class: "halves" },
        element(
          "table",
          {},
          element("caption", { class: "unseen" }, `Weights of ${title}`),
          element(
            "thead",
            {},
            element(
              "tr",
              {},
              column("weight"),
              element("td"),
              column("value", "number"),
              column("∂E/∂w, all points", "number"),
            ),
          ),
          element(
            "tbody",
            {},
            this.rows.map(({ row }) => row),
          ),
        ),
        element(
          "div",
          { class: "one" },
          element("h3", {}, "The chain rule, for the marked point"),
          this.chain,
          this.lines,
        ),
      ),
    );
  }

  #write(chain, lines) {
    if (this.latex !== chain.text) fill(this.chain, formula(chain.mathml, chain.text));
    this.latex = chain.text;
    const items = [...this.lines.children];
    if (items.length !== lines.length)
      fill(
        this.lines,
        lines.map((text) => element("li", {}, text)),
      );
    else items.forEach((item, place) => (item.textContent = lines[place]));
  }
}
