/* Playground: a small network on points of a plane, trained live, with its gradients in sight. */

import { get } from "../api.js";
import { LineChart } from "../chart.js";
import { button, choicesOf, element, fill } from "../dom.js";
import { say, show as notify } from "../message.js";
import { fixed, grouped, number } from "../numbers.js";
import { load } from "../requests.js";
import { dataFields, stepper, trainingFields } from "./controls.js";
import { Diagram } from "./diagram.js";
import { Explainer } from "./explainer.js";
import { Inspector } from "./inspector.js";
import { layOut } from "./layout.js";
import { Plane } from "./plane.js";
import { Session } from "./session.js";
import { addressOf, hasRoom, pointAt, setupOf, SHOWN } from "./setup.js";
import { momentsOf, namesOf, Walk } from "./walk.js";
import { readingOf } from "./written.js";

const COUNT = 200; // points of a data set; the first half is for training
const RESTARTING = ["data", "noise", "seed", "features", "hidden", "activation"];
const RESAMPLING = ["data", "noise", "seed", "own"];
const FIRST_EPOCHS = 10; // of the axis of the loss at least
const EXPLAINED = 4; // while playing, every fourth update is explained
const FIRST_WEIGHT = { layer: 1, unit: 0, input: 0 };
const HINTS = {
  weights:
    "Weights: orange is positive, blue negative; the wider, the larger. Point to one, or to a neuron.",
  gradients:
    "Gradients of the training loss: orange is positive, blue negative; as wide as the root of their share of the largest.",
};

/**
 * Show the view.
 *
 * @param {HTMLElement} root
 * @param {import("../main.js").Context} context
 * @returns {() => void} unmounts the view
 */
export function mount(root, { remember }) {
  let close = () => {};
  fill(root, element("header", { class: "head" }, element("h1", {}, "Playground")));
  const loading = load(
    (_, signal) => get("playground", {}, { signal }),
    (choices) => {
      close = begin(root, choices, remember);
    },
  );
  loading.want();
  return () => {
    loading.stop();
    close();
  };
}

