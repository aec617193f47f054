/* Form for new runs: choices and defaults. */

import { button, element, field, select } from "../dom.js";
import { failed, say } from "../message.js";
import { create, write } from "../requests.js";
import { Entries, numberField, numeric, textInput } from "./fields.js";
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
const OPTION = /^(optimizer|schedule)\.(\w+)=(\S+)$/;

/**
 * Return the form; its fields keep their positions for every choice.
 * @param {import("../server.js").ServerState} state
 * @param {(runs: any[]) => void} onstart  called with the runs started
 * @returns {HTMLElement}
 */
export function runForm({ data, choices }, onstart) {
  const { models, activations, optimizers, schedules, augmentations, poolings, numbers } = choices;
  const control = (name, values) =>
    select(
      values.map((value) => ({ value, label: named(value) })),
      null,
      update,
      { name },
    );
  const number = (name) => numberField(name, numbers);
  const options = textInput("options", { maxlength: 500 });
  const parts = {
    activation: field("Activation", control("activation", Object.keys(activations))),
    pooling: field("Pooling", control("pooling", poolings)),
    hidden: field(numbers.hidden.label, textInput("hidden", { title: "Neurons in each: 64, 64" })),
    batch_norm: field("Batch norm", select(yesOrNo, null, () => {}, { name: "batch_norm" })),
    dropout: number("dropout"),
  }; // options of models: each model has two of them, so the form keeps its height

  const form = element(
    "form",
    {
      class: "run-form",
      "aria-label": "New run",
      onsubmit: (event) => (event.preventDefault(), submit()),
    },
    field("Model", control("model", Object.keys(models))),
    field("Data", control("data", data)),
    Object.values(parts),
    field("Optimizer", control("optimizer", Object.keys(optimizers))),
    number("lr"),
    field("Schedule", control("schedule", Object.keys(schedules))),
    number("weight_decay"),
    field("Augmentation", control("augment", Object.keys(augmentations))),
    number("batch_size"),
    number("epochs"),
    number("seed"),
    element(
      "div",
      { class: "wide" },
      field("Options", options),
      field("Name", textInput("name", { maxlength: 120, placeholder: "automatic" })),
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
  const entries = new Entries(form, "a new run");
  const chosen = (name) => form.elements.namedItem(name).value;
  update();

  /** Show the fields of the chosen model, and the defaults of the chosen data and optimizer. */
  function update() {
    entries.follow(choices.first);
    const usual = choices.defaults[chosen("data")];
    entries.follow({ optimizer: Object.keys(usual)[0] });
    entries.follow(usual[chosen("optimizer")]);
    const has = models[chosen("model")].options;
    for (const [name, part] of Object.entries(parts)) {
      part.hidden = !(name in has);
      form.elements.namedItem(name).disabled = part.hidden;
    }
    entries.follow(has);
    const known = [
      ...written("optimizer", optimizers[chosen("optimizer")].options),
      ...written("schedule", schedules[chosen("schedule")].options),
    ];
    options.placeholder = known.slice(0, 2).join(" ");
    options.title = `such as ${known.join(" ")}`;
  }

  function submit() {
    entries.accept();
    const words = entries.values.options.split(/\s+/).filter(Boolean);
    const wrong = words.find((word) => !OPTION.test(word));
    const refused = (error) => entries.refuse(error);
    if (wrong === undefined) return start([asked(entries.values)], refused);
    const reason = `got ${wrong}, expected an option such as ${options.placeholder.split(" ")[0]}`;
    refused({ fields: { errors: [{ where: "body.options", reason }] } });
  }

  function compare() {
    start(
      COMPARED.map((name) => ({
        ...COMPARISON,
        data: chosen("data"),
        activation: name,
        name: `${named(name)}, four layers`,
      })),
      failed,
    );
  }

  async function start(requests, refused) {
    const buttons = form.querySelectorAll("button");
    buttons.forEach((each) => (each.disabled = true));
    const runs = [];
    const send = async () => {
      for (const request of requests) runs.push(await create("runs", request)); // in this order
    };
    await write("the queue", send, { refused });
    buttons.forEach((each) => (each.disabled = false));
    if (!runs.length) return;
    say(`${runs.map(({ name }) => name).join(" and ")} started`);
    onstart(runs);
  }

  return form;
}

const yesOrNo = [
  { value: "false", label: "No" },
  { value: "true", label: "Yes" },
];

/** Format the options of a choice as in the form, such as "optimizer.momentum=0.9". */
function written(part, options) {
  return Object.entries(options).map(([name, value]) => `${part}.${name}=${value ?? "…"}`);
}

/** Parse the options of one part from text in this format. */
function optionsOf(part, text) {
  const found = text.split(/\s+/).map((word) => word.match(OPTION));
  return Object.fromEntries(
    found
      .filter((match) => match?.[1] === part)
      .map(([, , name, value]) => [
        name,
        value.includes(",") ? value.split(",").map(numeric) : plain(value),
      ]),
  );
}

function plain(text) {
  return text === "true" || text === "false" ? text === "true" : numeric(text);
}

/** Return the values of the form as a request body; what is not a number is for the server. */
function asked({ options, hidden, batch_norm: batchNorm, name, ...said }) {
  const { model, activation } = said;
  const numbers = ["lr", "weight_decay", "batch_size", "epochs", "seed", "dropout"];
  const given = numbers.filter((each) => each in said).map((each) => [each, numeric(said[each])]);
  return {
    ...said,
    ...Object.fromEntries(given),
    optimizer_options: optionsOf("optimizer", options),
    schedule_options: optionsOf("schedule", options),
    hidden: hidden?.split(/[\s,]+/).filter(Boolean).map(numeric),
    batch_norm: batchNorm && plain(batchNorm),
    name: name || [model, activation].filter(Boolean).map(named).join(", "),
  };
}
