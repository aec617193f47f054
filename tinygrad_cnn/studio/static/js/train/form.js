/* Form for new runs: choices and defaults. */

import { button, element, field, fill, select } from "../dom.js";
import { say } from "../message.js";
import { create, write } from "../requests.js";
import { named } from "./words.js";

/* An experiment of the text: vanishing gradients in the first of many layers. */
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

const FIRST = { model: "lenet5", activation: "relu", optimizer: "adamw", schedule: "constant" };
const WITH_FIELD = ["activation", "pooling", "hidden"]; // other options of a model are typed
const HIDDEN = "\\s*\\d+(\\s*[, ]\\s*\\d+)*\\s*";
const OPTIONS = "\\s*((model|optimizer|schedule)\\.\\w+=\\S+\\s*)*";

/**
 * Return the form; its fields keep their positions for every choice.
 * @param {import("../server.js").ServerState} state
 * @param {(runs: any[]) => void} onstart  called with the runs started
 * @returns {HTMLElement}
 */
export function runForm({ data, choices }, onstart) {
  const { models, activations, optimizers, schedules, poolings } = choices;
  const control = (name, values, onchange = () => {}) =>
    select(
      values.map((value) => ({ value, label: named(value) })),
      FIRST[name],
      onchange,
      { name },
    );

  const model = control("model", Object.keys(models), showParts);
  const rate = input("lr", {
    type: "number",
    inputmode: "decimal",
    value: optimizers[FIRST.optimizer].lr,
    min: 0,
    max: 100,
    step: "any",
    required: true,
  });
  const optimizer = control("optimizer", Object.keys(optimizers), (name) => {
    rate.value = optimizers[name].lr;
    showOptions();
  });
  const schedule = control("schedule", Object.keys(schedules), showOptions);
  const options = input("options", { type: "text", maxlength: 500, pattern: OPTIONS });
  const activation = control("activation", Object.keys(activations));
  const pooling = field("Pooling", control("pooling", poolings));
  const hidden = field(
    "Hidden layers",
    input("hidden", {
      type: "text",
      value: "64, 64",
      required: true,
      pattern: HIDDEN,
      title: "neurons in each, such as 64, 64",
    }),
  );
  const part = element("div", { class: "part" }); // space reserved for every model

  function showParts() {
    const has = models[model.value].options;
    fill(part, "hidden" in has ? hidden : pooling);
    pooling.querySelector("select").disabled = !("pooling" in has);
    activation.disabled = !("activation" in has);
    showOptions();
  }

  function showOptions() {
    const others = Object.entries(models[model.value].options).filter(
      ([name]) => !WITH_FIELD.includes(name),
    );
    const known = [
      ...written("model", Object.fromEntries(others)),
      ...written("optimizer", optimizers[optimizer.value].options),
      ...written("schedule", schedules[schedule.value].options),
    ];
    options.placeholder = known.slice(0, 2).join(" ");
    options.title = `such as ${known.join(" ")}`;
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
    field("Schedule", schedule),
    field("Epochs", whole("epochs", 8, 1, 200)),
    field("Seed", whole("seed", 0, 0, 2 ** 31 - 1)),
    element(
      "div",
      { class: "wide" },
      field("Options", options),
      field("Name", input("name", { type: "text", maxlength: 120, placeholder: "automatic" })),
      element("button", { type: "submit", class: "button primary" }, "Start training"),
    ),
    element(
      "div",
      { class: "wide comparison" },
      button(COMPARED.map(named).join(" against "), compare),
      element(
        "p",
        { class: "hint" },
        "Two perceptrons with four hidden layers that differ only in the activation: compare the gradient of the first layer.",
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
    const runs = [];
    await write("the queue", async () => {
      for (const request of requests) runs.push(await create("runs", request)); // in this order
    });
    buttons.forEach((each) => (each.disabled = false));
    if (!runs.length) return;
    say(`${runs.map(({ name }) => name).join(" and ")} started`);
    onstart(runs);
  }

  return form;
}

function input(name, attributes) {
  return element("input", { name, autocomplete: "off", ...attributes });
}

/**
 * Return an integer input.
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

/** Format the options of a choice as in the form, such as "optimizer.momentum=0.9". */
function written(part, options) {
  return Object.entries(options).map(([name, value]) => `${part}.${name}=${value ?? "…"}`);
}

/** Parse the options of one part from text in this format. */
function optionsOf(part, text) {
  const given = text.split(/\s+/).filter((each) => each.startsWith(`${part}.`));
  return Object.fromEntries(
    given.map((each) => {
      const [name, value] = each.slice(part.length + 1).split("=");
      return [name, value.includes(",") ? value.split(",").map(Number) : plain(value)];
    }),
  );
}

function plain(text) {
  if (text === "true" || text === "false") return text === "true";
  return Number.isNaN(Number(text)) ? text : Number(text);
}

/** Return the form's values as a request body. */
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
    optimizer_options: optionsOf("optimizer", said.options),
    schedule_options: optionsOf("schedule", said.options),
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
    ...optionsOf("model", said.options),
  };
}
