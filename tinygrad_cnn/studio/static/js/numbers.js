/* Number formatting: true minus signs, few digits, stable widths. */

import { minus } from "../shared/numbers.js";

export { number, raised, sizes } from "../shared/numbers.js";

/**
 * Return a number with a fixed number of decimals, for columns: −0.041.
 *
 * @param {number} x
 * @param {number} [decimals]
 * @returns {string}
 */
export function fixed(x, decimals = 3) {
  return minus(x.toFixed(decimals).replace(/^-(0\.?0*)$/, "$1"));
}

/**
 * Return a fraction as a percentage with a fixed number of decimals: 97.4 %.
 *
 * Values below 1 never round to 100 %: > 99.9 %.
 *
 * @param {number | null} share
 * @param {number} [decimals]
 * @returns {string}
 */
export function percent(share, decimals = 1) {
  if (share === null || share === undefined || Number.isNaN(share)) return "–";
  const text = (100 * share).toFixed(decimals);
  const most = 100 - 10 ** -decimals;
  return share < 1 && Number(text) === 100 ? `> ${most.toFixed(decimals)} %` : `${text} %`;
}

const FEW = 10; // a percentage of fewer says more than was measured
const Z = 1.96; // of the normal distribution, 95 % within

/**
 * Return a measured share as text: a count if there are few, else a percentage and its range.
 *
 * The range is the 95 % interval of Wilson, "Probable inference, the law of succession, and
 * statistical inference", 1927.
 *
 * @param {number} count
 * @param {number} total
 * @param {number} [decimals]
 * @returns {{text: string, range: string, few: boolean}} `range` is empty if there are few
 */
export function shareOf(count, total, decimals = 1) {
  if (total < FEW) return { text: total ? `${count} of ${total}` : "–", range: "", few: true };
  const share = count / total;
  const middle = (share + Z ** 2 / (2 * total)) / (1 + Z ** 2 / total);
  const spread = Math.sqrt((share * (1 - share)) / total + Z ** 2 / (4 * total ** 2));
  const half = (Z * spread) / (1 + Z ** 2 / total);
  const [low, high] = [middle - half, middle + half].map((end) => (100 * end).toFixed(0));
  return { text: percent(share, decimals), range: `${low}–${high} %`, few: false };
}

/**
 * Return the difference of two fractions in percentage points, as printed: +1.2.
 *
 * @param {number} before
 * @param {number} after
 * @returns {string}
 */
export function points(before, after) {
  const printed = (share) => Number((100 * share).toFixed(1));
  const most = (share) => (share < 1 ? Math.min(printed(share), 99.9) : printed(share));
  const change = most(after) - most(before);
  return `${change > 0.05 ? "+" : ""}${fixed(change, 1)}`;
}

/**
 * Return a whole number with thin spaces between thousands: 61 706.
 *
 * @param {number} whole
 * @returns {string}
 */
export function grouped(whole) {
  return minus(Math.round(whole)).replace(/\B(?=(\d{3})+$)/g, "\u202f");
}

/**
 * Return a duration as text: 8 s, 2 min 5 s, 1 h 12 min.
 *
 * @param {number} seconds
 * @returns {string}
 */
export function duration(seconds) {
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}

/**
 * Return a date and time in the reader's locale.
 *
 * @param {string} moment as ISO 8601
 * @returns {string}
 */
export function when(moment) {
  const at = new Date(moment);
  const today = at.toDateString() === new Date().toDateString();
  return at.toLocaleString(
    undefined,
    today ? { timeStyle: "short" } : { dateStyle: "medium", timeStyle: "short" },
  );
}

/**
 * Return the CSS class of a place that shows the names of classes: "words" if they are not digits.
 *
 * @param {string[]} classes
 * @returns {string}
 */
export function wordy(classes) {
  return classes.some((name) => name.length > 1) ? "words" : "";
}

/**
 * Return a digit with its article: a 3, an 8.
 *
 * @param {number | string} digit
 * @returns {string}
 */
export function a(name) {
  return `${/^(8$|[aeiou])/i.test(String(name)) ? "an" : "a"} ${name}`;
}

/**
 * Return a noun with its count: 1 drawing, 3 drawings.
 *
 * @param {number} count
 * @param {string} noun
 * @param {string} [plural]
 * @returns {string}
 */
export function counted(count, noun, plural = `${noun}s`) {
  return `${grouped(count)} ${count === 1 ? noun : plural}`;
}
