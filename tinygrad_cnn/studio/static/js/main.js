/* Entry point: routing between views, and their shared context. */

import { element, fill } from "./dom.js";
import { onConnection } from "./events.js";
import { failed, say } from "./message.js";
import { load } from "./requests.js";
import { follow, refresh, server, watch } from "./server.js";
import { link, read, remember } from "./state.js";

/**
 * @typedef {{parameters: URLSearchParams, remember: (changes: Record<string, unknown>) => void,
 *   server: typeof server, watch: typeof watch}} Context passed to every view
 */

const VIEWS = {
  draw: { title: "Draw", load: () => import("./draw/view.js") },
  see: { title: "See", load: () => import("./see/view.js") },
  playground: { title: "Playground", load: () => import("./playground/view.js") },
  train: { title: "Train", load: () => import("./train/view.js") },
  teach: { title: "Teach", load: () => import("./teach/view.js") },
  models: { title: "Models", load: () => import("./models/view.js") },
};

const main = document.getElementById("view");
let unmount = () => {};
let shown = ""; // the current view

const arriving = load(({ name }) => VIEWS[name].load(), mount, {
  refused: (_, { name }) =>
    failed(new Error(`${VIEWS[name].title} could not be loaded. Is the server still running?`)),
});

function arrive() {
  const { view, parameters } = read();
  const name = view in VIEWS ? view : "draw";
  if (name !== view)
    history.replaceState(history.state, "", link(name, Object.fromEntries(parameters)));
  return arriving.want({ name, query: parameters.toString() });
}

function mount(module, { name, query }) {
  unmount();
  const before = shown;
  shown = name;
  document.title = `${VIEWS[name].title} · tinygrad_cnn studio`;
  document.querySelectorAll("nav a").forEach((anchor) => {
    const here = anchor.getAttribute("href") === link(name);
    if (here) anchor.setAttribute("aria-current", "page");
    else anchor.removeAttribute("aria-current");
  });
  const root = element("div", { class: `view ${name}` });
  fill(main, root);
  const parameters = new URLSearchParams(query);
  unmount = module.mount(root, {
    parameters,
    remember: (changes) => root.isConnected && remember(changes), // a late answer changes no other view
    server,
    watch,
  });
  if (before !== "" && before !== name) {
    scrollTo(0, 0);
    main.focus({ preventScroll: true });
    say(VIEWS[name].title);
  }
}

function showTraining(state) {
  const chip = document.getElementById("training");
  const { training } = state;
  chip.hidden = training === null;
  if (training === null) return;
  const where =
    { paused: "paused", interrupted: "interrupted" }[training.state] ??
    `epoch ${Math.min(training.epoch + 1, training.epochs)} of ${training.epochs}`;
  chip.querySelector("span").textContent = `Training, ${where}`;
  chip.href = link("train", { run: training.id });
}

watch(showTraining);
onConnection((connected) => {
  document.getElementById("lost").hidden = connected;
  if (connected) refresh();
});
document.querySelector(".skip").addEventListener("click", () => main.focus());
addEventListener("hashchange", arrive);
await refresh();
follow();
await arrive();
