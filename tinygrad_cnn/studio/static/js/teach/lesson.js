/* Fine-tuning: the form, progress, and results. */

import { get } from "../api.js";
import { button, element, field, fill, isolated, select, style } from "../dom.js";
import { listen } from "../events.js";
import { say } from "../message.js";
import { promote } from "../models/promote.js";
import { percent, points, shareOf } from "../numbers.js";
import { create, load, write } from "../requests.js";
import { link } from "../state.js";
import { cancelRun } from "../train/cancel.js";
import { Entries, numberField, numeric } from "../train/fields.js";
import { ended, outcomeOf, stateOf } from "../train/words.js";

/** The form that starts a fine-tuning. */
export class LessonForm {
  /**
   * @param {import("../server.js").ServerState} state
   * @param {(run: any) => void} onstart
   */
  constructor({ choices: { numbers, first_fine_tuning: first } }, onstart) {
    this.onstart = onstart;
    this.model = select([], null, () => {}, { name: "model" });
    this.words = element("p", { class: "amount" }, "\u00a0");
    this.submit = element("button", { type: "submit", class: "button primary back" }, "Fine-tune");
    this.element = element(
      "form",
      {
        class: "lesson-form",
        "aria-label": "Fine-tune",
        onsubmit: (event) => (event.preventDefault(), this.#start()),
      },
      this.words,
      field("Model", this.model),
      numberField(
        "replay",
        numbers,
        "training images mixed in, so that it does not forget them",
      ),
      numberField("epochs", numbers),
      numberField("lr", numbers),
      element("div", { class: "wide" }, this.submit),
    );
    this.entries = new Entries(this.element, "a fine-tuning");
    this.entries.follow(first);
  }

  /**
   * @param {import("../server.js").ModelSummary[]} models
   * @param {string} words  about the drawings available for training
   * @param {boolean} possible
   */
  show(models, words, possible) {
    const drawn = models.filter(({ drawn }) => drawn);
    fill(
      this.model,
      drawn.map(({ id, name, promoted }) =>
        element("option", { value: id }, `${isolated(name)}${promoted ? " (promoted)" : ""}`),
      ),
    );
    this.entries.follow({ model: drawn.find(({ promoted }) => promoted)?.id });
    this.words.textContent = words;
    this.submit.disabled = !possible || !drawn.length;
  }

  async #start() {
    this.entries.accept();
    const said = Object.fromEntries(
      Object.entries(this.entries.values).map(([name, text]) => [name, numeric(text)]),
    );
    this.submit.disabled = true;
    await write("the queue", () => create("runs/fine-tune", said), {
      answered: (run) => {
        say(`${isolated(run.name)} started`);
        this.onstart(run);
      },
      refused: (error) => this.entries.refuse(error),
    });
    this.submit.disabled = false;
  }
}

