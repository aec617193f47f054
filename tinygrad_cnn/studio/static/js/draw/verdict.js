/* Prediction: the most probable digit, and the probabilities of all ten. */

import { element, style } from "../dom.js";
import { say } from "../message.js";
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
 * Return the prediction panel, which has its full size from the start.
 *
 * @returns {{root: HTMLElement, show: (probabilities: number[], classes: string[]) => void,
 *   empty: (words: string) => void, stop: () => void}}
 */
export function verdict() {
  const answer = element("output", { class: "answer", "aria-label": "Prediction" }, "–");
  const words = element("p", { class: "sureness" }, "");
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
    element("div", { class: "said" }, answer, words),
    bars,
  );
  answer.setAttribute("aria-live", "off"); // announced when settled, not at every stroke
  let timer = null;

  function show(probabilities, classes) {
    const order = probabilities
      .map((_, place) => place)
      .sort((a, b) => probabilities[b] - probabilities[a]);
    const [first] = order;
    root.classList.remove("empty");
    answer.textContent = classes[first];
    words.textContent = sentence(probabilities, classes, order);
    rows.forEach(({ row, share }, place) => {
      style(row, { "--share": probabilities[place].toFixed(4) });
      row.classList.toggle("most", place === first);
      share.textContent = percent(probabilities[place]);
    });
    clearTimeout(timer);
    timer = setTimeout(() => say(`${classes[first]}. ${words.textContent}`), SETTLED);
  }

  function empty(text) {
    clearTimeout(timer);
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

function sentence(probabilities, classes, [first, second]) {
  const share = percent(probabilities[first]).replace("> ", "more than ");
  if (probabilities[first] >= 0.9) return `Confident, with ${share}.`;
  if (probabilities[first] - probabilities[second] < 0.25) {
    return `Undecided between ${classes[first]} and ${classes[second]}.`;
  }
  return `Most likely, with ${share}.`;
}
