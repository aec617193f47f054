/* List of runs: state, selection for the chart, and controls. */

import { button, element, fill, style } from "../dom.js";
import { swatch } from "../chart.js";
import { duration, percent, when } from "../numbers.js";
import { link } from "../state.js";
import { ended, stateOf, summaryOf } from "./words.js";

const SHOWN = 8; // finished runs shown at first

/**
 * @typedef {object} Steering
 * @property {(run: any, chosen: boolean) => void} choose  adds a run to the chart, or removes it
 * @property {(run: any, what: "pause" | "resume" | "step" | "cancel") => void} steer
 * @property {(run: any) => void} remove
 */

export class RunList {
  /** @param {Steering} steering */
  constructor(steering) {
    this.steering = steering;
    this.rows = new Map();
    this.all = false;
    this.list = element("ul", { class: "runs", "aria-label": "Runs" });
    this.more = button("", () => ((this.all = true), this.show(...this.shown)), { kind: "quiet" });
    this.element = element("div", {}, this.list, this.more);
  }

  /**
   * Show runs; rows that remain keep the keyboard focus.
   * @param {any[]} runs  newest first
   * @param {Map<number, string>} colors  of the runs on the chart
   */
  show(runs, colors) {
    this.shown = [runs, colors];
    let room = SHOWN;
    const visible = runs.filter(
      (run) => this.all || !ended(run.state) || colors.has(run.id) || room-- > 0,
    );
    const here = new Set(visible.map(({ id }) => id));
    for (const [id, row] of this.rows) {
      if (here.has(id)) continue;
      row.element.remove();
      this.rows.delete(id);
    }
    visible.forEach((run, place) => {
      if (!this.rows.has(run.id)) this.rows.set(run.id, new Row(this.steering));
      const row = this.rows.get(run.id);
      row.show(run, colors.get(run.id));
      if (this.list.children[place] !== row.element)
        this.list.insertBefore(row.element, this.list.children[place] ?? null);
    });
    this.more.hidden = visible.length === runs.length;
    this.more.textContent = `Show all ${runs.length} runs`;
  }

  /**
   * Update the progress of a run within an epoch.
   * @param {number} id
   * @param {number} share
   */
  progress(id, share) {
    this.rows.get(id)?.progress(share);
  }
}

class Row {
  constructor({ choose, steer, remove }) {
    const act = (what) => () => steer(this.run, what);
    this.box = element("input", {
      type: "checkbox",
      onchange: () => choose(this.run, this.box.checked),
    });
    this.mark = element("span", { class: "mark" });
    this.name = element("b", {});
    this.summary = element("span", { class: "hint" });
    this.state = element("span", { class: "state" });
    this.bar = element("i", {});
    this.track = element(
      "div",
      { class: "progress", role: "progressbar", "aria-valuemin": 0, "aria-valuemax": 100 },
      this.bar,
    );
    this.buttons = {
      pause: button("Pause", act("pause"), { symbol: "pause", only: true, kind: "quiet" }),
      resume: button("Resume", act("resume"), { symbol: "play", only: true, kind: "quiet" }),
      step: button("Step", act("step"), { symbol: "step", only: true, kind: "quiet" }),
      cancel: button("Cancel", act("cancel"), { symbol: "stop", only: true, kind: "quiet" }),
      remove: button("Delete", () => remove(this.run), {
        symbol: "clear",
        only: true,
        kind: "quiet",
      }),
    };
    this.result = element("a", { class: "result" }, "Model");
    this.element = element(
      "li",
      {},
      element(
        "label",
        { class: "chosen" },
        this.box,
        this.mark,
        element("span", { class: "what" }, this.name, this.summary),
      ),
      element("div", { class: "doing" }, this.state, this.track),
      element("div", { class: "steer" }, this.result, Object.values(this.buttons)),
    );
  }

  show(run, color) {
    const { name, state, wanted } = run;
    this.run = run;
    this.name.textContent = name;
    this.box.checked = Boolean(color);
    this.box.setAttribute("aria-label", `Show ${name} on the charts`);
    fill(this.mark, swatch(color ?? "transparent"));
    this.summary.textContent = summaryOf(run);
    this.state.textContent = ended(state) ? outcome(run) : stateOf(run);
    this.state.classList.toggle("bad", state === "failed");
    this.track.setAttribute("aria-label", `Progress of ${name}`);
    this.track.classList.toggle("over", ended(state));
    this.progress(state === "done" ? 1 : run.epoch / run.epochs);
    const paused = state === "paused" || (state === "running" && wanted === "pause");
    const shown = {
      pause: state === "running" && !paused,
      resume: paused,
      step: paused,
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
    if (other && !shown[focused]) this.buttons[other].focus(); // the pressed button is gone: keep the focus near it
  }

  progress(share) {
    style(this.bar, { "--share": share });
    this.track.setAttribute("aria-valuenow", Math.round(100 * share));
  }
}

/** Return the result of a run, and its time. */
function outcome(run) {
  if (run.error) return `Failed: ${run.error}`;
  const took =
    run.started && run.ended
      ? ` in ${duration((new Date(run.ended) - new Date(run.started)) / 1000)}`
      : "";
  const accuracy = run.after ? `, ${percent(run.after.test)}` : "";
  return `${stateOf(run)}${took}${accuracy}, ${when(run.ended ?? run.created)}`;
}
