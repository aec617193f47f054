/* Confusion matrix: a table of ten by ten, colored by the share of each row. */

import { element, style } from "../dom.js";
import { percent } from "../numbers.js";

/**
 * @param {number[][]} counts  counts[i][j]: the number of digits i predicted as j
 * @returns {HTMLElement}
 */
export function confusionMatrix(counts) {
  const digits = counts.map((_, digit) => digit);
  const head = digits.map((digit) =>
    element(
      "th",
      { scope: "col" },
      element("span", { class: "unseen" }, "predicted "),
      String(digit),
    ),
  );
  const rows = counts.map((row, digit) => {
    const all = row.reduce((sum, count) => sum + count, 0);
    const cells = row.map((count, taken) => {
      const made = element(
        "td",
        { class: taken === digit ? "right" : count ? "wrong" : "none" },
        String(count),
      );
      if (count)
        style(made, { "--share": `${Math.round(strength(count / all, taken === digit))}%` });
      return made;
    });
    return element(
      "tr",
      {},
      element("th", { scope: "row" }, String(digit)),
      cells,
      element("td", { class: "recall" }, percent(all ? row[digit] / all : null, 0)),
    );
  });
  const corner = element("th", { scope: "col" }, element("span", { class: "unseen" }, "Digit"));
  return element(
    "figure",
    { class: "confusion" },
    element(
      "figcaption",
      {},
      element("h3", {}, "Confusion matrix"),
      element("p", { class: "hint" }, "Rows: the true digit. Columns: the predicted digit."),
    ),
    element(
      "div",
      { class: "scroll", tabindex: "0", role: "group", "aria-label": "Confusion matrix" },
      element(
        "table",
        {},
        element(
          "caption",
          { class: "unseen" },
          "Confusion matrix: counts by true and predicted digit",
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
        element("tbody", {}, rows),
      ),
    ),
  );
}

/** Return the color strength of a cell in percent; few errors stay visible beside many correct ones. */
function strength(share, right) {
  return right ? 6 + 26 * share ** 3 : 10 + 36 * Math.min(1, Math.sqrt(share) * 1.6);
}
