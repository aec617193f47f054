/* Figures: an array as a number, a table, a strip, a matrix or tiles, on one diverging scale. */

const TABLE_CELLS = 64; // larger arrays are drawn instead of written
const TABLE_COLUMNS = 8;
const STRIP_CELLS = 64; // cells per line of a strip
const GAP = 3; // pixels between tiles
const WIDTH = () => Math.max(240, Math.min(620, document.getElementById("panel").clientWidth - 40));

/** Return a figure of an array: its symbol, shape, values and summary. */
function figure(symbol, place, { words = "", height = 220, width = WIDTH(), digits = 4 } = {}) {
  const caption = element(
    "figcaption",
    {},
    element("span", { class: "symbol" }, symbol),
    words ? element("span", { class: "words" }, words) : null,
  );
  const made = element("figure", { class: "figure" }, caption);
  if (place === null || place === undefined) {
    made.append(element("p", { class: "note" }, "not kept: draw a tg.trace() to show it"));
    return made;
  }
  const array = data.arrays[place];
  const single = array.shape.every((size) => size === 1);
  caption.append(element("span", { class: "shape" }, sizes(array.shape)));
  made.dataset.array = place;
  if (array.kept.includes(0)) {
    made.append(element("p", { class: "note" }, "empty"));
  } else if (single) {
    made.append(element("p", { class: "single" }, number(valuesOf(place)[0], digits)));
  } else if (isTable(array.kept)) {
    made.append(table(place, symbol, digits));
  } else {
    const readout = element("span", { class: "readout", "aria-hidden": "true" });
    made.append(picture(place, symbol, readout, { height, width }), legend(array, readout));
  }
  if (!single) {
    made.append(element("p", { class: "statistics" }, described(array)));
  }
  array.kept.forEach((kept, axis) => {
    if (kept === array.shape[axis]) return;
    const part = `The first ${kept} of ${array.shape[axis]} along axis ${axis} are shown.`;
    made.append(element("p", { class: "note" }, part));
  });
  return made;
}

function squeezed(shape) {
  const first = shape.findIndex((size) => size !== 1);
  return first < 0 ? [1] : shape.slice(first);
}

/** Return whether an array of this shape is written as numbers. */
function isWritten(shape) {
  return !shape.includes(0) && isTable(shape);
}

function isTable(shape) {
  const [columns, rows = 1, ...more] = squeezed(shape).reverse();
  return !more.length && columns <= TABLE_COLUMNS && columns * rows <= TABLE_CELLS;
}

function table(place, symbol, digits) {
  const array = data.arrays[place];
  const values = valuesOf(place);
  const columns = squeezed(array.kept).at(-1);
  const largest = scaleOf(array);
  const made = element("table", { "aria-label": `${symbol}: ${described(array)}` });
  for (let start = 0; start < values.length; start += columns) {
    const row = element("tr");
    for (const value of values.slice(start, start + columns)) {
      const cell = element("td", {}, number(value, digits));
      const share = Math.max(-1, Math.min(1, value / largest || 0));
      cell.dataset.sign = share < 0 ? "negative" : share > 0 ? "positive" : "zero";
      cell.style.setProperty("--share", `${Math.round(28 * Math.abs(share))}%`);
      row.append(cell);
    }
    made.append(row);
  }
  return element(
    "div",
    { class: "scroll", tabindex: "0", role: "group", "aria-label": symbol },
    made,
  );
}

/** Return the value with the full color; the scale runs from its negative through 0 to it. */
function scaleOf(array) {
  return Math.max(Math.abs(array.minimum ?? 0), Math.abs(array.maximum ?? 0)) || 1;
}

function legend(array, readout) {
  const largest = scaleOf(array);
  return element(
    "div",
    { class: "legend" },
    element("span", {}, number(-largest)),
    element("span", { class: "bar", "aria-hidden": "true" }),
    element("span", {}, number(largest)),
    readout,
  );
}

/** Return the layout of an array's tiles: tiles per line, cell size and tile shape. */
function layout(shape, height, width) {
  const kept = squeezed(shape);
  const count = kept.reduce((product, size) => product * size, 1);
  if (kept.length === 1) {
    const columns = Math.min(count, STRIP_CELLS);
    const cell = Math.max(1, Math.min(16, Math.floor(width / columns)));
    const lines = Math.ceil(count / columns);
    return { H: 1, W: columns, tiles: lines, across: 1, cell, gap: lines > 1 ? 1 : 0, strip: true };
  }
  const [H, W] = kept.slice(-2);
  const tiles = count / (H * W);
  for (let cell = 16; cell >= 1; cell--) {
    const fitting = Math.max(1, Math.floor((width + GAP) / (W * cell + GAP)));
    const across = acrossOf(kept, tiles, fitting);
    const down = Math.ceil(tiles / across);
    const fits = W * cell <= width && down * (H * cell + GAP) - GAP <= height;
    if (fits || cell === 1) return { H, W, tiles, across, cell, gap: GAP, strip: false };
  }
  return null;
}

