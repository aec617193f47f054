/* Model table: one row per model, with renaming in place; cards on a phone. */

import { patch } from "../api.js";
import { button, element, fill, isolated } from "../dom.js";
import { say } from "../message.js";
import { grouped, percent, when } from "../numbers.js";
import { write } from "../requests.js";
import { link } from "../state.js";
import { named } from "../train/words.js";

/** @typedef {import("../server.js").ModelSummary} ModelSummary */

/* Explicit roles: a table laid out as cards would lose them. */
const COLUMNS = ["Compare", "Name", "Model", "Data", "Accuracy", "Parameters", "Created"];
const NUMBERS = new Set(["Accuracy", "Parameters"]);

export class ModelTable {
  /**
   * @param {object} then
   * @param {(model: ModelSummary, chosen: boolean) => void} then.compare
   * @param {(model: ModelSummary) => void} then.look
   * @param {() => void} then.renamed
   */
  constructor({ compare, look, renamed }) {
    this.then = { compare, look, renamed };
    this.body = element("tbody", { role: "rowgroup" });
    const heads = COLUMNS.map((name) =>
      element(
        "th",
        { role: "columnheader", scope: "col", class: NUMBERS.has(name) ? "number" : null },
        element("span", { class: name === "Compare" ? "unseen" : null }, name),
      ),
    );
    this.element = element(
      "table",
      { class: "all-models", role: "table", "aria-label": "Models" },
      element("thead", { role: "rowgroup" }, element("tr", { role: "row" }, heads)),
      this.body,
    );
  }

  /**
   * @param {ModelSummary[]} models  the newest first
   * @param {number | null} shown  the selected model
   * @param {number[]} compared
   */
  show(models, shown, compared) {
    this.shown = [models, shown, compared];
    if (this.body.querySelector(".renaming")) return; // updated after renaming
    const focused = this.body.contains(document.activeElement) ? document.activeElement : null;
    const [row, place] = focused ? [focused.closest("tr").dataset.id, focused.dataset.place] : [];
    fill(
      this.body,
      models.map((model) => this.#row(model, shown, compared)),
    );
    if (row) this.body.querySelector(`tr[data-id="${row}"] [data-place="${place}"]`)?.focus();
  }

  #row(model, shown, compared) {
    const { id, name, promoted } = model;
    const box = element("input", {
      type: "checkbox",
      checked: compared.includes(id),
      "aria-label": `Compare ${isolated(name)}`,
      dataset: { place: "compare" },
      onchange: (event) => this.then.compare(model, event.target.checked),
    });
    const anchor = element(
      "a",
      {
        href: link("models", { model: id }),
        "aria-current": id === shown ? "true" : null,
        dataset: { place: "name" },
        onclick: (event) => this.#look(event, model),
      },
      isolated(name),
    );
    const title = element("th", { role: "rowheader", scope: "row", class: "name" });
    const pen = button(`Rename ${isolated(name)}`, () => this.#rename(title, model), {
      symbol: "pen",
      only: true,
      kind: "quiet",
      "data-place": "rename",
    });
    fill(title, anchor, pen, promoted ? element("span", { class: "promoted" }, "promoted") : null);
    const cell = (column, text) =>
      element(
        "td",
        { role: "cell", class: NUMBERS.has(column) ? "number" : null, dataset: { label: column } },
        text,
      );
    return element(
      "tr",
      { role: "row", dataset: { id }, class: id === shown ? "shown" : null },
      element("td", { role: "cell", class: "compare" }, box),
      title,
      cell(
        "Model",
        [named(model.model), model.activation && named(model.activation)]
          .filter(Boolean)
          .join(", "),
      ),
      cell("Data", named(model.data)),
      cell("Accuracy", percent(model.accuracy)),
      cell("Parameters", grouped(model.parameters)),
      cell("Created", when(model.created)),
    );
  }

  #look(event, model) {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return; // opens another tab or window
    event.preventDefault();
    this.then.look(model);
  }

  #rename(title, { id, name }) {
    const before = [...title.childNodes];
    const control = element("input", {
      type: "text",
      value: name,
      maxlength: 120,
      "aria-label": `New name of ${isolated(name)}`,
    });
    let over = false;
    const give = (stay) => {
      if (over) return; // removing the field blurs it, which calls this function again
      over = true;
      fill(title, before);
      if (stay) title.querySelector("button").focus();
      this.show(...this.shown);
    };
    const save = () => {
      const given = control.value.trim();
      give(true);
      if (!given || given === name) return;
      write(`model ${id}`, () => patch(`models/${id}`, { name: given }), {
        answered: () => {
          say(`Renamed to ${given}`);
          this.then.renamed();
        },
      });
    };
    control.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== "Escape") return;
      event.preventDefault(); // otherwise the key also presses the button focused next
      if (event.key === "Enter") save();
      else give(true);
    });
    // Otherwise pressing the button blurs the field, which removes it.
    const done = button("Save the name", save, {
      symbol: "check",
      only: true,
      kind: "quiet",
      onpointerdown: (event) => event.preventDefault(),
    });
    const leave = ({ relatedTarget: to, currentTarget: here }) => !here.contains(to) && give(false);
    fill(title, element("span", { class: "renaming", onfocusout: leave }, control, done));
    control.select();
  }
}
