/* Written: the equations of one step with numbers; what is printed computes to what is printed. */

import { number, raised } from "../numbers.js";

const RESULTS = [3, 4, 2, 1]; // significant digits of a result: more or fewer next to a boundary
const OPERANDS = [3, 4, 5, 6, 7, 8, 9, 12]; // of the numbers that it is computed from

/** @typedef {any} Backprop one step, as the server describes it */

const lowered = (whole) => [...String(whole)].map((digit) => "₀₁₂₃₄₅₆₇₈₉"[digit]).join("");

/**
 * Return the symbol of an entry, such as w²₁₃; layers and indices count from 1.
 *
 * @param {string} letter
 * @param {number} layer
 * @param {...number} indices from 0
 * @returns {string}
 */
export function symbol(letter, layer, ...indices) {
  return `${letter}${raised(layer)}${indices.map((index) => lowered(index + 1)).join("")}`;
}

/**
 * Return the symbol of what comes out of a layer: a feature, a hidden neuron, or the output.
 *
 * @param {number} layer
 * @param {number} unit
 * @param {{layers: number, features: string[]}} names `layers`: with weights
 * @returns {string}
 */
export function outputName(layer, unit, { layers, features }) {
  if (layer === 0) return features[unit];
  return layer === layers ? "Y" : symbol("α", layer, unit);
}

/** Return z of a neuron for the first point, written out. */
export function sumLine({ layers }, layer, unit, names) {
  const { inputs, z, parameters } = layers[layer - 1];
  const weights = parameters.weight[unit];
  const pairs = weights.map((weight, input) => [weight, inputs[0][input]]);
  const bias = parameters.bias[unit];
  const symbols = weights.map(
    (_, input) => `${symbol("w", layer, unit, input)}·${outputName(layer - 1, input, names)}`,
  );
  return line(
    `${symbol("z", layer, unit)} = ${[...symbols, symbol("b", layer, unit)].join(" + ")}`,
    [...pairs.flat(), bias],
    (all) => products(all.slice(0, -1)) + all.at(-1),
    z[0][unit],
    (all) => joined([...productTexts(all.slice(0, -1)), all.at(-1)]),
  );
}

/** Return the activation of a neuron for the first point, written out. */
export function outputLine({ layers }, layer, unit, names) {
  const { z, output } = layers[layer - 1];
  const name = outputName(layer, unit, names);
  const letter = layer === names.layers ? "σ" : "φ";
  const symbolic = `${letter}(${symbol("z", layer, unit)})`;
  return `${name} = ${symbolic} = ${letter}(${number(z[0][unit], 5)}) = ${number(output[0][unit], 3)}`;
}

/** Return the loss of the first point, written out. */
export function lossLine({ layers, point: { label } }, squared) {
  const output = layers.at(-1).output[0][0];
  if (squared)
    return line(
      "E = ½ (Y − y)²",
      [output],
      ([y]) => (y - label) ** 2 / 2,
      (output - label) ** 2 / 2,
      ([y]) => `½·(${y} − ${label})²`,
    );
  const share = label ? output : 1 - output;
  return line(
    label ? "E = −ln Y" : "E = −ln (1 − Y)",
    [output],
    ([y]) => -Math.log(label ? y : 1 - y),
    -Math.log(share),
    ([y]) => (label ? `−ln ${y}` : `−ln (1 − ${y})`),
  );
}

/** Return the gradient of z of a neuron for the first point, written out. */
export function deltaLine({ layers, point: { label } }, layer, unit) {
  const { delta, flowing, derivative, output } = layers[layer - 1];
  const count = delta.length; // the loss is an average
  const left = symbol("δ", layer, unit);
  const value = delta[0][unit];
  const slope = derivative?.[0][unit];
  const shared = count > 1 ? ` / ${count}` : "";
  if (layer === layers.length) {
    const known = derivative !== null;
    const symbolic = known
      ? `(Y − y) · σ′(${symbol("z", layer, unit)})`
      : shared
        ? "(Y − y)"
        : "Y − y";
    return line(
      `${left} = ${symbolic}${shared}`,
      known ? [output[0][unit], slope] : [output[0][unit]],
      ([y, s = 1]) => ((y - label) * s) / count,
      value,
      ([y, s]) =>
        `${known ? `(${y} − ${label}) · ${s}` : `${shared ? `(${y} − ${label})` : `${y} − ${label}`}`}${shared}`,
    );
  }
  const above = layers[layer];
  const pairs = above.parameters.weight.map((row, over) => [row[unit], above.delta[0][over]]);
  const symbols = pairs.map(
    (_, over) => `${symbol("w", layer + 1, over, unit)}·${symbol("δ", layer + 1, over)}`,
  );
  const bracket = (text) => (pairs.length > 1 ? `(${text})` : text);
  if (flowing === null || slope === undefined) return "";
  return line(
    `${left} = ${bracket(symbols.join(" + "))} · φ′(${symbol("z", layer, unit)})`,
    [...pairs.flat(), slope],
    (all) => products(all.slice(0, -1)) * all.at(-1),
    value,
    (all) => `${bracket(joined(productTexts(all.slice(0, -1))))} · ${all.at(-1)}`,
  );
}

