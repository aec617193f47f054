/* Draw view: a canvas, and the live prediction. */

import { post } from "../api.js";
import { Drawing } from "./drawing.js";
import { firstTraining } from "./first.js";
import { pickImage } from "./picker.js";
import { pictureOf, takePictures } from "./pictures.js";
import { surface } from "./surface.js";
import { toolbar } from "./tools.js";
import { softmax, verdict } from "./verdict.js";
import { element, fill, icon } from "../dom.js";
import { paintDigit } from "../maps.js";
import { failed, say } from "../message.js";
import { chosenModel } from "../models/drawn.js";
import { a } from "../numbers.js";
import { load } from "../requests.js";
import { refresh } from "../server.js";
import { fromLink, link, toLink } from "../state.js";
import { handOver } from "../teach/sketch.js";

const drawing = new Drawing(); // kept across views
let lastInput = null; // its network input, kept across views

/**
 * Show the view.
 *
 * @param {HTMLElement} root
 * @param {import("../main.js").Context} context
 * @returns {() => void} unmounts the view
 */
export function mount(root, { parameters, remember, server, watch }) {
  const given = fromLink(parameters.get("input"));
  const chosen = chosenModel(parameters.get("model"));
  let model = parameters.get("model"); // as far as links show it
  let temperature = Math.max(0.25, Math.min(4, Number(parameters.get("temperature")) || 1));
  let answer = null; // the prediction for the current drawing
  let shownInput = null;
  let first = null; // the panel of the first training

  const how = element(
    "p",
    { class: "unseen", id: "how-to-draw" },
    "With the keyboard: arrow keys move the pen, with Shift faster; Space puts it down or lifts it; Control Z takes a stroke back.",
  );
  const sheet = surface(drawing, { describedBy: how.id, changed });
  const tools = toolbar({
    drawing,
    brush: sheet.brush,
    change,
    upload: (file) => pictureOf(file).then(add, failed),
    pick: () =>
      pickImage(
        ({ input, label }) => (
          add({ kind: "digit", input }),
          say(`${a(label)} from the test images`)
        ),
      ),
  });
  const judged = verdict();
  const place = element("div", { class: "place" }, judged.root);
  const seen = element("canvas", {
    class: "digit",
    role: "img",
    "aria-label": "The network's input, 28 by 28: empty",
  });
  const see = element(
    "a",
    { class: "button primary", href: link("see") },
    "See why",
    icon("forward"),
  );
  const teach = element(
    "a",
    { class: "button back-link", href: link("teach"), onclick: teachIt },
    "Wrong? Teach it",
  );
  const reading = element("output", { class: "reading" });
  const slider = element("input", {
    id: "temperature",
    type: "range",
    min: -2,
    max: 2,
    step: 0.1,
    value: Math.log2(temperature),
    "aria-describedby": "temperature-hint",
    oninput: () => {
      temperature = 2 ** Number(slider.value);
      remember({ temperature: Math.abs(temperature - 1) < 0.01 ? null : temperature.toFixed(2) });
      showTemperature();
      showAnswer();
    },
  });

  fill(
    root,
    element(
      "div",
      { class: "left" },
      element("h1", {}, "Draw a digit"),
      sheet.root,
      how,
      tools.root,
    ),
    element(
      "section",
      { class: "right", "aria-label": "Prediction and input" },
      place,
      element("div", { class: "ways" }, see, teach),
      element(
        "div",
        { class: "beneath" },
        element(
          "figure",
          { class: "input" },
          seen,
          element(
            "figcaption",
            {},
            element("h2", {}, "Network input"),
            element(
              "p",
              { class: "faint" },
              "Your digit, its strokes redrawn for its size, scaled into 20 × 20 and centered by mass on 28 × 28, like every training image.",
            ),
          ),
        ),
        element(
          "div",
          { class: "temperature" },
          element("label", { for: slider.id }, "Temperature"),
          reading,
          slider,
          element(
            "p",
            { class: "hint", id: "temperature-hint" },
            "The logits are divided by it before the softmax: the higher, the more even the probabilities.",
          ),
        ),
      ),
    ),
  );

  const asking = load(ask, answered, { refused, live: true });

  async function ask(_, signal) {
    model = await chosen(signal);
    const { exact } = drawing;
    if (exact !== null) return post("predict/input", { input: exact, model }, { signal });
    return post("predict", await sheet.picture(), { signal, query: { model } });
  }

  function answered(given) {
    answer = given;
    showInput(given.input);
    showAnswer();
    if (!sheet.drawing()) remember({ input: toLink(given.input) });
  }

  function refused(error) {
    answer = null;
    showInput(drawing.exact);
    judged.empty(error.name === "blank" ? "The drawing is empty." : "");
    if (error.name === "no-model") refresh();
    else if (error.name !== "blank") failed(error);
  }

  /** Hand the full drawing over: a link contains only the network input. */
  function teachIt(event) {
    if (!drawing.blank && !event.ctrlKey && !event.metaKey && !event.shiftKey)
      handOver(drawing.visible, shownInput);
  }

  function showAnswer() {
    if (answer === null) return;
    const shares = softmax(answer.logits, temperature);
    judged.show(shares, answer.classes, answer.out_of_distribution);
  }

  function showTemperature() {
    reading.textContent = temperature.toFixed(2);
    slider.setAttribute("aria-valuetext", temperature.toFixed(2));
  }

  function showInput(input) {
    shownInput = input;
    paintDigit(seen, input);
    seen.setAttribute(
      "aria-label",
      `The network's input, 28 by 28: ${input ? "your digit" : "empty"}`,
    );
    const carried = input ? { input: toLink(input), model } : { model };
    see.href = link("see", carried);
    teach.href = link("teach", { ...carried, label: null });
  }

  /** Show the prediction, or the first training if there is no model yet. */
  function showPlace({ promoted, training }) {
    const id = promoted === null ? (training?.id ?? 0) : null;
    if (id === (first?.id ?? null)) return;
    first?.stop();
    const learned = first !== null && id === null;
    first = id === null ? null : { id, ...firstTraining(training) };
    fill(place, first?.root ?? judged.root);
    if (!learned) return;
    say("The model is trained. Draw a digit.");
    want();
  }

  function want() {
    if (first !== null) return; // there is no model yet
    if (!drawing.blank) return asking.want();
    asking.stop();
    answer = null;
    showInput(null);
    judged.empty("The prediction appears while you draw.");
  }

  function changed(finished) {
    want();
    if (finished) settled();
  }

  /** Change the drawing, but no stroke that is still being drawn. */
  function change(act) {
    sheet.end();
    act();
    sheet.show();
    want();
    settled();
  }

  function settled() {
    tools.update();
    if (drawing.blank) remember({ input: null });
  }

  function add(mark) {
    change(() => drawing.add(mark));
  }

  const leave = new AbortController();
  document.addEventListener("keydown", (event) => tools.key(event), { signal: leave.signal });
  const stops = [watch(showPlace), takePictures(root, (file) => pictureOf(file).then(add, failed))];

  showTemperature();
  if (given !== null && (drawing.blank || given !== lastInput))
    drawing.add({ kind: "digit", input: given });
  tools.update();
  judged.empty("The prediction appears while you draw.");
  showInput(null);
  if (server() !== null) showPlace(server());
  want();

  return () => {
    lastInput = shownInput;
    leave.abort();
    asking.stop();
    judged.stop();
    first?.stop();
    sheet.stop();
    stops.forEach((stop) => stop());
  };
}
