/* Arrays and numbers: decoding and text. */

const data = JSON.parse(document.getElementById("data").textContent);
const decodedArrays = new Map();

/** Return the values of the array at an index of `data.arrays`, in C order. */
function valuesOf(place) {
  if (!decodedArrays.has(place)) {
    const { bytes, dtype, scale } = data.arrays[place];
    const raw = Uint8Array.from(atob(bytes), (character) => character.charCodeAt(0));
    decodedArrays.set(place, decoded(raw, dtype, scale));
  }
  return decodedArrays.get(place);
}

function decoded(raw, dtype, scale) {
  if (dtype === "float64") return new Float64Array(raw.buffer);
  if (dtype === "float32") return new Float32Array(raw.buffer);
  return Float32Array.from(raw, (code) => (code === 0 ? NaN : (code - 128) * scale));
}

/** Return a number with some significant digits and a true minus sign. */
function number(x, figures = 4) {
  if (x === null || Number.isNaN(x)) return "NaN";
  if (!Number.isFinite(x)) return x > 0 ? "∞" : "−∞";
  const size = Math.abs(x);
  if (size !== 0 && (size < 1e-4 || size >= 1e6)) {
    const [digits, exponent] = x.toExponential(figures - 1).split("e");
    return `${minus(Number(digits))}·10${raised(Number(exponent))}`;
  }
  return minus(Number(x.toPrecision(figures)));
}

function minus(x) {
  return String(x === 0 ? 0 : x).replace("-", "−");
}

function raised(whole) {
  const digits = {
    "-": "⁻",
    0: "⁰",
    1: "¹",
    2: "²",
    3: "³",
    4: "⁴",
    5: "⁵",
    6: "⁶",
    7: "⁷",
    8: "⁸",
    9: "⁹",
  };
  return [...String(whole)].map((digit) => digits[digit]).join("");
}

/** Return a shape as text: 1 × 6 × 28 × 28. */
function sizes(shape) {
  return shape.length ? shape.join(" × ") : "a number";
}

/** Return a short summary of an array, also for screen readers. */
function described(array) {
  const parts = [];
  if (array.nan) parts.push(`${array.nan} NaN`);
  if (array.infinite) parts.push(`${array.infinite} infinite`);
  if (array.minimum === array.maximum && array.minimum !== null) {
    parts.push(`all ${number(array.minimum)}`);
  } else if (array.minimum !== null) {
    parts.push(`${number(array.minimum)} to ${number(array.maximum)}`);
  }
  parts.push(`norm ${number(array.norm)}`);
  if (array.zero > 0 && array.zero < 1) parts.push(`${percent(array.zero)} zero`);
  return parts.join(" · ");
}

function percent(share) {
  if (share > 0 && share < 0.01) return "under 1 %";
  return `${share === 1 ? 100 : Math.min(99, Math.round(100 * share))} %`;
}

/** Return an element with attributes and children; text is never parsed as HTML. */
function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) {
      made.setAttribute(name, value === true ? "" : value);
    }
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}
