/* Entry point: routing between views, and their shared context. */

import { get } from "./api.js";
import { element, fill } from "./dom.js";
import { onConnection } from "./events.js";
import { say } from "./message.js";
import { load } from "./requests.js";
import { follow, refresh, server, watch } from "./server.js";
import { link, read, remember } from "./state.js";

/**
 * @typedef {{parameters: URLSearchParams, remember: (changes: Record<string, unknown>) => void,
 *   server: typeof server, watch: typeof watch}} Context passed to every view
 */

const RELOADED = "reloaded for"; // key of the session storage
const VIEWS = {
  draw: { title: "Draw", load: () => import("./draw/view.js") },
  see: { title: "See", load: () => import("./see/view.js") },
  playground: { title: "Playground", load: () => import("./playground/view.js") },
  train: { title: "Train", load: () => import("./train/view.js") },
  teach: { title: "Teach", load: () => import("./teach/view.js") },
  models: { title: "Models", load: () => import("./models/view.js") },
};

const main = document.getElementById("view");
let unmount = null;
let shown = ""; // the current view

const arriving = load(async ({ name }) => {
  const [module] = await Promise.all([moduleOf(name), server() ?? refresh()]);
  return module;
}, mount);

/** Load a view's module; the page is loaded again if the server has changed. */
async function moduleOf(name) {
  if (!Object.hasOwn(VIEWS, name)) return { mount: missing };
  try {
    const module = await VIEWS[name].load();
    sessionStorage.removeItem(RELOADED);
    return module;
  } catch {
    await get("state"); // if the server does not answer either, the load is sent again
    if (sessionStorage.getItem(RELOADED) === name)
      throw new Error(`${VIEWS[name].title} could not be loaded.`);
    sessionStorage.setItem(RELOADED, name); // once only
    location.reload(); // it is another version, or the browser keeps the failure
    return new Promise(() => {});
  }
}

function arrive() {
  const { view, parameters } = read();
  const name = view || "draw";
  if (name !== view)
    history.replaceState(history.state, "", link(name, Object.fromEntries(parameters)));
  return arriving.want({ name, query: parameters.toString() });
}

function mount(module, { name, query }) {
  unmount?.();
  document.querySelectorAll("dialog[open]").forEach((dialog) => dialog.close());
  const before = shown;
  shown = name;
  const title = titleOf(name);
  document.title = `${title} · tinygrad_cnn studio`;
  document.querySelectorAll(".top nav a").forEach((anchor) => {
    const here = anchor.getAttribute("href") === link(name);
    if (here) anchor.setAttribute("aria-current", "page");
    else anchor.removeAttribute("aria-current");
  });
  const root = element("div", { class: `view ${Object.hasOwn(VIEWS, name) ? name : "missing"}` });
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
    say(title);
  }
}

function titleOf(name) {
  return Object.hasOwn(VIEWS, name) ? VIEWS[name].title : "Page not found";
}

/** The view of an address that names none. */
function missing(root) {
  fill(
    root,
    element("h1", {}, "Page not found"),
    element("p", { class: "lead" }, "This address names no view of the studio."),
    element("p", {}, element("a", { class: "button primary", href: link("draw") }, "Draw a digit")),
  );
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
onConnection((connected) => (document.getElementById("lost").hidden = connected));
document.querySelector(".skip").addEventListener("click", () => main.focus());
addEventListener("hashchange", arrive);
follow();
arrive();
