/* Model comparison: metrics, accuracy per class, settings that differ. */

import { element, isolated } from "../dom.js";
import { grouped, number, percent, points, shareOf } from "../numbers.js";
import { titled, valued } from "../train/words.js";
import { settingsOf } from "./detail.js";

/**
 * @param {any} left  a model with settings and report
 * @param {any} right
 * @returns {HTMLElement}
 */
export function comparison(left, right) {
  const both = [left, right];
  const reports = both.map(({ report }) => report);
  const recalls = reports.map(({ confusion }) =>
    confusion.map((row, label) => ({
      right: row[label],
      total: row.reduce((sum, count) => sum + count, 0),
    })),
  );
  const row = (name, values, change = "", better = 0) =>
    element(
      "tr",
      {},
      element("th", { scope: "row" }, name),
      values.map((text) => element("td", { class: "number" }, text)),
      element(
        "td",
        { class: `number change ${better > 0 ? "better" : better < 0 ? "worse" : ""}` },
        change,
      ),
    );
  const shares = (name, [a, b]) =>
    row(name, [percent(a), percent(b)], points(a, b), Math.abs(a - b) < 5e-4 ? 0 : b - a);
  const recall = (label) => {
    const [a, b] = recalls.map((classes) => classes[label]);
    const [before, after] = [a, b].map(({ right, total }) => shareOf(right, total));
    if (!before.few && !after.few)
      return shares(left.classes[label], [a.right / a.total, b.right / b.total]);
    return row(left.classes[label], [before.text, after.text]); // too few to judge
  };
  const table = (name, rows) => {
    const column = (text) => element("th", { scope: "col", class: "number" }, text);
    const head = element(
      "tr",
      {},
      element("th", { scope: "col" }, name),
      both.map((model) => column(isolated(model.name))),
      column("Change"),
    );
    const caption = element(
      "caption",
      { class: "unseen" },
      `${name}: ${isolated(left.name)} and ${isolated(right.name)}`,
    );
    return element(
      "div",
      { class: "scroll", tabindex: "0", role: "group", "aria-label": name },
      element(
        "table",
        { class: "figures" },
        caption,
        element("thead", {}, head),
        element("tbody", {}, rows),
      ),
    );
  };
  const printed = (loss) => Number(loss.toPrecision(3));
  const figures = [
    shares(
      "Accuracy",
      reports.map(({ accuracy }) => accuracy),
    ),
    row(
      "Loss",
      reports.map(({ loss }) => number(loss, 3)),
      number(printed(right.report.loss) - printed(left.report.loss), 3),
      left.report.loss - right.report.loss,
    ),
    row(
      "Parameters",
      both.map(({ parameters }) => grouped(parameters)),
    ),
    different(both).map(([name, values]) => row(name, values)),
  ];
  return element(
    "section",
    { class: "comparison", "aria-labelledby": "comparison" },
    element("h2", { id: "comparison", tabindex: "-1" }, "Side by side"),
    element(
      "div",
      { class: "pair" },
      table("Metrics, and settings that differ", figures),
      String(left.classes) === String(right.classes) &&
        table(
          "Accuracy per class",
          left.classes.map((_, label) => recall(label)),
        ),
    ),
  );
}

/** Return the settings in which two models differ. */
function different(models) {
  const [left, right] = models.map(settingsOf);
  const names = [...new Set([...Object.keys(left), ...Object.keys(right)])];
  const said = (value) => (value === undefined ? "–" : valued(value));
  return names
    .filter((name) => String(left[name]) !== String(right[name]))
    .map((name) => [titled(name), [said(left[name]), said(right[name])]]);
}
