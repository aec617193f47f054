/* First training: live progress, shown until there is a model to predict with. */

import { get } from "../api.js";
import { element, fill, style } from "../dom.js";
import { listen } from "../events.js";
import { fixed, percent } from "../numbers.js";
import { load } from "../requests.js";
import { link } from "../state.js";

/**
 * Return a panel with the progress of the first training.
 *
 * @param {import("../server.js").RunSummary | null} training `null` without a run
 * @returns {{root: HTMLElement, stop: () => void}}
 */
export function firstTraining(training) {
  if (training === null) return { root: nothing(), stop: () => {} };
  const epochs = training.epochs;
  const bar = element("i");
  const track = element(
    "div",
    {
      class: "progress",
      role: "progressbar",
      "aria-label": "First training",
      "aria-valuemin": 0,
      "aria-valuemax": 100,
      "aria-valuenow": 0,
    },
    bar,
  );
  const live = element("p", { class: "live faint" }, "Starting …");
  const rows = Array.from({ length: epochs }, (_, place) => {
    const accuracy = element("td", { class: "number" }, "–");
    const row = element("tr", {}, element("th", { scope: "row" }, `Epoch ${place + 1}`), accuracy);
    return { row, accuracy };
  });
  const root = element(
    "section",
    { class: "first", "aria-label": "First training" },
    element("h2", {}, "Training the first model"),
    element(
      "p",
      { class: "faint" },
      "There was no model, so training has started on the digits that come with the package. You can already draw: predictions appear as soon as it is ready.",
    ),
    track,
    live,
    element(
      "table",
      {},
      element(
        "thead",
        {},
        element(
          "tr",
          {},
          element("th", { scope: "col" }, "Epoch"),
          element("th", { scope: "col", class: "number" }, "Accuracy on test images"),
        ),
      ),
      element(
        "tbody",
        {},
        rows.map(({ row }) => row),
      ),
    ),
  );

  function point({ run_id: id, epoch, batch, batches, loss }) {
    if (id !== training.id || !batches) return;
    const done = Math.max(0, Math.min(1, (epoch - 1 + batch / batches) / epochs));
    style(bar, { "--share": done });
    track.setAttribute("aria-valuenow", Math.round(100 * done));
    live.textContent = `Epoch ${epoch} of ${epochs}, batch ${batch} of ${batches}, loss ${fixed(loss)}`;
  }

  function epochDone({ run_id: id, epoch, validation_accuracy: validation, accuracy }) {
    if (id !== training.id || !rows[epoch - 1]) return;
    rows[epoch - 1].accuracy.textContent = percent(validation ?? accuracy);
    rows[epoch - 1].row.classList.add("done");
  }

  const loading = load(
    (_, signal) => get(`runs/${training.id}/points`, {}, { signal }),
    ({ points }) => {
      for (const { kind, payload, ...past } of points) {
        const data = { run_id: training.id, ...past, ...payload };
        if (kind === "point") point(data);
        else if (kind === "epoch") epochDone(data);
      }
    },
    { refused: () => {} }, // live events follow
  );
  const stops = [
    loading.stop,
    listen("point", (data) => loading.since(() => point(data))),
    listen("epoch", epochDone),
    listen("reset", () => loading.want()),
  ];
  loading.want();
  return { root, stop: () => stops.forEach((stop) => stop()) };
}

function nothing() {
  const root = element("section", { class: "first", "aria-label": "First training" });
  fill(
    root,
    element("h2", {}, "No model yet"),
    element(
      "p",
      { class: "faint" },
      "Train a small network first; it takes less than a minute.",
    ),
    element("p", {}, element("a", { class: "button primary", href: link("train") }, "Train one")),
  );
  return root;
}
