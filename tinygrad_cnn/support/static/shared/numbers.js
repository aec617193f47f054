/* Formatting of numbers and shapes, shared by the studio and the drawing pages. */

/**
 * Return a number with a number of significant digits: 0.2113, −3.402·10⁻⁵.
 *
 * @param {number | null} x
 * @param {number} [digits]
 * @returns {string}
 */
export function number(x, digits = 4) {
  if (x === null || x === undefined) return "–";
  if (Number.isNaN(x)) return "NaN";
  if (!Number.isFinite(x)) return x > 0 ? "∞" : "−∞";
  const size = Math.abs(x);
  if (size !== 0 && (size < 1e-4 || size >= 1e6)) {
    const [mantissa, exponent] = x.toExponential(digits - 1).split("e");
    return `${minus(Number(mantissa))}·10${raised(Number(exponent))}`;
  }
  return minus(Number(x.toPrecision(digits)));
}

/**
 * Return a shape as text: 6 × 28 × 28.
 *
 * @param {number[]} shape
 * @returns {string}
 */
export function sizes(shape) {
  return shape.length ? shape.join(" × ") : "a number";
}

/**
 * Return a number with a true minus sign and no negative zero.
 *
 * @param {number | string} x
 * @returns {string}
 */
export function minus(x) {
  return String(x === 0 ? 0 : x).replace("-", "−");
}

/**
 * Return a whole number, or its text, as an exponent: ⁻⁵.
 *
 * @param {number | string} whole
 * @returns {string}
 */
export function raised(whole) {
  return [...String(whole)].map((sign) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[sign] ?? "⁻").join("");
}
