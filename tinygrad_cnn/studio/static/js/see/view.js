/* See view: one picture through the network, forward and backward. */

import { get } from "../api.js";
import { pickImage } from "../draw/picker.js";
import { button, element, field, fill, isolated, select } from "../dom.js";
import { percent } from "../numbers.js";
import { load } from "../requests.js";
import { backward } from "./backward.js";
import { forward } from "./forward.js";
import { paintDigit } from "../maps.js";
import { pad } from "./pad.js";
import { fromLink, link, read, toLink } from "../state.js";

const SIDES = { forward, backward };

/**
 * Show the view.
 *
 * @param {HTMLElement} root
 * @param {import("../main.js").Context} context
 * @returns {() => void} unmounts the view
 */
export function mount(root, { parameters, remember, server, watch }) {
  let input = fromLink(parameters.get("input"));
  let model = wholeOf(parameters.get("model"));
  const side = parameters.get("side") === "backward" ? "backward" : "forward";
  let half = null;
  let shown = null; // the model

  const drawing = pad((drawn, finished) => {
    input = drawn;
    if (finished) remember({ input: toLink(drawn), label: null });
    if (finished || side === "forward") half?.take(drawn);
    if (finished) carryAll();
  });
  const picture = element("canvas", {
    class: "digit",
    role: "img",
    "aria-label": "The picture",
    hidden: true,
  });
  const pick = () => pickImage((image) => take(image.input, image.label), shown);
  const ways = element(
    "div",
    { class: "ways", hidden: true },
    button("Pick a test image", pick, { symbol: "pictures", kind: "quiet" }),
  );
  const verdict = element("p", { class: "verdict", role: "status" }, "\u00a0");
  const place = element("div", { class: `side ${side}` });
  const models = element("div", { class: "models" });
  const sides = element(
    "nav",
    { class: "sides", "aria-label": "Direction" },
    Object.keys(SIDES).map((name) =>
      element(
        "a",
        { class: name, "aria-current": name === side ? "true" : null },
        name === "forward" ? "Forward" : "Backward",
      ),
    ),
  );
  fill(
    root,
    element(
      "header",
      { class: "head" },
      element("h1", {}, side === "forward" ? "Forward: the network" : "Backward: gradients"),
      sides,
    ),
    element(
      "aside",
      { "aria-label": "The picture" },
      drawing.root,
      picture,
      verdict,
      ways,
      models,
    ),
    place,
  );

  /** Show an input; `label` is its true class, if known. */
  function take(given, label = null) {
    input = given;
    const changes = { input: toLink(given) };
    if (label !== null) changes.label = label;
    remember(changes);
    show();
  }

  function show() {
    half?.stop();
    ways.hidden = false;
    drawing.root.hidden = !shown.drawn;
    picture.hidden = shown.drawn;
    if (shown.drawn) drawing.show(input);
    else paintDigit(picture, input);
    const now = read().parameters;
    carryAll();
    half = SIDES[side](place, {
      input,
      model,
      label: wholeOf(now.get("label")),
      layer: now.get("layer"),
      cell: wholesOf(now.get("cell")),
      parameter: now.get("parameter"),
      index: wholesOf(now.get("index")),
      open: now.get("open"),
      classes: shown.classes,
      verdict: (text) => (verdict.textContent = text),
      remember: (changes) => {
        remember(changes);
        carryAll();
      },
    });
  }

  /** Update the links to both halves with the current selection. */
  function carryAll() {
    const all = Object.fromEntries(read().parameters);
    for (const anchor of sides.children) {
      const other = anchor.classList.contains("backward") ? "backward" : null;
      const open = anchor.classList.contains(side) ? all.open : null;
      anchor.href = link("see", { ...all, side: other, open });
    }
  }

  const first = load(
    (data, signal) => get("images", { data, part: "test", limit: 1 }, { signal }),
    ({ images: [image] }) =>
      take(image.input, wholeOf(read().parameters.get("label")) ?? image.label),
  );
  const choices = load(
    (_, signal) => get("models", {}, { signal }),
    (known) => {
      if (known.models.length > 1) fill(models, modelChoice(known));
      look(known);
    },
  );

  function begin() {
    if (server() !== null && server().promoted === null && model === null)
      return empty("No model is trained yet.", "Watch the first training", link("draw"));
    choices.want();
  }

  /** Show the input in the chosen model, or a test image if the model takes others. */
  function look({ models: all, promoted }) {
    first.stop();
    const before = shown?.data;
    const chosen = model ?? promoted;
    shown = all.find(({ id }) => id === chosen) ?? null;
    if (shown === null)
      return empty("This model does not exist.", "Show the promoted model", link("see"));
    const pixels = shown.input_shape.reduce((size, side) => size * side);
    const fits = input !== null && atob(input).length === pixels;
    if (fits && (before === undefined || before === shown.data || shown.drawn)) return show();
    if (before !== undefined) remember({ label: null });
    first.want(shown.drawn ? undefined : shown.data);
  }

  function modelChoice({ models: all, promoted }) {
    const choices = all.map(({ id, name, accuracy }) => ({
      value: id,
      label: `${isolated(name)}, ${percent(accuracy)}`,
    }));
    const control = select(choices, model ?? promoted, (value) => {
      model = Number(value) === promoted ? null : Number(value);
      remember({ model });
      look({ models: all, promoted });
    });
    return field("Model", control);
  }

  /** Say why there is no network to see, and where to go. */
  function empty(why, text, address) {
    half?.stop();
    half = null;
    drawing.root.hidden = ways.hidden = picture.hidden = true;
    fill(
      place,
      element("p", { class: "lead" }, why),
      element("p", {}, element("a", { class: "button primary", href: address }, text)),
    );
  }

  drawing.root.hidden = true;
  carryAll();
  begin();
  const unwatch = watch(({ promoted }) => shown === null && promoted !== null && begin());
  return () => {
    unwatch();
    first.stop();
    choices.stop();
    drawing.stop();
    half?.stop();
  };
}

function wholeOf(text) {
  return text !== null && /^\d{1,9}$/.test(text) ? Number(text) : null;
}

function wholesOf(text) {
  return text !== null && /^\d{1,9}(,\d{1,9})*$/.test(text) ? text.split(",").map(Number) : null;
}
