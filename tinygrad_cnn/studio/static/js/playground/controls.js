/* Controls: the fields of the playground. */

import { get } from "../api.js";
import { button, choicesOf, element, field, select } from "../dom.js";
import { load } from "../requests.js";
import { LARGEST_BATCH, PACES, RATES } from "./setup.js";

const SAMPLE = { count: 120, noise: 0.1, seed: 4 }; // of the little pictures of the data sets
const MOST_SEED = 9999;
const TOOLS = { mark: "Mark a point", zero: "Add blue", one: "Add orange" };

/**
 * Return the fields of training, in a row.
 *
 * @param {import("./setup.js").Setup} setup
 * @param {any} choices
 * @param {(changes: Partial<import("./setup.js").Setup>) => void} changed
 * @returns {HTMLElement}
 */
export function trainingFields(setup, choices, changed) {
  const chosen = (label, name, options) =>
    field(
      label,
      select(
        Object.entries(options).map(([value, text]) => ({ value, label: text })),
        setup[name],
        (value) => changed({ [name]: value }),
        { name },
      ),
    );
  const rateOf = (name) =>
    select(
      [...new Set([...RATES, setup[name]])]
        .sort((one, other) => one - other)
        .map((value) => ({ value, label: String(value) })),
      setup[name],
      (value) => changed({ [name]: Number(value) }),
      { name },
    );
  const rate = rateOf("rate");
  const penalty = select(
    [{ value: "", label: "None" }].concat(
      Object.entries(choices.penalties).map(([value, label]) => ({ value, label })),
    ),
    setup.penalty,
    (value) => {
      changed({ penalty: value });
      rate.disabled = value === "";
    },
    { name: "penalty" },
  );
  rate.disabled = setup.penalty === "";
  const batch = element("input", {
    type: "number",
    name: "batch",
    min: 1,
    max: LARGEST_BATCH,
    step: 1,
    required: true,
    value: setup.batch,
    onchange: () => batch.checkValidity() && changed({ batch: Number(batch.value) }),
  });
  return element(
    "div",
    { class: "fields", role: "group", "aria-label": "Training" },
    field("Learning rate η", rateOf("lr")),
    chosen("Activation φ", "activation", choices.activations),
    chosen("Loss E", "loss", choices.losses),
    field("Regularization", penalty),
    field("Its rate λ", rate),
    field("Batch size", batch),
    chosen("One update is", "pace", PACES),
  );
}

/**
 * Return the fields of the data: data sets with little pictures, noise, and what a click does.
 *
 * @param {import("./setup.js").Setup} setup
 * @param {any} choices
 * @param {object} handlers
 * @param {(changes: Partial<import("./setup.js").Setup>) => void} handlers.changed
 * @param {(tool: string) => void} handlers.tool
 * @param {(shown: boolean) => void} handlers.test
 * @returns {{data: HTMLElement, tools: HTMLElement, close: () => void}}
 */
export function dataFields(setup, choices, { changed, tool, test }) {
  const pictures = Object.fromEntries(
    [...Object.keys(choices.data_sets), "own"].map((name) => [
      name,
      element("canvas", { class: "sample", width: 96, height: 96, "aria-hidden": "true" }),
    ]),
  );
  const labels = { ...choices.data_sets, own: "Own points" };
  const tools = choicesOf("A click in the plane", TOOLS, "mark", tool);
  const sets = choicesOf(
    "Data set",
    Object.fromEntries(
      Object.entries(labels).map(([name, label]) => [
        name,
        [pictures[name], element("span", {}, label)],
      ]),
    ),
    setup.data,
    (data) => {
      if (data === "own" && tools.querySelector(":checked").value === "mark")
        tools.querySelector("[value=zero]").click();
      drawn(data !== "own");
      changed({ data });
    },
  );
  sets.classList.add("sets");
  const noise = element("input", {
    type: "range",
    min: 0,
    max: 0.5,
    step: 0.05,
    value: setup.noise,
    onchange: () => changed({ noise: Number(noise.value) }),
  });
  const another = button("New points", () =>
    changed({ seed: 1 + Math.floor(Math.random() * MOST_SEED) }),
  );
  const drawn = (yes) => {
    noise.disabled = another.disabled = !yes;
  };
  drawn(setup.data !== "own");
  const names = Object.keys(choices.data_sets);
  const samples = {};
  const scheme = matchMedia("(prefers-color-scheme: dark)");
  const paint = () =>
    Object.entries(samples).forEach(([name, points]) =>
      paintSample(pictures[name], points, choices.reach),
    );
  scheme.addEventListener("change", paint);
  const loading = load(
    (_, signal) =>
      Promise.all(names.map((data) => get("playground/points", { data, ...SAMPLE }, { signal }))),
    (answers) => {
      answers.forEach(({ points }, place) => (samples[names[place]] = points));
      paint();
    },
  );
  loading.want();
  const box = element("input", { type: "checkbox", onchange: () => test(box.checked) });
  return {
    data: element(
      "div",
      { class: "data" },
      element("h2", {}, "Data"),
      sets,
      field("Noise", noise),
      another,
    ),
    tools: element(
      "div",
      { class: "tools" },
      tools,
      element("label", { class: "small" }, box, " Show test points"),
    ),
    close() {
      loading.stop();
      scheme.removeEventListener("change", paint);
    },
  };
}

function paintSample(canvas, points, reach) {
  const context = canvas.getContext("2d");
  const style = getComputedStyle(canvas);
  const place = (x) => ((x / reach + 1) / 2) * canvas.width;
  context.clearRect(0, 0, canvas.width, canvas.height);
  for (const { x1, x2, label } of points) {
    context.fillStyle = style.getPropertyValue(label ? "--positive" : "--negative");
    context.beginPath();
    context.arc(place(x1), place(-x2), 3, 0, 2 * Math.PI);
    context.fill();
  }
}

/**
 * Return "− 2 +": buttons around a number.
 *
 * @param {string} label what they remove and add
 * @param {{less: () => void, more: () => void}} handlers
 * @returns {{element: HTMLElement, show: (value: number, most: number) => void}}
 */
export function stepper(label, { less, more }) {
  const count = element("b", {});
  const down = button(`Remove ${label}`, less, { symbol: "minus", only: true, kind: "quiet" });
  const up = button(`Add ${label}`, more, { symbol: "plus", only: true, kind: "quiet" });
  return {
    element: element("span", { class: "counter" }, down, count, up),
    show(value, most) {
      count.textContent = value;
      down.disabled = value === 0;
      up.disabled = value >= most;
    },
  };
}