/** Return the number of tiles per line: lines equally full, aligned with the axes. */
function acrossOf(shape, tiles, fitting) {
  const inner = shape.length > 3 ? shape.at(-3) : 1;
  const group = inner <= fitting ? inner : 1;
  const groups = tiles / group;
  const lines = Math.ceil(groups / Math.floor(fitting / group));
  return group * Math.ceil(groups / lines);
}

function picture(place, symbol, readout, { height, width }) {
  const array = data.arrays[place];
  const plan = layout(array.kept, height, width);
  const down = Math.ceil(plan.tiles / plan.across);
  const high = plan.strip ? Math.max(plan.cell, 12) : plan.cell;
  const canvas = element("canvas", {
    width: plan.across * (plan.W * plan.cell + plan.gap) - plan.gap,
    height: down * (plan.H * high + plan.gap) - plan.gap,
    role: "img",
    "aria-label": `${symbol}, ${sizes(array.shape)}: ${described(array)}`,
  });
  paint(canvas, array, valuesOf(place), plan, high);
  canvas.addEventListener("pointermove", (event) => {
    const box = canvas.getBoundingClientRect();
    const x = ((event.clientX - box.left) / box.width) * canvas.width;
    const y = ((event.clientY - box.top) / box.height) * canvas.height;
    readout.textContent = read(array, valuesOf(place), plan, high, x, y);
  });
  canvas.addEventListener("pointerleave", () => readout.replaceChildren());
  return canvas;
}

function paint(canvas, array, values, plan, high) {
  const context = canvas.getContext("2d");
  const image = context.createImageData(canvas.width, canvas.height);
  const pixels = new Uint32Array(image.data.buffer);
  const color = colors();
  const largest = scaleOf(array);
  const size = plan.H * plan.W;
  values.forEach((value, index) => {
    const tile = Math.floor(index / size);
    const row = Math.floor((index % size) / plan.W);
    const column = index % plan.W;
    const x = (tile % plan.across) * (plan.W * plan.cell + plan.gap) + column * plan.cell;
    const y = Math.floor(tile / plan.across) * (plan.H * high + plan.gap) + row * high;
    const paint = color(value / largest);
    for (let line = y; line < y + high; line++) {
      const start = line * canvas.width + x;
      pixels.fill(paint, start, start + plan.cell);
    }
  });
  context.putImageData(image, 0, 0);
}

/** Return the index and value at a point of a picture. */
function read(array, values, plan, high, x, y) {
  const wide = plan.W * plan.cell + plan.gap;
  const tall = plan.H * high + plan.gap;
  const column = Math.floor((x % wide) / plan.cell);
  const row = Math.floor((y % tall) / high);
  if (column >= plan.W || row >= plan.H) return "";
  const tile = Math.floor(y / tall) * plan.across + Math.floor(x / wide);
  let index = tile * plan.H * plan.W + row * plan.W + column;
  if (index < 0 || index >= values.length) return "";
  const value = number(values[index]);
  const place = [];
  for (const size of [...array.kept].reverse()) {
    place.unshift(index % size);
    index = Math.floor(index / size);
  }
  return `[${place.join(", ")}] ${array.dtype === "uint8" ? "≈" : "="} ${value}`;
}

/** Return the function from −1 ... 1 to a pixel in the page's current color scheme. */
function colors() {
  const style = getComputedStyle(document.documentElement);
  const [negative, zero, positive, none] = ["negative", "zero", "positive", "none"].map((name) =>
    channels(style.getPropertyValue(`--${name}`).trim()),
  );
  return (share) => {
    if (Number.isNaN(share)) return mixed(none, none, 0);
    const bounded = Math.max(-1, Math.min(1, share));
    return mixed(zero, bounded < 0 ? negative : positive, Math.abs(bounded));
  };
}

function channels(hexadecimal) {
  return [1, 3, 5].map((start) => parseInt(hexadecimal.slice(start, start + 2), 16));
}

/** Return a color between two as the bytes of a pixel: alpha, blue, green and red. */
function mixed(from, to, share) {
  const [red, green, blue] = from.map((start, k) => Math.round(start + (to[k] - start) * share));
  return ((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0;
}
