/* Table of runs: settings, results, state, selection for the chart, and controls. */

import { button, element, fill, isolated, style } from "../dom.js";
import { swatch } from "../chart.js";
import { duration, grouped, number, percent } from "../numbers.js";
import { link } from "../state.js";
import { ended, stateOf, summaryOf } from "./words.js";

const SHOWN = 8; // finished runs shown at first

/* The columns that can be sorted by: the value of a run, how it is written, and whether the largest
 * comes first. */
const COLUMNS = {
  name: { title: "Run", of: (run) => run.name },
  accuracy: {
    title: "Accuracy",
    hint: "on the test images, after the last epoch",
    of: ({ result }) => result?.test_accuracy,
    write: (share) => percent(share),
    descends: true,
  },
  loss: {
    title: "Loss",
    hint: "mean cross-entropy on the test images, after the last epoch",
    of: ({ result }) => result?.test_loss,
    write: (loss) => number(loss, 3),
  },
  time: {
    title: "Time",
    hint: "of the epochs that are done",
    of: ({ result }) => result?.seconds,
    write: duration,
  },
  parameters: {
    title: "Parameters",
    of: ({ result }) => result?.parameters,
    write: grouped,
  },
};
const RESULTS = Object.keys(COLUMNS).slice(1);

/**
 * @typedef {object} Steering
 * @property {(run: any, chosen: boolean) => void} choose  adds a run to the chart, or removes it
 * @property {(run: any, what: "pause" | "resume" | "step" | "cancel" | "retry") => void} steer
 * @property {(run: any) => void} remove
 * @property {(sort: string) => void} sorted  the new order: "-accuracy"; "" for newest first
 */

export class RunTable {
  /**
   * @param {Steering} steering
   * @param {string} sort  see `Steering.sorted`; anything else means newest first
   */
  constructor(steering, sort) {
    this.steering = steering;
    this.sort = Object.hasOwn(COLUMNS, sort.replace("-", "")) ? sort : "";
    this.rows = new Map();
    this.all = false;
    this.heads = Object.entries(COLUMNS).map(([name, column]) => this.#head(name, column));
    this.body = element("tbody", { role: "rowgroup" });
    this.more = button("", () => ((this.all = true), this.show(...this.shown)), { kind: "quiet" });
    const other = (name) =>
      element(
        "th",
        { role: "columnheader", scope: "col", class: name === "State" ? "other wide" : "other" },
        element("span", { class: name === "State" ? null : "unseen" }, name),
      );
    this.table = element(
      "table",
      { class: "runs", role: "table", "aria-label": "Runs" },
      element(
        "thead",
        { role: "rowgroup" },
        element("tr", { role: "row" }, this.heads, other("State"), other("Controls")),
      ),
      this.body,
    );
    this.element = element("div", { class: "all-runs" }, this.table, this.more);
  }

  /**
   * Show runs; rows that remain keep the keyboard focus.
   * @param {any[]} runs  newest first
   * @param {Map<number, string>} colors  of the runs on the chart
   */
  show(runs, colors) {
    this.shown = [runs, colors];
    let room = SHOWN;
    const visible = this.#sorted(runs).filter(
      (run) => this.all || !ended(run.state) || colors.has(run.id) || room-- > 0,
    );
    const here = new Set(visible.map(({ id }) => id));
    for (const [id, row] of this.rows) {
      if (here.has(id)) continue;
      row.element.remove();
      this.rows.delete(id);
    }
    const focused = this.body.contains(document.activeElement) ? document.activeElement : null;
    visible.forEach((run, place) => {
      if (!this.rows.has(run.id)) this.rows.set(run.id, new Row(this.steering));
      const row = this.rows.get(run.id);
      row.show(run, colors.get(run.id), runs);
      if (this.body.children[place] !== row.element)
        this.body.insertBefore(row.element, this.body.children[place] ?? null);
    });
    if (focused?.isConnected && !focused.hidden) focused.focus(); // a row that moves loses it
    this.table.hidden = runs.length === 0;
    this.more.hidden = visible.length === runs.length;
    this.more.textContent = `Show all ${runs.length} runs`;
    this.#showOrder();
  }

  /**
   * Update the progress of a run within an epoch.
   * @param {number} id
   * @param {number} share
   */
  progress(id, share) {
    this.rows.get(id)?.progress(share);
  }

  #head(name, { title, hint }) {
    const arrow = element("span", { class: "arrow", "aria-hidden": "true" });
    return element(
      "th",
      {
        role: "columnheader",
        scope: "col",
        class: name === "name" ? null : "number",
        dataset: { name },
      },
      element(
        "button",
        { type: "button", title: hint, onclick: () => this.#order(name) },
        title,
        arrow,
      ),
    );
  }

