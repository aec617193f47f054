/* Scales: positions on an axis, ticks, and tick labels. */

import { fixed, grouped } from "../numbers.js";

/**
 * @typedef {object} Scale
 * @property {number} low   the value at the start of the axis
 * @property {number} high  the value at its end
 * @property {(value: number) => number} at  0 at `low`, 1 at `high`
 * @property {number[]} ticks  ascending
 * @property {(value: number) => string} write  formats a tick
 */

/**
 * Return a linear scale that contains an extent, rounded outward to its ticks.
 * @param {[number, number]} extent  the least and the largest value
 * @param {{count?: number, exact?: boolean}} [options]  approximate number of ticks; `exact` disables rounding
 * @returns {Scale}
 */
export function evenScale([least, largest], { count = 4, exact = false } = {}) {
  let [low, high] = [least, largest];
  if (!(high > low)) [low, high] = [low - 0.5, low + 0.5];
  const step = roundStep((high - low) / count);
  if (!exact) {
    low = Math.floor(low / step + 1e-9) * step;
    high = Math.ceil(high / step - 1e-9) * step;
  }
  const first = Math.ceil(low / step - 1e-9);
  const last = Math.floor(high / step + 1e-9);
  const ticks = Array.from({ length: last - first + 1 }, (_, i) => (first + i) * step);
  const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  return {
    low,
    high,
    ticks,
    at: (value) => (value - low) / (high - low),
    write: (value) => (digits || Math.abs(value) < 10_000 ? fixed(value, digits) : grouped(value)),
  };
}

/**
 * Return a logarithmic scale between powers of ten.
 * @param {[number, number]} extent  the least and the largest value, both above 0
 * @returns {Scale}
 */
export function logScale([least, largest]) {
  const low = Math.floor(Math.log10(least) + 1e-9);
  const high = Math.max(low + 1, Math.ceil(Math.log10(largest) - 1e-9));
  const every = Math.max(1, Math.ceil((high - low) / 5));
  const ticks = [];
  for (let power = low; power <= high; power += every) ticks.push(10 ** power);
  return {
    low: 10 ** low,
    high: 10 ** high,
    ticks,
    at: (value) => (Math.log10(value) - low) / (high - low),
    write: (value) => power(Math.round(Math.log10(value))),
  };
}

/**
 * Return the minimum and maximum of values, or null if there are none.
 * @param {Iterable<number>} values
 * @param {(value: number) => boolean} [counts]  filters the values
 * @returns {[number, number] | null}
 */
export function extent(values, counts = Number.isFinite) {
  let [low, high] = [Infinity, -Infinity];
  for (const value of values) {
    if (!counts(value)) continue;
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return low <= high ? [low, high] : null;
}

/** Return the smallest of 1, 2, 5, 10, 20, 50 ... (or 0.1, 0.2, 0.5 ...) not below `least`. */
function roundStep(least) {
  const unit = 10 ** Math.floor(Math.log10(least));
  return unit * [1, 2, 5, 10].find((factor) => factor * unit >= least * (1 - 1e-9));
}

const RAISED = ["⁰", "¹", "²", "³", "⁴", "⁵", "⁶", "⁷", "⁸", "⁹"];

/** Format a power of ten: 0.01 to 100 in full, others with an exponent. */
function power(exponent) {
  if (Math.abs(exponent) <= 2) return String(10 ** exponent);
  const digits = [...String(Math.abs(exponent))].map((digit) => RAISED[Number(digit)]).join("");
  return `10${exponent < 0 ? "⁻" : ""}${digits}`;
}
