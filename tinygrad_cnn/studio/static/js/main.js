/* Entry point: routing between views, and their shared context. */

import { element, fill } from "./dom.js";
import { onConnection } from "./events.js";
import { failed, say } from "./message.js";
import { follow, refresh, server, watch } from "./server.js";
import { link, read, remember } from "./state.js";

/**
 * @typedef {{parameters: URLSearchParams, remember: (changes: Record<string, unknown>) => void,
 *   server: typeof server, watch: typeof watch}} Context passed to every view
 */

const VIEWS = {
  draw: { title: "Draw", load: () => import("./draw/view.js") },
  see: { title: "See", load: () => import("./see/view.js") },
  train: { title: "Train", load: () => import("./train/view.js") },
  teach: { title: "Teach", load: () => import("./teach/view.js") },
  models: { title: "Models", load: () => import("./models/view.js") },
};

const main = document.getElementById("view");
let unmount = () => {};
let shown = ""; // the current view
let wanted = 0; // counts navigations, so that a slow one cannot overtake a later one

async function arrive() {
  const { view, parameters } = read();
  const name = view in VIEWS ? view : "draw";
  if (name !== view)
    history.replaceState(history.state, "", link(name, Object.fromEntries(parameters)));
  wanted += 1;
  const turn = wanted;
  let mount;
  try {
    ({ mount } = await VIEWS[name].load());
  } catch {
    return failed(
      new Error(`${VIEWS[name].title} could not be loaded. Is the server still running?`),
    );
  }
  if (turn !== wanted) return;
  unmount();
  const another = name !== shown;
  shown = name;
  document.title = `${VIEWS[name].title} · tinygrad_cnn studio`;
  document.querySelectorAll("nav a").forEach((anchor) => {
    const here = anchor.getAttribute("href") === link(name);
    if (here) anchor.setAttribute("aria-current", "page");
    else anchor.removeAttribute("aria-current");
  });
  const root = element("div", { class: `view ${name}` });
  fill(main, root);
  unmount = mount(root, { parameters, remember, server, watch }) ?? (() => {});
  if (another && turn > 1) {
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
    { queued: "queued", paused: "paused" }[training.state] ??
    `epoch ${Math.min(training.epoch + 1, training.epochs)} of ${training.epochs}`;
  chip.querySelector("span").textContent = `Training, ${where}`;
  chip.href = link("train", { run: training.id });
}

watch(showTraining);
onConnection((connected) => {
  document.getElementById("lost").hidden = connected;
  if (connected) refresh().catch(() => {});
});
document.querySelector(".skip").addEventListener("click", () => main.focus());
addEventListener("hashchange", arrive);
try {
  await refresh();
} catch (error) {
  failed(error);
}
follow();
await arrive();
