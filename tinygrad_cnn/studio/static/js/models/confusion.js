/* Confusion matrix: a table of ten by ten, colored by the share of each row; each cell opens. */

import { element, style } from "../dom.js";
import { a, counted, shareOf, wordy } from "../numbers.js";

const MOVES = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };

/**
 * @param {number[][]} counts  counts[i][j]: the number of images of class i predicted as j
 * @param {string[]} classes
 * @param {(label: number, predicted: number) => void} open  called with a pressed cell
 * @returns {HTMLElement}
 */
export function confusionMatrix(counts, classes, open) {
  const head = classes.map((name) =>
    element(
      "th",
      { scope: "col" },
      element("span", { class: "unseen" }, "predicted "),
      name,
    ),
  );
  const rows = counts.map((row, label) => {
    const all = row.reduce((sum, count) => sum + count, 0);
    const cells = row.map((count, taken) => {
      const made = element(
        "td",
        { class: taken === label ? "right" : count ? "wrong" : "none" },
        element(
          "button",
          {
            type: "button",
            tabindex: label || taken ? -1 : 0, // one stop: arrow keys move within
            "aria-label": `${a(classes[label])} predicted as ${a(classes[taken])}: ${counted(count, "image")}`,
            onclick: () => open(label, taken),
          },
          String(count),
        ),
      );
      if (count)
        style(made, { "--share": `${Math.round(strength(count / all, taken === label))}%` });
      return made;
    });
    return element(
      "tr",
      {},
      element("th", { scope: "row" }, classes[label]),
      cells,
      recall(row[label], all),
    );
  });
  const corner = element("th", { scope: "col" }, element("span", { class: "unseen" }, "Class"));
  return element(
    "figure",
    { class: "confusion" },
    element(
      "figcaption",
      {},
      element("h3", {}, "Confusion matrix"),
      element(
        "p",
        { class: "hint" },
        "Rows: the true class. Columns: the predicted class. Press a cell to see its images.",
      ),
    ),
    element(
      "div",
      { class: "scroll", tabindex: "0", role: "group", "aria-label": "Confusion matrix" },
      element(
        "table",
        { class: wordy(classes) },
        element(
          "caption",
          { class: "unseen" },
          "Confusion matrix: counts by true and predicted class",
        ),
        element(
          "thead",
          {},
          element(
            "tr",
            {},
            corner,
            head,
            element("th", { scope: "col", class: "recall" }, "accuracy"),
          ),
        ),
        element("tbody", { onkeydown: move }, rows),
      ),
    ),
  );
}

/** Return the accuracy of a digit; of few images it is a count. */
function recall(right, all) {
  const { text, range, few } = shareOf(right, all, 0);
  const title = range && `${range} with a confidence of 95 %`;
  return element("td", { class: few ? "recall few" : "recall", title }, text);
}

/** Move the focus with the arrow keys. */
function move(event) {
  const [down, right] = MOVES[event.key] ?? [];
  const from = event.target.closest("td");
  if (down === undefined || !from) return;
  event.preventDefault();
  const rows = [...event.currentTarget.rows];
  const to = rows[from.parentElement.sectionRowIndex + down]?.cells[from.cellIndex + right];
  const button = to?.querySelector("button");
  if (!button) return;
  event.target.tabIndex = -1;
  button.tabIndex = 0;
  button.focus();
}

/** Return the color strength of a cell in percent; few errors stay visible beside many correct ones. */
function strength(share, right) {
  return right ? 6 + 26 * share ** 3 : 10 + 36 * Math.min(1, Math.sqrt(share) * 1.6);
}
