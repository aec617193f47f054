/* Backward half: gradients of the loss, for every layer, weight and pixel. */

import { post } from "../api.js";
import { labelChoice } from "../draw/picker.js";
import { element, fill } from "../dom.js";
import { number } from "../numbers.js";
import { load } from "../requests.js";
import { film } from "./film.js";
import { graphPage } from "./graph.js";
import { shown } from "./layers.js";
import { valuesPicture } from "./numbers.js";
import { weightPanel } from "./weight.js";

/**
 * Show the backward half for an input.
 *
 * @param {HTMLElement} root
 * @param {{input: string, model: number | null, label: number | null, parameter: string | null,
 *   index: number[] | null, stage: {mark: (rectangle: object | null) => void,
 *   verdict: (text: string) => void}, remember: (changes: Record<string, unknown>) => void}} options
 * @returns {() => void} unmounts it
 */
export function backward(root, { input, model, label, parameter, index, stage, remember }) {
  const flow = element("div", { class: "flow waiting" });
  let stop = () => {};
  let asked = { parameter, index };

  const loading = load(
    (mine, signal) => post("explain/backward", mine, { signal }),
    (answer, mine) => {
      stop();
      stop = show(answer, mine);
    },
  );

  function ask(digit) {
    remember({ label: digit });
    loading.want({ input, model, label: digit });
  }

  function show(answer, mine) {
    stage.mark(null);
    stage.verdict(`E = ${number(answer.loss)}`);
    const layers = answer.layers.map((layer) => ({ ...shown(layer), norm: layer.gradient_norm }));
    const most = Math.max(...layers.map(({ norm }) => norm));
    const strip = film(layers, {
      ink: "back",
      label: "Gradients, from the first layer to the last",
      what: "derivative of the loss",
      below: ({ norm }) => normOf(norm, most),
    });
    const weight = weightPanel(mine, answer.parameters, asked, (chosen) => {
      asked = chosen;
      remember({ parameter: chosen.parameter, index: chosen.index.join(",") });
    });
    const graph = graphPage(mine);
    fill(
      flow,
      element(
        "div",
        { class: "loss" },
        valuesPicture(answer.saliency, "saliency: how much each pixel matters to the loss", {
          ink: "back",
          width: 168,
        }),
        element(
          "div",
          {},
          element("p", { class: "value" }, `E = ${number(answer.loss)}`),
          element(
            "p",
            { class: "faint" },
            `The loss for the true digit ${mine.label} is E = −ln p, with p = ${chance(answer.probabilities[mine.label], answer.loss)} the predicted probability of ${mine.label}. Each gradient below says how E changes with the numbers of that layer.`,
          ),
        ),
      ),
      element("h2", {}, "The gradient, layer by layer"),
      strip.root,
      weight.root,
      graph.root,
    );
    flow.classList.remove("waiting");
    return () => {
      weight.stop();
      graph.stop();
    };
  }

  fill(
    root,
    element(
      "div",
      { class: "truth" },
      element("p", { class: "label", "aria-hidden": "true" }, "True digit:"),
      labelChoice("The true digit", null, label ?? "", (value) => ask(Number(value))),
    ),
    flow,
  );
  if (label !== null) ask(label);
  else
    fill(
      flow,
      element(
        "p",
        { class: "lead" },
        "Choose the true digit, to compute the loss and its gradients.",
      ),
    );

  return () => {
    loading.stop();
    stop();
  };
}

function normOf(norm, most) {
  const share = most ? norm / most : 0;
  return element(
    "p",
    { class: "norm", title: "The norm of the gradient" },
    element("span", { class: "unseen" }, "norm of the gradient "),
    element("span", {}, number(norm, 3)),
    element("i", { "aria-hidden": "true", style: { "--share": share.toFixed(4) } }),
  );
}

/** Return a probability with the digits that its loss requires; values below 1 never print as 1. */
function chance(probability, loss) {
  for (let digits = 4; digits <= 15; digits += 1) {
    const shown = Number(probability.toPrecision(digits));
    if (shown < 1 && number(-Math.log(shown)) === number(loss)) return number(shown, digits);
  }
  return probability > 0.9995 ? "more than 0.999" : number(probability);
}
