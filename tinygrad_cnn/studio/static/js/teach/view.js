/* Teach view: label drawings, fine-tune a model on them, and compare the results. */

import { get } from "../api.js";
import { element } from "../dom.js";
import { listen } from "../events.js";
import { chosenModel } from "../models/drawn.js";
import { load } from "../requests.js";
import { fromLink, toLink } from "../state.js";
import { Drawings, lesson } from "./drawings.js";
import { Labeling } from "./label.js";
import { Lesson, LessonForm } from "./lesson.js";
import { Sketch, digitOf } from "./sketch.js";

/**
 * @param {HTMLElement} root
 * @param {import("../main.js").Context} context
 * @returns {() => void} unmounts the view
 */
export function mount(root, { parameters, remember, server, watch }) {
  let models = [];
  const drawings = new Drawings({ chosen: (drawing) => look(drawing, true), loaded: showForm });
  const model = chosenModel(parameters.get("model"));
  const sketch = new Sketch(
    { stored, drawn: (input) => remember({ input: input && toLink(input) }) },
    { input: fromLink(parameters.get("input")), model },
  );
  const labeling = new Labeling({ labeled, deleted }, model);
  let form = null; // until the server's choices are known
  const place = element("div", {});
  const outcome = new Lesson(() => loadingModels.want());

  root.append(
    element(
      "header",
      { class: "head" },
      element("h1", {}, "Teach"),
      element(
        "p",
        { class: "lead" },
        "Draw digits, say which they are, and fine-tune a model on them.",
      ),
    ),
    element(
      "div",
      { class: "classroom" },
      element("div", { class: "desk" }, sketch.element, labeling.element, drawings.element),
      element(
        "div",
        { class: "learning" },
        element(
          "section",
          { "aria-labelledby": "fine-tune" },
          element("h2", { id: "fine-tune" }, "Fine-tune"),
          place,
        ),
        outcome.element,
      ),
    ),
  );
  const loadingModels = load((_, signal) => get("models", {}, { signal }), (answer) => {
    ({ models } = answer);
    showForm();
  });
  const asked = load((id, signal) => get(`drawings/${id}`, {}, { signal }), (drawing) => look(drawing));
  const offer = (state) => {
    if (!state || form) return;
    form = new LessonForm(state, (run) => outcome.show(run));
    place.append(form.element);
    showForm();
  };
  offer(server());
  const stops = [
    watch(offer),
    listen(["drawing", "reset"], () => drawings.load()),
    listen("drawing", ({ id, drawing }) => drawing === null && gone(id)),
    listen(["model", "reset"], () => loadingModels.want()),
    drawings.stop,
    loadingModels.stop,
    asked.stop,
  ];
  arrive();
  outcome.load();

  function arrive() {
    const id = Number(parameters.get("drawing"));
    if (id) asked.want(id);
    drawings.load();
    loadingModels.want();
  }

  function showForm() {
    const { drawings: known, total } = drawings;
    const more = total > known.length ? ` among the newest ${known.length}` : "";
    const possible =
      known.some(({ label, held_back: heldBack }) => label !== null && !heldBack) || more !== "";
    form?.show(models, `${lesson(known)}${more}.`, possible);
  }

  function look(drawing, chosen = false) {
    asked.stop(); // a drawing of the link is late
    drawings.choose(drawing.id);
    labeling.show(drawing);
    remember({ drawing: drawing.id });
    if (!chosen) return;
    labeling.element.scrollIntoView({ block: "nearest" });
    labeling.title.focus({ preventScroll: true });
  }

  function stored() {
    drawings.load();
    if (labeling.drawing === null) return;
    labeling.hide();
    drawings.choose(null);
    remember({ drawing: null });
  }

  function labeled(drawing) {
    drawings.choose(drawing.id);
    drawings.load();
  }

  function gone(id) {
    sketch.gone(id);
    labeling.gone(id);
  }

  function deleted(focused) {
    remember({ drawing: null });
    drawings.choose(null);
    drawings.load();
    if (focused) drawings.heading.focus();
  }

  function pressed(event) {
    const digit = digitOf(event);
    if (digit !== null) sketch.label(digit);
  }

  document.addEventListener("keydown", pressed);

  return () => {
    document.removeEventListener("keydown", pressed);
    stops.forEach((stop) => stop());
    outcome.close();
    sketch.close();
    labeling.close();
  };
}