function begin(root, choices, remember) {
  const setup = setupOf(choices);
  let pointed = null; // the subject under the pointer
  let chosen = null; // the subject that was clicked
  let tool = "mark";
  let tested = false;
  let updates = 0;

  const session = new Session(setup, { updated: show, stopped });
  const diagram = new Diagram(choices, {
    feature: toggle,
    neurons: (layer, by) => resize(setup.hidden.with(layer, setup.hidden[layer] + by)),
    point,
    choose,
  });
  const plane = new Plane(choices.reach, act);
  const inspector = new Inspector(choose);
  const explainer = new Explainer(session, () => {
    inspect();
    if (walk.open || walking) walkThrough();
  });
  const walk = new Walk({
    moved: (stage) => (stage === null ? clear() : diagram.annotate(stage)),
    apply,
    left: () => walkButton.focus(),
    batch: (whole) => {
      explainer.batched = whole;
      explainer.ask();
    },
  });
  let walking = false; // the walk opens with the next answer

  const chart = new LineChart({ title: "Loss", write: (value) => number(value, 3) });
  const fields = trainingFields(setup, choices, change);
  const data = dataFields(setup, choices, {
    changed: change,
    tool: (name) => (tool = name),
    test: (shown) => {
      tested = shown;
      showPoints();
    },
  });
  const playing = button("Play", () => (session.playing ? stop() : play()), {
    symbol: "play",
    kind: "primary",
  });
  const reading = element("div", { class: "reading" });
  const epoch = element("output", { class: "epoch", "aria-label": "Epoch" }, "0");
  const layers = stepper("a hidden layer", {
    less: () => resize(setup.hidden.slice(0, -1)),
    more: () => resize([...setup.hidden, setup.hidden.at(-1) ?? 4]),
  });
  const walkButton = button(
    "Walk through one step",
    () => {
      stop();
      walking = true;
      explainer.ask();
    },
    { kind: "primary back" },
  );
  const undo = button("Remove own points", () => change({ own: [] }), { kind: "quiet" });

  layOut(root, {
    steer: [
      playing,
      button("Update once", () => session.once(), { symbol: "step", only: true }),
      button("Start again", restart, { symbol: "restart", only: true }),
      element("p", { class: "count" }, "Epoch ", epoch),
    ],
    bar: [
      element("p", { class: "layers" }, "Hidden layers", layers.element),
      choicesOf("Edges show", SHOWN, setup.show, (show) => change({ show })),
    ],
    right: [plane.element, data.tools, undo, chart.element],
    ...{ walkButton, walk, fields, data, reading, diagram, inspector },
  });

  // --- changes ---

  function change(changes) {
    const names = Object.keys(changes);
    if ("batch" in changes) session.keepEpoch(() => Object.assign(setup, changes));
    else Object.assign(setup, changes);
    remember(addressOf(setup));
    if (names.some((name) => RESAMPLING.includes(name))) return sample(names);
    if (names.some((name) => RESTARTING.includes(name))) return restart();
    if (session.known) show();
    session.look();
  }

  function toggle(name) {
    const order = Object.keys(choices.features);
    const features = setup.features.includes(name)
      ? setup.features.filter((each) => each !== name)
      : [...setup.features, name].sort((one, other) => order.indexOf(one) - order.indexOf(other));
    if (!features.length) return say("The network needs at least one feature");
    change({ features });
  }

  function resize(sizes) {
    change({ hidden: sizes.filter((size) => size > 0) });
  }

  const sampling = load(
    ({ data: name, noise, seed }, signal) =>
      name === "own"
        ? Promise.resolve({ points: [] })
        : get("playground/points", { data: name, noise, seed, count: COUNT }, { signal }),
    ({ points }, { again }) => {
      const half = points.length / 2;
      session.use([...points.slice(0, half), ...setup.own], points.slice(half));
      if (again) explainer.marked = 0;
      showPoints();
      if (again) restart();
      else session.look();
    },
  );

  function sample(names = RESTARTING) {
    const { data: name, noise, seed } = setup;
    const again = names.some((each) => each !== "own");
    sampling.want({ data: name, noise, seed, again, own: setup.own.length });
  }

  function restart() {
    walk.close();
    explainer.forget();
    lay();
    session.restart();
  }

  function lay() {
    diagram.lay(setup);
    layers.show(setup.hidden.length, choices.layers);
    pointed = null;
    chosen = null;
    session.chosen = null;
  }

  // --- the pointer ---

  function point(subject) {
    pointed = subject;
    look();
  }

  function choose(subject) {
    chosen = JSON.stringify(subject) === JSON.stringify(chosen) ? null : subject;
    look();
    if (walk.open) walkThrough();
  }

  /** Show what is pointed to, or else what is chosen. */
  function look() {
    const subject = pointed ?? chosen;
    const map = subject && subject.layer <= setup.hidden.length ? subject : null;
    const another =
      JSON.stringify([map?.layer, map?.unit]) !== JSON.stringify(session.chosen ?? [null, null]);
    session.chosen = map && [map.layer, map.unit];
    diagram.mark(subject);
    if (another && session.known) session.look();
    inspect();
  }

  function act(x1, x2) {
    if (tool !== "mark") {
      if (!hasRoom(setup)) return notify("No more own points fit into the address of the page.");
      return change({ own: [...setup.own, pointAt(x1, x2, tool === "one" ? 1 : 0)] });
    }
    explainer.mark(x1, x2);
    plane.mark(explainer.point);
    explainer.ask();
  }

  // --- training ---

  function play() {
    if (setup.data === "own" && !setup.own.length) return notify("Add points to the plane first.");
    walk.close();
    session.play();
    showPlaying();
  }

  function stop() {
    session.stop();
    showPlaying();
  }

  function stopped(why) {
    showPlaying();
    if (why) notify(why, { kind: "error" });
  }

  function showPlaying() {
    const { playing: on } = session;
    fill(
      playing,
      ...button(on ? "Pause" : "Play", () => {}, { symbol: on ? "pause" : "play" }).childNodes,
    );
  }

  // --- one step ---

  function walkThrough() {
    walking = false;
    const names = namesOf(setup, choices);
    const { step } = explainer;
    if (step?.layers.length === names.layers)
      walk.show(momentsOf(step, { names, setup, subject: chosen }));
  }

  function apply() {
    const { layers: found } = explainer.step;
    walk.close();
    session.replace(found.map(({ updated }) => updated));
    say("The update is applied");
  }

  function clear() {
    diagram.annotate(null);
    diagram.mark(pointed ?? chosen);
  }

  // --- showing ---

  function show() {
    const { known } = session;
    const sizes = [setup.features.length, ...setup.hidden];
    if (String(sizes) !== String(known.neurons.map(({ shape }) => shape[0]))) return;
    diagram.show(known, setup.show === "gradients");
    diagram.mark(pointed ?? chosen);
    const about = session.chosen;
    const large = about && known.chosen;
    plane.show(large ? known.chosen : known.surface, large ? captionOf(about) : "Output Y");
    epoch.textContent = session.epoch % 1 ? fixed(session.epoch, 1) : grouped(session.epoch);
    chart.show(
      [
        { key: "train", name: "Training", color: "var(--line-6)", points: session.curves.train },
        { key: "test", name: "Test", color: "var(--line-4)", points: session.curves.test },
      ],
      { unit: "epoch", end: FIRST_EPOCHS },
    );
    inspect();
    updates += 1;
    if (!session.playing || updates % EXPLAINED === 0) explainer.ask();
  }

  function captionOf([layer, unit]) {
    return layer === 0
      ? `Feature ${choices.features[setup.features[unit]]}`
      : `Output of layer ${layer}, neuron ${unit + 1}`;
  }

  function inspect() {
    if (!session.known || !session.train.length) return;
    const about = {
      update: session.known,
      step: explainer.step,
      names: namesOf(setup, choices),
      lr: setup.lr,
    };
    const lines = readingOf(pointed ?? chosen, about) ?? [HINTS[setup.show]];
    fill(
      reading,
      lines.map((line) => element("p", {}, line)),
    );
    inspector.show([pointed, chosen].find((each) => each?.layer > 0) ?? FIRST_WEIGHT, about);
  }

  function showPoints() {
    plane.points(session.train, tested ? session.test : []);
    plane.mark(explainer.point);
    undo.hidden = !setup.own.length;
  }

  lay();
  sample();
  return () => {
    session.close();
    diagram.close();
    chart.close();
    data.close();
    walk.close();
    explainer.forget();
    sampling.stop();
  };
}
