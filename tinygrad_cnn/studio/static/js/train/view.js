/* Train view: start and control runs, and follow their metrics. */

import { get, post, remove } from "../api.js";
import { choicesOf, element, isolated } from "../dom.js";
import { listen } from "../events.js";
import { ask, say, show } from "../message.js";
import { load, write } from "../requests.js";
import { cancelRun } from "./cancel.js";
import { Charts } from "./charts.js";
import { runForm } from "./form.js";
import { Recordings } from "./recordings.js";
import { RunTable } from "./runs.js";

const MOST = 6; // maximum runs on a chart, one per color
const PAUSE = 200; // milliseconds between redraws
const UNITS = { step: "Steps", epoch: "Epochs", second: "Seconds" };

/**
 * @param {HTMLElement} root
 * @param {import("../main.js").Context} context
 * @returns {() => void} unmounts the view
 */
export function mount(root, { parameters, remember, server, watch }) {
  const view = {
    unit: Object.hasOwn(UNITS, parameters.get("x")) ? parameters.get("x") : "step",
    apart: parameters.get("apart") === "1",
  };
  const asked = (parameters.get("runs") ?? parameters.get("run") ?? "")
    .split(",")
    .filter(Boolean)
    .map(Number);
  const slots = new Map(asked.slice(0, MOST).map((id, place) => [id, place])); // color index by id of a selected run
  let runs = [];
  let timer = null;
  let first = true; // until the runs are known

  const recordings = new Recordings(drawSoon);
  const charts = new Charts();
  const list = new RunTable(
    { choose, steer, remove: removeRun, sorted: (sort) => remember({ sort }) },
    parameters.get("sort") ?? "",
  );
  const nothing = element("p", { class: "lead", hidden: true }, "No runs yet.");
  const place = element("div", {});
  const disclosure = element(
    "details",
    { class: "new-run", open: matchMedia("(width >= 62rem)").matches },
    element("summary", {}, "New run"),
    place,
  );
  const bar = element(
    "div",
    { class: "bar" },
    choicesOf("Horizontal axis", UNITS, view.unit, (unit) => change({ unit })),
    choicesOf(
      "Several runs",
      { together: "Together", apart: "Side by side" },
      view.apart ? "apart" : "together",
      (to) => change({ apart: to === "apart" }),
    ),
  );
  const meaning = element(
    "p",
    { class: "hint" },
    "Thin lines: batches. Bold lines: running mean. Dots: test images after each epoch.",
  );
  const watched = element(
    "section",
    { class: "watched", "aria-label": "Charts", hidden: true },
    element("h2", { class: "unseen" }, "Charts"),
    bar,
    meaning,
    charts.element,
  );
  root.append(
    element("header", { class: "head" }, element("h1", {}, "Train")),
    element(
      "div",
      { class: "workbench" },
      disclosure,
      element("div", { class: "bench" }, nothing, list.element, watched),
    ),
  );

  const offer = (state) => state && !place.hasChildNodes() && place.append(runForm(state, started));
  offer(server());
  const stops = [
    watch(offer),
    listen(["run", "reset"], () => loading.want()),
    listen("point", ({ run_id: id, epoch, batch, batches }) => {
      const run = runs.find((each) => each.id === id);
      if (run) list.progress(id, (epoch - 1 + batch / batches) / run.epochs);
    }),
  ];

  const loading = load(
    (_, signal) => get("runs", {}, { signal }),
    (answer) => {
      runs = answer.runs;
      [...slots.keys()]
        .filter((id) => !runs.some((run) => run.id === id))
        .forEach((id) => slots.delete(id));
      if (first && !slots.size) {
        const newest =
          runs.find(({ state }) => state === "running" || state === "paused") ?? runs[0];
        if (newest) slots.set(newest.id, 0);
      }
      first = false;
      showList();
      draw();
    },
  );
  loading.want();

  function showList() {
    nothing.hidden = runs.length > 0;
    watched.hidden = runs.length === 0;
    list.show(runs, new Map([...slots].map(([id, slot]) => [id, colorOf(slot)])));
  }

  function draw() {
    const chosen = [...slots].map(([id, slot]) => ({
      run: runs.find((run) => run.id === id),
      recording: recordings.of(id),
      color: colorOf(slot),
    }));
    charts.show(
      chosen.filter(({ run }) => run),
      view,
    );
    bar.lastElementChild.disabled = slots.size < 2;
  }

  function drawSoon() {
    timer ??= setTimeout(() => {
      timer = null;
      draw();
    }, PAUSE);
  }

  function change(to) {
    Object.assign(view, to);
    keep();
    draw();
  }

  function keep() {
    remember({
      run: null,
      runs: [...slots.keys()].join(","),
      x: view.unit === "step" ? null : view.unit,
      apart: view.apart ? "1" : null,
    });
  }

  function choose(run, chosen) {
    if (chosen && slots.size === MOST) {
      show(`A chart shows at most ${MOST} runs: remove one first.`);
    } else if (chosen) {
      const taken = new Set(slots.values());
      slots.set(
        run.id,
        [...Array(MOST).keys()].find((slot) => !taken.has(slot)),
      );
    } else {
      slots.delete(run.id);
    }
    keep();
    showList();
    draw();
  }

  function started(fresh) {
    slots.clear();
    fresh.forEach(({ id }, slot) => slots.set(id, slot));
    if (fresh.length > 1) view.apart = false;
    keep();
    loading.want();
  }

  function steer(run, what) {
    const then = { answered: () => loading.want() };
    if (what === "cancel") cancelRun(run, then);
    else write(`run ${run.id}`, () => post(`runs/${run.id}/${what}`), then);
  }

  async function removeRun(run) {
    const detail =
      run.model_id === null ? "This deletes its metrics." : "This deletes its metrics; its model stays.";
    const name = isolated(run.name);
    if (!(await ask(`Delete ${name}?`, { detail, yes: "Delete", kind: "danger" }))) return;
    await write(`run ${run.id}`, () => remove(`runs/${run.id}`), {
      answered: () => {
        say(`${name} deleted`);
        slots.delete(run.id);
        keep();
        loading.want();
      },
    });
  }

  return () => {
    stops.forEach((stop) => stop());
    recordings.close();
    charts.close();
    loading.stop();
    clearTimeout(timer);
  };
}

function colorOf(slot) {
  return `var(--line-${slot + 1})`;
}
