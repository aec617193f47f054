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
