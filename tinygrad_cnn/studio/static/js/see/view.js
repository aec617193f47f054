/* See view: one picture through the network, forward and backward. */

import { get } from "../api.js";
import { pickImage } from "../draw/picker.js";
import { button, element, field, fill, select } from "../dom.js";
import { paintDigit } from "../maps.js";
import { percent } from "../numbers.js";
import { load } from "../requests.js";
import { backward } from "./backward.js";
import { forward } from "./forward.js";
import { markOf } from "./film.js";
import { fromLink, link, read, toLink } from "../state.js";

const SIDES = { forward, backward };
const WHOLE = { width: 28, height: 28, at: () => ({ top: 0, left: 0 }) };

/**
 * Show the view.
 *
 * @param {HTMLElement} root
 * @param {import("../main.js").Context} context
 * @returns {() => void} unmounts the view
 */
export function mount(root, { parameters, remember, server }) {
  let input = fromLink(parameters.get("input"));
  let model = wholeOf(parameters.get("model"));
  const side = parameters.get("side") === "backward" ? "backward" : "forward";
  let unmount = () => {};

  const canvas = element("canvas", {
    class: "digit",
    role: "img",
    "aria-label": "The picture, 28 by 28",
  });
  const marks = element("div", { class: "marks", "aria-hidden": "true" });
  const verdict = element("p", { class: "verdict", role: "status" }, "\u00a0");
  const place = element("div", { class: `side ${side}` });
  const models = element("div", { class: "models" });
  const sides = element("nav", { class: "sides", "aria-label": "Direction" });
  const stage = {
    mark: (rectangle) => fill(marks, rectangle && markOf(WHOLE, { map: 0, ...rectangle }, "field")),
    verdict: (text) => (verdict.textContent = text),
  };

  fill(
    root,
    element(
      "header",
      { class: "head" },
      element("h1", {}, side === "forward" ? "Forward: layers" : "Backward: gradients"),
      sides,
    ),
    element(
      "aside",
      { "aria-label": "The picture" },
      element("div", { class: "stage" }, canvas, marks),
      verdict,
      element(
        "div",
        { class: "ways" },
        button("Pick a test image", () => pickImage((image) => take(image.input, image.label)), {
          symbol: "pictures",
          kind: "quiet",
        }),
        element("a", { class: "button quiet", href: link("draw") }, "Draw one"),
      ),
      models,
    ),
    place,
  );

  /** Show an input; `label` is its true digit, if known. */
  function take(given, label = null) {
    input = given;
    const changes = { input: toLink(given), layer: null, cell: null };
    if (label !== null) changes.label = label;
    remember(changes);
    show();
  }

  function show() {
    unmount();
    paintDigit(canvas, input);
    stage.mark(null);
    const now = read().parameters;
    for (const name of Object.keys(SIDES)) now.delete(name);
    fill(
      sides,
      Object.keys(SIDES).map((name) => {
        const href = link("see", {
          ...Object.fromEntries(now),
          side: name === "forward" ? null : name,
        });
        const words = name === "forward" ? "Forward" : "Backward";
        return element(
          "a",
          { href, class: name, "aria-current": name === side ? "true" : null },
          words,
        );
      }),
    );
    const options = {
      input,
      model,
      label: wholeOf(now.get("label")),
      layer: now.get("layer"),
      cell: wholesOf(now.get("cell")),
      parameter: now.get("parameter"),
      index: wholesOf(now.get("index")),
      stage,
      remember: (changes) => {
        remember(changes);
        for (const anchor of sides.children) carry(anchor);
      },
    };
    unmount = SIDES[side](place, options);
  }

  /** Update the link to the other half with the current selection. */
  function carry(anchor) {
    const all = Object.fromEntries(read().parameters);
    anchor.href = link("see", {
      ...all,
      side: anchor.classList.contains("backward") ? "backward" : null,
    });
  }

  const first = load(
    (_, signal) => get("images", { part: "test", limit: 1 }, { signal }),
    ({ images: [image] }) => take(image.input, image.label),
  );
  const choices = load(
    (_, signal) => get("models", {}, { signal }),
    (known) => known.models.length > 1 && fill(models, modelChoice(known)),
  );

  function begin() {
    if (server() !== null && server().promoted === null && model === null) return empty();
    if (input === null) first.want();
    else show();
    choices.want();
  }

  function modelChoice({ models: all, promoted }) {
    const choices = all.map(({ id, name, accuracy }) => ({
      value: id,
      label: `${name}, ${percent(accuracy)}`,
    }));
    const control = select(choices, model ?? promoted, (value) => {
      model = Number(value) === promoted ? null : Number(value);
      remember({ model });
      show();
    });
    return field("Network", control);
  }

  function empty() {
    fill(
      place,
      element(
        "p",
        { class: "lead" },
        "No network is trained yet. ",
      ),
      element(
        "p",
        {},
        element("a", { class: "button primary", href: link("draw") }, "Watch the first training"),
      ),
    );
  }

  begin();
  return () => {
    first.stop();
    choices.stop();
    unmount();
  };
}

function wholeOf(text) {
  return text !== null && /^\d{1,9}$/.test(text) ? Number(text) : null;
}

function wholesOf(text) {
  return text !== null && /^\d{1,9}(,\d{1,9})*$/.test(text) ? text.split(",").map(Number) : null;
}