/** The latest fine-tuning: its progress, then its metrics before and after. */
export class Lesson {
  /** @param {() => void} onpromoted */
  constructor(onpromoted) {
    this.onpromoted = onpromoted;
    this.run = null;
    this.title = element("h2", {}, "Result");
    this.state = element("p", { class: "faint", role: "status" });
    this.bar = element("i", {});
    this.track = element(
      "div",
      {
        class: "progress",
        role: "progressbar",
        "aria-label": "Progress of the fine-tuning",
        "aria-valuemin": 0,
        "aria-valuemax": 100,
      },
      this.bar,
    );
    this.cancel = button("Cancel", () => this.#cancel(), { kind: "quiet" });
    this.watch = element("a", { class: "button quiet" }, "Show the run");
    this.promote = button("Promote", () => this.#promote(), { kind: "primary" });
    this.model = element("a", { class: "button quiet" }, "Show the model");
    this.body = element("tbody", {});
    const column = (text) => element("th", { scope: "col", class: "number" }, text);
    this.table = element(
      "table",
      { class: "figures" },
      element("caption", { class: "unseen" }, "Accuracy before and after the fine-tuning"),
      element(
        "thead",
        {},
        element(
          "tr",
          {},
          element("th", { scope: "col" }, "Accuracy on"),
          column("Before"),
          column("After"),
          column("Change"),
        ),
      ),
      this.body,
    );
    this.element = element(
      "section",
      { class: "outcome", hidden: true },
      this.title,
      this.state,
      this.track,
      this.table,
      element("div", { class: "others" }, this.promote, this.cancel, this.watch, this.model),
    );
    this.loading = load(askRun, (run) => run && this.show(run));
    this.looking = load((id, signal) => get(`models/${id}`, {}, { signal }), ({ promoted }) => {
      this.promote.disabled = promoted;
      this.promote.textContent = promoted ? "Promoted" : "Promote";
    }, {
      refused: () => (this.promote.hidden = this.model.hidden = true), // the model was deleted
    });
    this.stops = [
      this.loading.stop,
      this.looking.stop,
      listen("run", ({ id, run }) => {
        if (id !== this.run?.id) return;
        if (run) this.loading.since(() => this.show(run));
        else this.load();
      }),
      listen("reset", () => this.load()),
      listen("point", ({ run_id: id, epoch, batch, batches }) => {
        if (id === this.run?.id) this.#progress((epoch - 1 + batch / batches) / this.run.epochs);
      }),
    ];
  }

  /** Load and show a run by its id, or the latest fine-tuning. */
  load(id = null) {
    this.loading.want(id);
  }

  /** @param {any} run */
  show(run) {
    this.run = run;
    this.element.hidden = false;
    const over = ended(run.state);
    this.title.textContent = isolated(run.name);
    this.state.textContent = over ? outcomeOf(run) : stateOf(run);
    this.track.hidden = over;
    this.#progress(run.epoch / run.epochs);
    this.cancel.hidden = over;
    this.watch.href = link("train", { runs: run.id });
    this.model.hidden = this.promote.hidden = run.model_id === null;
    this.model.href = link("models", { model: run.model_id });
    const { before, after } = run;
    this.table.hidden = !before;
    fill(this.body, rowsOf(before, after));
    if (run.model_id !== null) this.looking.want(run.model_id);
  }

  /** Stop listening. */
  close() {
    this.stops.forEach((stop) => stop());
  }

  #progress(share) {
    style(this.bar, { "--share": share });
    this.track.setAttribute("aria-valuenow", Math.round(100 * share));
  }

  async #promote() {
    const { model_id: id, name } = this.run;
    if (!(await promote({ id, name }))) return;
    if (this.run.model_id === id) this.looking.want(id);
    this.onpromoted();
  }

  #cancel() {
    const { id } = this.run;
    cancelRun(this.run, { shown: () => this.run.id === id, answered: () => this.load(id) });
  }
}

/** Return a run, or the latest fine-tuning. */
async function askRun(id, signal) {
  if (id !== null) return get(`runs/${id}`, {}, { signal });
  const { runs } = await get("runs", {}, { signal });
  return runs.find(({ kind }) => kind === "fine-tune"); // the newest is the first
}

/** Return the rows of the test images and of the held-out drawings, which may be few. */
function rowsOf(before, after) {
  const count = before?.count ?? 0;
  const right = (measured) => Math.round(measured.drawings * count);
  const drawn = (measured) =>
    count && measured ? shareOf(right(measured), count) : { text: "–", range: "" };
  const cells = [before, after].map(drawn);
  const few = cells[0].few && after;
  const more = few ? right(after) - right(before) : 0;
  const counts = more ? `${Math.abs(more)} ${more > 0 ? "more" : "fewer"}` : "no change";
  return [
    row(
      "Test images",
      [before, after].map((measured) => percent(measured?.test)),
      change(before?.test, after?.test),
    ),
    row(
      `Held-out drawings (${count})`,
      cells.map(({ text, range }) => [text, range && element("small", {}, range)]),
      few ? [counts, "few"] : change(before?.drawings, after?.drawings),
      cells[0].few ? "few" : "",
    ),
  ];
}

/** Return the change between two shares as text, and whether it is better or worse. */
function change(before, after) {
  if (before === null || !Number.isFinite(after ?? NaN)) return ["–", ""];
  const judged = Math.abs(after - before) < 5e-4 ? "" : after > before ? "better" : "worse";
  return [`${points(before, after)} points`, judged];
}

function row(what, cells, [words, judged], kind = "") {
  return element(
    "tr",
    {},
    element("th", { scope: "row" }, what),
    cells.map((text) => element("td", { class: `number ${kind}` }, text)),
    element("td", { class: `number change ${judged}` }, words),
  );
}
