/* Backward half: gradients of the loss, for every layer, weight and pixel. */

import { post } from "../api.js";
import { labelChoice } from "../draw/picker.js";
import { element, fill } from "../dom.js";
import { number } from "../numbers.js";
import { load } from "../requests.js";
import { folds } from "./folds.js";
import { graphPage } from "./graph.js";
import { placeOf } from "./layers.js";
import { edgesInto, network } from "./network.js";
import { typeset, valueOf, valuesPicture } from "./numbers.js";
import { weightPanel } from "./weight.js";

/**
 * Show the backward half for an input.
 *
 * @param {HTMLElement} root
 * @param {{input: string, model: number | null, label: number | null, parameter: string | null,
 *   index: number[] | null, open: string | null, classes: string[], verdict: (text: string) => void,
 *   remember: (changes: Record<string, unknown>) => void}} options `label`: the true class; `null`
 *   for the predicted one
 * @returns {{take: (input: string) => void, stop: () => void}} `take` shows another input
 */
export function backward(root, options) {
  const { model, classes, verdict, remember } = options;
  const flow = element("div", { class: "flow waiting" });
  const choice = labelChoice(
    "The true class",
    null,
    "",
    (value) => {
      remember({ label: value });
      ask(input, Number(value));
    },
    classes,
  );
  const hint = element("p", { class: "hint" }, "\u00a0");
  const reading = element("p", { class: "reading", "aria-hidden": "true" }, "\u00a0");
  const sections = folds(options.open, ["weight"], remember);
  let { input } = options;
  let asked = { parameter: options.parameter, index: options.index };
  let stop = () => {};

  const loading = load(
    (wish, signal) => post("explain/backward", wish, { signal }),
    (answer) => {
      stop();
      stop = show(answer, { input, model, label: answer.label });
    },
  );

  function ask(given, label) {
    input = given;
    loading.want({ input, model, label });
  }

  function show(answer, about) {
    verdict(`E = ${valueOf(answer)}`);
    for (const radio of choice.querySelectorAll("input"))
      radio.checked = Number(radio.value) === answer.label;
    const predicted = answer.probabilities.indexOf(Math.max(...answer.probabilities));
    hint.textContent =
      predicted === answer.label
        ? `${classes[predicted]} is the prediction. Choose another if it is wrong.`
        : `The prediction is ${classes[predicted]}.`;
    const net = networkOf(answer);
    const weight = weightPanel(about, answer.parameters, asked, (chosen) => {
      asked = chosen;
      remember({ parameter: chosen.parameter, index: chosen.index.join(",") });
    });
    const graph = graphPage(about);
    const { fold } = sections;
    fill(
      flow,
      element("h2", { class: "unseen" }, "The gradient, layer by layer"),
      net.root,
      reading,
      lossOf(answer, classes[answer.label]),
      fold("parameters", "Gradients of the parameters", weight.table),
      fold("weight", "One weight, by the chain rule", weight.root),
      fold("graph", "The whole computation as a graph", graph.root),
    );
    flow.classList.remove("waiting");
    net.arrange();
    return () => {
      net.stop();
      weight.stop();
      graph.stop();
    };
  }

  /** Return the network with the gradient of every layer, and of the picture. */
  function networkOf({ layers, saliency }) {
    const first = { name: "input", kind: "input", shape: saliency.shape, maps: saliency };
    const most = Math.max(...layers.map(({ gradient_norm: norm }) => norm));
    const net = network([{ ...first, sources: [], groups: 1 }, ...layers], {
      ink: "back",
      classes,
      label: "Gradients, from the picture to the logits",
      what: "derivative of the loss",
      unfolded: sections.isOpen("stages"),
      unfold() {
        sections.set("stages", true);
        loading.want({ input, model, label: labelOf(choice) });
      },
      below: ({ gradient_norm: norm }) => (norm === undefined ? null : normOf(norm, most)),
      read: (text) => (reading.textContent = text || "\u00a0"),
      pointed: point,
      chosen: point,
    });
    function point(layer, index) {
      if (index === null) return net.show(null);
      const cell = placeOf(layer, index);
      const source = net.layers.find(({ name }) => name === layer.sources[0]);
      net.show({
        layer: layer.name,
        cell,
        sources: new Map(),
        edges: edgesInto(layer, source, cell[0]),
      });
    }
    return net;
  }

  fill(
    root,
    element(
      "div",
      { class: "truth" },
      element("p", { class: "label", "aria-hidden": "true" }, "True class:"),
      choice,
      hint,
    ),
    flow,
  );
  ask(input, options.label);

  return {
    take: (given) => ask(given, null),
    stop() {
      loading.stop();
      stop();
    },
  };
}

function labelOf(choice) {
  return Number(choice.querySelector(":checked").value);
}

/** Return the loss in numbers, and the saliency. */
function lossOf({ saliency, written }, name) {
  return element(
    "div",
    { class: "loss" },
    valuesPicture(saliency, "saliency: how much each pixel matters to the loss", {
      ink: "back",
      width: 168,
    }),
    element(
      "div",
      {},
      element("p", { class: "value" }, `E = ${typeset(written)}`),
      element(
        "p",
        { class: "faint" },
        `The loss for the true class ${name} is E = −ln p, with the predicted probability p of ${name}. Each gradient says how E changes with the numbers of that layer.`,
      ),
    ),
  );
}

function normOf(norm, most) {
  const share = most ? norm / most : 0;
  return element(
    "p",
    { class: "norm", title: `The norm of the gradient: ${number(norm)}` },
    element("span", { class: "unseen" }, "norm of the gradient "),
    element("span", {}, number(norm, 2)),
    element("i", { "aria-hidden": "true", style: { "--share": share.toFixed(4) } }),
  );
}
