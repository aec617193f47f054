/* The form that starts a run: what can be chosen, and what is chosen first. */

import { post } from "../api.js";
import { button, element, field, fill, select } from "../dom.js";
import { failed, say } from "../message.js";
import { named } from "./words.js";

/* One of the text's experiments: what is left of the gradient in the first of many layers. */
const COMPARISON = {
  model: "mlp",
  hidden: [64, 64, 64, 64],
  optimizer: "sgd",
  lr: 0.1,
  batch_size: 32,
  schedule: "constant",
  epochs: 8,
  seed: 0,
};
const COMPARED = ["sigmoid", "relu"];

const FIRST = { model: "lenet5", optimizer: "adamw", schedule: "constant" };
const ACTIVATIONS = ["relu", "sigmoid", "tanh"];
const HIDDEN = "\\s*\\d+(\\s*[, ]\\s*\\d+)*\\s*";
const POOLINGS = ["max", "average"];

/**
 * The form; its fields keep their places whatever is chosen.
 * @param {import("../server.js").ServerState} state
 * @param {(runs: any[]) => void} onstart  is told of the runs that were started
 * @returns {HTMLElement}
 */
export function runForm({ data, models }, onstart) {
  const { options, learning_rates: rates, schedules } = models;
  const control = (name, values, onchange = () => {}) =>
    select(
      values.map((value) => ({ value, label: named(value) })),
      FIRST[name],
      onchange,
      { name },
    );

  const model = control("model", Object.keys(options), showParts);
  const rate = input("lr", {
    type: "number",
    inputmode: "decimal",
    value: rates[FIRST.optimizer],
    min: 0,
    max: 100,
    step: "any",
    required: true,
  });
  const optimizer = control("optimizer", Object.keys(rates), (name) => (rate.value = rates[name]));
  const activation = control("activation", ACTIVATIONS);
  const pooling = field("Pooling", control("pooling", POOLINGS));
  const hidden = field(
    "Hidden layers",
    input("hidden", {
      type: "text",
      value: "64, 64",
      required: true,
      pattern: HIDDEN,
      title: "how many neurons each has, such as 64, 64",
    }),
  );
  const part = element("div", { class: "part" }); // a place that no model leaves out

  function showParts() {
    const has = options[model.value];
    fill(part, "hidden" in has ? hidden : pooling);
    pooling.querySelector("select").disabled = !("pooling" in has);
    activation.disabled = !("activation" in has);
  }

  const form = element(
    "form",
    {
      class: "run-form",
      "aria-label": "New run",
      onsubmit: (event) => (event.preventDefault(), start([asked(form)])),
    },
    field("Model", model),
    field("Data", control("data", data)),
    field("Activation", activation),
    part,
    field("Optimizer", optimizer),
    field("Learning rate", rate),
    field("Batch size", whole("batch_size", 64, 1, 10_000)),
    field("Schedule", control("schedule", schedules)),
    field("Epochs", whole("epochs", 8, 1, 200)),
    field("Seed", whole("seed", 0, 0, 2 ** 31 - 1)),
    element(
      "div",
      { class: "wide" },
      field("Name", input("name", { type: "text", maxlength: 120, placeholder: "chosen for you" })),
    ),
    element(
      "div",
      { class: "wide start" },
      element("button", { type: "submit", class: "button primary" }, "Start training"),
    ),
    element(
      "div",
      { class: "wide comparison" },
      button("Sigmoid against ReLU", compare),
      element(
        "p",
        { class: "hint" },
        "Two perceptrons of four hidden layers, alike but for the activation: watch the gradient of the first layer.",
      ),
    ),
  );
  showParts();

  function compare() {
    const source = form.elements.namedItem("data").value;
    start(
      COMPARED.map((name) => ({
        ...COMPARISON,
        data: source,
        activation: name,
        name: `${named(name)}, four layers`,
      })),
    );
  }

  async function start(requests) {
    const buttons = form.querySelectorAll("button");
    buttons.forEach((each) => (each.disabled = true));
    try {
      const runs = [];
      for (const request of requests) runs.push(await post("runs", request)); // in this order in the queue
      say(`${runs.map(({ name }) => name).join(" and ")} started`);
      onstart(runs);
    } catch (error) {
      failed(error);
    } finally {
      buttons.forEach((each) => (each.disabled = false));
    }
  }

  return form;
}

function input(name, attributes) {
  return element("input", { name, autocomplete: "off", ...attributes });
}

/**
 * Return a field for a whole number.
 *
 * @param {string} name
 * @param {number} value
 * @param {number} min
 * @param {number} max
 * @returns {HTMLInputElement}
 */
export function whole(name, value, min, max) {
  return input(name, {
    type: "number",
    inputmode: "numeric",
    value,
    min,
    max,
    step: 1,
    required: true,
  });
}

/** What the form asks for, as the server takes it. */
function asked(form) {
  const said = Object.fromEntries(
    [...new FormData(form)].map(([name, text]) => [name, String(text).trim()]),
  );
  const { model, data, optimizer, schedule } = said;
  return {
    model,
    data,
    optimizer,
    schedule,
    activation: said.activation ?? null,
    pooling: said.pooling ?? null,
    hidden: said.hidden
      ? said.hidden
          .split(/[\s,]+/)
          .filter(Boolean)
          .map(Number)
      : null,
    lr: Number(said.lr),
    batch_size: Number(said.batch_size),
    epochs: Number(said.epochs),
    seed: Number(said.seed),
    name:
      said.name ||
      [named(model), said.activation && named(said.activation)].filter(Boolean).join(", "),
  };
}