  /** Sort by a column, then the other way round, then newest first again. */
  #order(name) {
    const [first, second] = COLUMNS[name].descends ? [`-${name}`, name] : [name, `-${name}`];
    this.sort = { [first]: second, [second]: "" }[this.sort] ?? first;
    this.steering.sorted(this.sort);
    this.show(...this.shown);
  }

  #showOrder() {
    for (const head of this.heads) {
      const way = { [head.dataset.name]: "ascending", [`-${head.dataset.name}`]: "descending" };
      const now = way[this.sort];
      if (now) head.setAttribute("aria-sort", now);
      else head.removeAttribute("aria-sort");
      head.querySelector(".arrow").textContent = { ascending: "▲", descending: "▼" }[now] ?? "";
    }
  }

  /** Return the runs in the chosen order; those without a value come last. */
  #sorted(runs) {
    if (!this.sort) return runs;
    const { of } = COLUMNS[this.sort.replace("-", "")];
    const sign = this.sort.startsWith("-") ? -1 : 1;
    const compared = (a, b) =>
      typeof a === "string" ? a.localeCompare(b, undefined, { numeric: true }) : a - b;
    const known = runs.filter((run) => (of(run) ?? null) !== null);
    const others = runs.filter((run) => (of(run) ?? null) === null);
    return [...known.sort((a, b) => sign * compared(of(a), of(b))), ...others];
  }
}

class Row {
  constructor({ choose, steer, remove }) {
    const act = (what) => () => steer(this.run, what);
    const control = (label, symbol, onclick) =>
      button(label, onclick, { symbol, only: true, kind: "quiet" });
    this.box = element("input", {
      type: "checkbox",
      onchange: () => choose(this.run, this.box.checked),
    });
    this.mark = element("span", { class: "mark" });
    this.name = element("b", {});
    this.summary = element("span", { class: "hint" });
    this.results = RESULTS.map((name) =>
      element("td", {
        role: "cell",
        class: "number",
        dataset: { label: COLUMNS[name].title },
      }),
    );
    this.state = element("span", { class: "state" });
    this.bar = element("i", {});
    this.track = element(
      "div",
      { class: "progress", role: "progressbar", "aria-valuemin": 0, "aria-valuemax": 100 },
      this.bar,
    );
    this.buttons = {
      pause: control("Pause", "pause", act("pause")),
      resume: control("Resume", "play", act("resume")),
      step: control("Step", "step", act("step")),
      retry: control("Continue", "play", act("retry")),
      cancel: control("Cancel", "stop", act("cancel")),
      remove: control("Delete", "clear", () => remove(this.run)),
    };
    this.result = element("a", { class: "result" }, "Model");
    this.element = element(
      "tr",
      { role: "row" },
      element(
        "th",
        { role: "rowheader", scope: "row" },
        element(
          "label",
          { class: "chosen" },
          this.box,
          this.mark,
          element("span", { class: "what" }, this.name, this.summary),
        ),
      ),
      this.results,
      element("td", { role: "cell", class: "doing" }, this.state, this.track),
      element(
        "td",
        { role: "cell" },
        element("div", { class: "steer" }, this.result, Object.values(this.buttons)),
      ),
    );
  }

  show(run, color, runs) {
    const { state, wanted } = run;
    const name = isolated(run.name);
    this.run = run;
    this.name.textContent = name;
    this.box.checked = Boolean(color);
    this.box.setAttribute("aria-label", `Show ${name} on the charts`);
    fill(this.mark, swatch(color ?? "transparent"));
    this.summary.textContent = summaryOf(run);
    RESULTS.forEach((column, place) => {
      const { of, write } = COLUMNS[column];
      const value = of(run) ?? null;
      this.results[place].textContent = value === null ? "–" : write(value);
    });
    this.state.textContent = stateOf(run, runs);
    this.state.classList.toggle("bad", state === "failed");
    this.track.setAttribute("aria-label", `Progress of ${name}`);
    this.track.classList.toggle("over", ended(state));
    this.progress(state === "done" ? 1 : run.epoch / run.epochs);
    const paused = state === "paused" || (state === "running" && wanted === "pause");
    const shown = {
      pause: state === "running" && !paused,
      resume: paused,
      step: paused,
      retry: state === "failed",
      cancel: !ended(state),
      remove: ended(state),
    };
    const focused = Object.entries(this.buttons).find(
      ([, each]) => each === document.activeElement,
    )?.[0];
    for (const [what, each] of Object.entries(this.buttons)) {
      each.hidden = !shown[what];
      each.setAttribute("aria-label", `${each.title} ${name}`);
    }
    this.buttons.cancel.disabled = wanted === "cancel";
    this.result.hidden = run.model_id === null;
    this.result.href = link("models", { model: run.model_id });
    this.result.setAttribute("aria-label", `Model of ${name}`);
    const other = { pause: "resume", resume: "pause", step: "pause", cancel: "remove" }[focused];
    if (other && !shown[focused]) this.buttons[other].focus(); // near the pressed one
  }

  progress(share) {
    style(this.bar, { "--share": share });
    this.track.setAttribute("aria-valuenow", Math.round(100 * share));
  }
}
