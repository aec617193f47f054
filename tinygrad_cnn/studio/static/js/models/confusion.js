/* Confusion matrix: a table of ten by ten, colored by the share of each row. */

import { element, style } from "../dom.js";
import { percent } from "../numbers.js";

/**
 * @param {number[][]} counts  counts[i][j]: the number of images of class i predicted as j
 * @param {string[]} classes
 * @returns {HTMLElement}
 */
export function confusionMatrix(counts, classes) {
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
        String(count),
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
      element("td", { class: "recall" }, percent(all ? row[label] / all : null, 0)),
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
      element("p", { class: "hint" }, "Rows: the true class. Columns: the predicted class."),
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
        element("tbody", {}, rows),
      ),
    ),
  );
}

/** Return the color strength of a cell in percent; few errors stay visible beside many correct ones. */
function strength(share, right) {
  return right ? 6 + 26 * share ** 3 : 10 + 36 * Math.min(1, Math.sqrt(share) * 1.6);
}