/** Return the gradient of a weight, or of a bias for input −1, written out. */
export function gradientLine({ layers }, layer, unit, input, names) {
  const { delta, inputs, gradients } = layers[layer - 1];
  const bias = input < 0;
  const left = bias ? `∂E/∂${symbol("b", layer, unit)}` : `∂E/∂${symbol("w", layer, unit, input)}`;
  const value = bias ? gradients.bias[unit] : gradients.weight[unit][input];
  const right = bias
    ? symbol("δ", layer, unit)
    : `${symbol("δ", layer, unit)} · ${outputName(layer - 1, input, names)}`;
  if (delta.length > 1)
    return `${left} = Σ over ${delta.length} points of ${right} = ${number(value, 3)}`;
  if (bias) return `${left} = ${right} = ${number(value, 3)}`;
  return line(
    `${left} = ${right}`,
    [delta[0][unit], inputs[0][input]],
    ([d, x]) => d * x,
    value,
    ([d, x]) => `${d} · ${signed(x)}`,
  );
}

/** Return the update of a weight, or of a bias for input −1, written out. */
export function updateLine({ layers }, layer, unit, input, lr) {
  const { parameters, gradients, penalties, updated } = layers[layer - 1];
  const of = (part) => (input < 0 ? part.bias[unit] : part.weight[unit][input]);
  const left = input < 0 ? symbol("b", layer, unit) : symbol("w", layer, unit, input);
  const penalty = of(penalties);
  return line(
    `${left} ←`,
    [of(parameters), of(gradients), ...(penalty ? [penalty] : [])],
    ([w, g, p = 0]) => w - lr * (g + p),
    of(updated),
    ([w, g, p]) => `${w} − ${lr} · ${p ? `(${joined([g, p])})` : signed(g)}`,
    true,
  );
}

/**
 * Return what a neuron or a weight computes for the marked point, in lines; `null` if that is not
 * known.
 *
 * @param {import("./diagram.js").Subject | null} subject
 * @param {any} about as for the inspector
 * @returns {string[] | null}
 */
export function readingOf(subject, { update, step, names }) {
  const { layer, unit, input } = subject ?? { layer: 0 };
  const known = layer > 0 && step?.layers.length === names.layers && step.layers[layer - 1];
  if (!known || !(unit < known.z[0].length)) return null;
  const delta = deltaLine(step, layer, unit);
  if (input === undefined)
    return [sumLine(step, layer, unit, names), outputLine(step, layer, unit, names), delta];
  const of = (part) => (input < 0 ? part.bias[unit] : part.weight[unit]?.[input]);
  const name =
    input < 0
      ? symbol("b", layer, unit)
      : `${symbol("w", layer, unit, input)} from ${outputName(layer - 1, input, names)}`;
  const { parameters, gradients } = update;
  const value = number(of(parameters[layer - 1]), 3);
  const gradient = gradients ? number(of(gradients[layer - 1]), 3) : "–";
  return [
    `${name}: ${value}; gradient of all points: ${gradient}`,
    gradientLine(step, layer, unit, input, names),
    delta,
  ];
}

/** Return "left = numbers = result", with as many digits as the printed result needs. */
function line(left, numbers, compute, value, write, same = false) {
  const text = (parts, result) => `${left} ${same ? "" : "= "}${write(parts)} = ${result}`;
  let last = "";
  for (const digits of RESULTS) {
    for (const shown of OPERANDS) {
      const rounded = numbers.map((x) => Number(x.toPrecision(shown)));
      const made = compute(rounded);
      last = text(
        rounded.map((x) => number(x, shown)),
        number(made, digits),
      );
      if (number(made, digits) === number(value, digits) && isClear(made, digits)) return last;
    }
  }
  return last;
}

/** Return whether a number is clear of a rounding boundary, however ties are rounded. */
function isClear(x, digits) {
  if (x === 0) return true;
  const unit = 10 ** (Math.floor(Math.log10(Math.abs(x))) + 1 - digits);
  return Math.abs(x - Number(x.toPrecision(digits))) < 0.499 * unit;
}

function products(flat) {
  let sum = 0;
  for (let place = 0; place < flat.length; place += 2) sum += flat[place] * flat[place + 1];
  return sum;
}

function productTexts(flat) {
  const pairs = [];
  for (let place = 0; place < flat.length; place += 2)
    pairs.push(`${flat[place]}·${signed(flat[place + 1])}`);
  return pairs;
}

function joined(texts) {
  return texts.join(" + ").replaceAll("+ −", "− ");
}

function signed(text) {
  return text.startsWith("−") ? `(${text})` : text;
}
