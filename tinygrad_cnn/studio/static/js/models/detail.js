/* Model details: actions, training, confusion matrix. */

import { address } from "../api.js";
import { button, element, isolated } from "../dom.js";
import { grouped, number, percent, when } from "../numbers.js";
import { link } from "../state.js";
import { named, titled, valued } from "../train/words.js";
import { imageTiles, showCell } from "./cell.js";
import { confusionMatrix } from "./confusion.js";
import { showPython } from "./python.js";

/**
 * @param {any} model  summary, settings and report
 * @param {{promote: () => void, remove: () => void}} acts
 * @returns {HTMLElement}
 */
export function modelDetail(model, { promote, remove }) {
  const { id, promoted, drawn, report } = model;
  const open = (label, predicted) => showCell(model, label, predicted);
  const name = isolated(model.name);
  return element(
    "article",
    { class: "detail", "aria-label": name },
    element(
      "header",
      {},
      element("h2", { tabindex: "-1" }, name),
      element("p", { class: "hint" }, facts(model)),
    ),
    element(
      "div",
      { class: "others" },
      button(promoted ? "Promoted" : "Promote", promote, {
        kind: "primary",
        disabled: promoted || !drawn,
        title: drawn ? null : "The promoted model classifies drawings",
      }),
      button("Show Python", () => showPython(model), { symbol: "code" }),
      download("Weights", `models/${id}/weights`, `Download the weights of ${name}`),
      download("Settings", `models/${id}/settings`, `Download the settings of ${name}`),
      button("Delete", remove, {
        symbol: "clear",
        kind: "quiet",
        disabled: promoted,
        title: promoted ? "Promote another model before deleting this one" : null,
      }),
    ),
    figures(report),
    element(
      "div",
      { class: "pair" },
      confusionMatrix(report.confusion, model.classes, open),
      worstErrors(model),
    ),
    trained(model),
  );
}

function facts({ model, activation, created, run_id: run, parent_id: parent }) {
  return [
    [named(model), activation && named(activation)].filter(Boolean).join(", "),
    ` · ${when(created)}`,
    run === null
      ? null
      : [" · ", element("a", { href: link("train", { runs: run }) }, "its run")],
    parent === null
      ? null
      : [
          " · fine-tuned from ",
          element("a", { href: link("models", { model: parent }) }, `model ${parent}`),
        ],
  ];
}

function download(text, path, label) {
  const made = button(text, () => {}, { symbol: "download" });
  const anchor = element("a", {
    class: made.className,
    href: address(path),
    download: true,
    "aria-label": label,
  });
  anchor.append(...made.childNodes);
  return anchor;
}

function figures({ accuracy, images, loss, calibration_error: calibration, parameters }) {
  const one = (term, text, of = "") =>
    element(
      "div",
      {},
      element("dt", {}, term),
      element("dd", {}, text, of ? element("small", {}, ` ${of}`) : null),
    );
  return element(
    "dl",
    { class: "headline" },
    one("Accuracy", percent(accuracy, 2), `of ${grouped(images)}`),
    one("Loss", number(loss, 3)),
    one("Calibration error", percent(calibration)),
    one("Parameters", grouped(parameters)),
  );
}

function worstErrors({ id, classes, report: { worst } }) {
  return element(
    "section",
    { class: "worst", "aria-label": "Worst errors" },
    element("h3", {}, "Worst errors"),
    element(
      "p",
      { class: "hint" },
      worst.length
        ? "The true class, the predicted class and its probability."
        : "None: every test image is classified correctly.",
    ),
    imageTiles({ id, classes }, worst),
  );
}

/** Return the settings of a model by name, also of its optimizer and schedule, but none unset. */
export function settingsOf({ settings: { model, data, training } }) {
  const { optimizer_options: optimizer, schedule_options: schedule, ...rest } = training;
  const all = {
    model: model.name,
    data: data.name,
    ...model.options,
    ...rest,
    ...optimizer,
    ...schedule,
  };
  return Object.fromEntries(
    Object.entries(all).filter(([, value]) => value !== null && String(value) !== ""),
  );
}

function trained(model) {
  const rows = Object.entries(settingsOf(model)).map(([name, value]) =>
    element("div", {}, element("dt", {}, titled(name)), element("dd", {}, valued(value))),
  );
  return element(
    "section",
    { class: "trained", "aria-label": "Settings" },
    element("h3", {}, "How it was trained"),
    element("dl", {}, rows),
  );
}
