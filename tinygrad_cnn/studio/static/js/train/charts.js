/* Charts of the selected runs: overlaid, or side by side with shared axes. */

import { LineChart } from "../chart.js";
import { runningMean } from "../chart/curves.js";
import { element, fill, isolated } from "../dom.js";
import { number, percent } from "../numbers.js";
import { Kernels } from "./kernels.js";

/** @typedef {{run: any, recording: import("./recording.js").Recording, color: string}} Subject */

const SPAN = 1 / 50; // span of the running mean, relative to the axis
const FIGURES = {
  loss: { title: "Loss", write: (value) => number(value, 3) },
  accuracy: {
    title: "Accuracy",
    write: (value) => percent(value),
    mark: (value) => percent(value, 0),
    within: [0, 1],
  },
  gradients: {
    title: "Gradient norm",
    note: "of each layer, logarithmic",
    write: (value) => number(value, 2),
    log: true,
    many: true,
  },
};

export class Charts {
  constructor() {
    this.element = element("div", { class: "charts" });
    this.panels = [];
    this.key = "";
  }

  /**
   * Draw the selected runs; the layout changes only with the selection.
   * @param {Subject[]} subjects
   * @param {{unit: import("./recording.js").Unit, apart: boolean}} view
   */
  show(subjects, { unit, apart }) {
    const key = JSON.stringify([apart, ...subjects.map(({ run }) => [run.id, run.name])]);
    if (key !== this.key) this.#layOut(subjects, apart);
    this.key = key;
    const end = Math.max(
      0,
      ...subjects.map(({ run, recording }) => recording.end(run.epochs, unit)),
    );
    const drawn = this.panels.map(({ figure, of }) =>
      of.flatMap((subject) =>
        SERIES[figure](this.#now(subjects, subject), unit, end, of.length > 1),
      ),
    );
    const reach = {};
    this.panels.forEach(({ figure }, place) => {
      const extent = LineChart.extentOf(drawn[place], FIGURES[figure].log);
      if (extent)
        reach[figure] = reach[figure]
          ? [Math.min(extent[0], reach[figure][0]), Math.max(extent[1], reach[figure][1])]
          : extent;
    });
    this.panels.forEach(({ figure, chart }, place) =>
      chart.show(drawn[place], { unit, end, shared: reach[figure] ?? null }),
    );
    this.kernels.forEach((kernels, id) =>
      kernels.show(this.#now(subjects, { run: { id } }).recording.snapshot),
    );
  }

  /** Remove the observers. */
  close() {
    this.panels.forEach(({ chart }) => chart.close());
  }

  #now(subjects, { run }) {
    return subjects.find((subject) => subject.run.id === run.id);
  }

  #layOut(subjects, apart) {
    this.close();
    this.panels = [];
    this.kernels = new Map(subjects.map(({ run }) => [run.id, new Kernels(isolated(run.name))]));
    const chart = (figure, of) =>
      this.#chart(figure, of, of.length < subjects.length ? `, ${isolated(of[0].run.name)}` : "");
    const columns = subjects.map((subject) => {
      const { run, color } = subject;
      const own = apart ? [chart("loss", [subject]), chart("accuracy", [subject])] : [];
      const heading =
        subjects.length > 1
          ? element("h2", { style: { "--series": color } }, isolated(run.name))
          : null;
      return element(
        "section",
        { class: "column", "aria-label": isolated(run.name) },
        heading,
        own,
        chart("gradients", [subject]),
        this.kernels.get(run.id).element,
      );
    });
    const shared = apart
      ? null
      : element("div", { class: "columns" }, chart("loss", subjects), chart("accuracy", subjects));
    const single = subjects.length === 1 ? "columns single" : "columns";
    fill(
      this.element,
      subjects.length ? [shared, element("div", { class: single }, columns)] : null,
    );
  }

  #chart(figure, of, whose) {
    const onread = (x) =>
      this.panels.forEach((panel) => panel.chart !== chart && panel.chart.point(x));
    const { title, ...options } = FIGURES[figure];
    const chart = new LineChart({ title, whose, ...options, onread });
    this.panels.push({ figure, chart, of });
    return chart.element;
  }
}

const SERIES = {
  loss: (subject, unit, end, several) => [
    measured(subject, unit, end, several, "loss", "validation_loss"),
  ],
  accuracy: (subject, unit, end, several) => [
    measured(subject, unit, end, several, "accuracy", "validation_accuracy"),
  ],
  gradients: ({ recording }, unit, end) => {
    const layers = [...recording.gradients(unit)];
    return layers.map(([layer, points], place) => ({
      key: layer,
      name: layer,
      color: between(layers.length > 1 ? place / (layers.length - 1) : 0),
      points: smooth(points, end),
    }));
  },
};

function measured({ run, recording, color }, unit, end, several, field, tested) {
  const raw = recording.curve(field, unit);
  return {
    key: String(run.id),
    name: several ? isolated(run.name) : "Running mean",
    color,
    raw,
    points: smooth(raw, end),
    dots: recording.tested(tested, unit),
    dotsName: several ? `${isolated(run.name)}, test images` : "Test images",
  };
}

function smooth(points, end) {
  return runningMean(points, SPAN * (end || points.at(-1)?.[0] || 1));
}

/** Return the color of a layer; `share` is 0 for the first layer and 1 for the last. */
function between(share) {
  return `color-mix(in oklch shorter hue, var(--back), var(--ahead) ${Math.round(100 * share)}%)`;
}
