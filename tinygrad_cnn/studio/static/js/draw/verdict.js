/* Prediction: the most probable digit, and the probabilities of all ten. */

import { button, element, style } from "../dom.js";
import { dialog, say } from "../message.js";
import { percent } from "../numbers.js";

const SETTLED = 800; // milliseconds without a change before screen readers announce it

/**
 * Return the probabilities of logits at a temperature: softmax(z / T).
 *
 * @param {number[]} logits
 * @param {number} temperature
 * @returns {number[]}
 */
export function softmax(logits, temperature) {
  const most = Math.max(...logits);
  const powers = logits.map((logit) => Math.exp((logit - most) / temperature));
  const sum = powers.reduce((total, power) => total + power, 0);
  return powers.map((power) => power / sum);
}

/**
 * @typedef {{score: number, threshold: number, false_positive_rate: number}} OutOfDistribution
 *   a drawing with a score above the threshold is unlike the training images
 */

/**
 * Return the prediction panel, which has its full size from the start.
 *
 * @returns {{root: HTMLElement, show: (probabilities: number[], classes: string[],
 *   distant: OutOfDistribution | null) => void, empty: (words: string) => void,
 *   stop: () => void}} `distant` is `null` for models that cannot tell
 */
export function verdict() {
  const answer = element("output", { class: "answer", "aria-label": "Prediction" }, "–");
  const words = element("p", { class: "sureness" }, "");
  const why = button("Why?", () => explain(unlike), { kind: "quiet", hidden: true });
  const rows = [..."0123456789"].map((name) => {
    const share = element("span", { class: "share" }, "–");
    const row = element(
      "li",
      {},
      element("span", { class: "name" }, name),
      element("span", { class: "track", "aria-hidden": "true" }, element("i")),
      share,
    );
    return { row, share };
  });
  const bars = element(
    "ul",
    { class: "bars", "aria-label": "Probabilities" },
    rows.map(({ row }) => row),
  );
  const root = element(
    "div",
    { class: "verdict" },
    element("div", { class: "said" }, answer, element("div", { class: "words" }, words, why)),
    bars,
  );
  answer.setAttribute("aria-live", "off"); // announced when settled, not at every stroke
  let timer = null;
  let unlike = null; // the scores, if the drawing is unlike the training images

  function show(probabilities, classes, distant) {
    const order = probabilities
      .map((_, place) => place)
      .sort((a, b) => probabilities[b] - probabilities[a]);
    const [first] = order;
    root.classList.remove("empty");
    answer.textContent = classes[first];
    mark(distant !== null && distant.score > distant.threshold ? distant : null);
    words.textContent = unlike
      ? "Unlike anything it learned from."
      : sentence(probabilities, classes, order);
    rows.forEach(({ row, share }, place) => {
      style(row, { "--share": probabilities[place].toFixed(4) });
      row.classList.toggle("most", place === first);
      share.textContent = percent(probabilities[place]);
    });
    clearTimeout(timer);
    timer = setTimeout(() => say(`${classes[first]}. ${words.textContent}`), SETTLED);
  }

  function mark(scores) {
    unlike = scores;
    why.hidden = unlike === null;
    root.classList.toggle("unlike", unlike !== null);
  }

  function empty(text) {
    clearTimeout(timer);
    mark(null);
    root.classList.add("empty");
    answer.textContent = "–";
    words.textContent = text;
    rows.forEach(({ row, share }) => {
      style(row, { "--share": 0 });
      row.classList.remove("most");
      share.textContent = "–";
    });
  }

  return { root, show, empty, stop: () => clearTimeout(timer) };
}

function explain({ score, threshold, false_positive_rate: rate }) {
  dialog(
    "Why a drawing that is not a digit gets a probability",
    element(
      "p",
      { class: "reason" },
      "The softmax shares 100 % among the ten digits, whatever the drawing: no share is left for “none of them”. So an X can be a 4, with 95 %.",
    ),
    element(
      "p",
      { class: "reason" },
      "Another number tells more: how far the features that the network computes of your drawing are from those of its training images, the out-of-distribution score.",
    ),
    element(
      "p",
      {},
      `It is ${score.toFixed(1)} here, above the threshold of ${threshold.toFixed(1)}. Only ${percent(rate)} of the test images, all of them digits, are so far away. About half of the signs that are not digits are noticed: the others have the features of digits.`,
    ),
  );
}

function sentence(probabilities, classes, [first, second]) {
  const share = percent(probabilities[first]).replace("> ", "more than ");
  if (probabilities[first] >= 0.9) return `Confident, with ${share}.`;
  if (probabilities[first] - probabilities[second] < 0.25) {
    return `Undecided between ${classes[first]} and ${classes[second]}.`;
  }
  return `Most likely, with ${share}.`;
}
