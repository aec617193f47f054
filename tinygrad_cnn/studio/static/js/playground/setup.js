/* Setup: the data, the network and the training of the playground, as in the URL. */

import { read } from "../state.js";

/**
 * @typedef {{x1: number, x2: number, label: 0 | 1}} Point
 * @typedef {object} Setup
 * @property {string} data a data set, or "own" for the added points alone
 * @property {number} noise
 * @property {number} seed of the points and of the initial weights
 * @property {Point[]} own points added by clicking
 * @property {string[]} features
 * @property {number[]} hidden the number of neurons in each hidden layer
 * @property {string} activation
 * @property {string} loss
 * @property {string} penalty "" for none
 * @property {number} rate of the penalty
 * @property {number} lr
 * @property {number} batch
 * @property {string} pace steps per update of the page
 * @property {string} show what edges show: weights or gradients
 */

/** The setup that an address without parameters means. */
export const DEFAULTS = {
  data: "circles",
  noise: 0.1,
  seed: 1,
  own: [],
  features: ["x1", "x2"],
  hidden: [4, 2],
  activation: "tanh",
  loss: "squared_error",
  penalty: "",
  rate: 0.01,
  lr: 0.3,
  batch: 10,
  pace: "epoch",
  show: "weights",
};

export const RATES = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10];
export const PACES = { batch: "One batch", epoch: "One epoch", fast: "Five epochs" };
export const SHOWN = { weights: "Weights", gradients: "Gradients" };
export const LARGEST_BATCH = 100;
const MOST_OWN = 100;
const MOST_NOISE = 0.5;
const CELLS = 100; // own points are kept to a hundredth

/**
 * Return the setup of the address; what is not valid there is the default.
 *
 * @param {any} choices of the server
 * @returns {Setup}
 */
export function setupOf(choices) {
  const { parameters } = read();
  const given = (name) => parameters.get(name);
  const among = (name, allowed) => (allowed.includes(given(name)) ? given(name) : DEFAULTS[name]);
  const numberIn = (name, low, high) => {
    const value = given(name) === null ? NaN : Number(given(name));
    return value >= low && value <= high ? value : DEFAULTS[name];
  };
  const wholeIn = (name, low, high) => Math.round(numberIn(name, low, high));
  const features = (given("features") ?? "").split(",").filter((name) => name in choices.features);
  const hidden = given("hidden")
    ?.split(",")
    .filter((text) => text !== "")
    .map(Number);
  const fits =
    hidden?.length <= choices.layers &&
    hidden.every((size) => Number.isInteger(size) && size >= 1 && size <= choices.neurons);
  return {
    data: among("data", [...Object.keys(choices.data_sets), "own"]),
    noise: numberIn("noise", 0, MOST_NOISE),
    seed: wholeIn("seed", 0, 2 ** 31 - 1),
    own: pointsOf(given("own") ?? "", choices.reach),
    features: features.length ? [...new Set(features)] : DEFAULTS.features,
    hidden: fits ? hidden : DEFAULTS.hidden,
    activation: among("activation", Object.keys(choices.activations)),
    loss: among("loss", Object.keys(choices.losses)),
    penalty: among("penalty", Object.keys(choices.penalties)),
    rate: numberIn("rate", 0.001, 10),
    lr: numberIn("lr", 0.001, 10),
    batch: wholeIn("batch", 1, LARGEST_BATCH),
    pace: among("pace", Object.keys(PACES)),
    show: among("show", Object.keys(SHOWN)),
  };
}

/**
 * Return the parameters of the address for a setup; `null` for defaults.
 *
 * @param {Setup} setup
 * @returns {Record<string, string | number | null>}
 */
export function addressOf(setup) {
  const written = {
    ...setup,
    own: setup.own.map(textOf).join("_"),
    features: setup.features.join(","),
    hidden: setup.hidden.join(",") || ",",
  };
  for (const [name, value] of Object.entries(DEFAULTS)) {
    if (written[name] === (Array.isArray(value) ? value.join(",") : value)) written[name] = null;
  }
  return written;
}

/**
 * Return whether another own point fits into the address.
 *
 * @param {Setup} setup
 * @returns {boolean}
 */
export function hasRoom({ own }) {
  return own.length < MOST_OWN;
}

/**
 * Return a point as the address keeps it.
 *
 * @param {number} x1
 * @param {number} x2
 * @param {number} label
 * @returns {Point}
 */
export function pointAt(x1, x2, label) {
  return { x1: Math.round(x1 * CELLS) / CELLS, x2: Math.round(x2 * CELLS) / CELLS, label };
}

function textOf({ x1, x2, label }) {
  return [Math.round(x1 * CELLS), Math.round(x2 * CELLS), label].join(".");
}

function pointsOf(text, reach) {
  const points = [];
  for (const each of text.split("_").slice(0, MOST_OWN)) {
    const found = /^(-?\d{1,4})\.(-?\d{1,4})\.([01])$/.exec(each);
    const point = found && pointAt(found[1] / CELLS, found[2] / CELLS, Number(found[3]));
    if (point && Math.abs(point.x1) <= reach && Math.abs(point.x2) <= reach) points.push(point);
  }
  return points;
}
