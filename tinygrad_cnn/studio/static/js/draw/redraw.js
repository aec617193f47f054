/* Redrawing: the strokes of a drawing in the line width of the training images. */

import { render } from "./render.js";

/** @typedef {import("./drawing.js").Mark} Mark */
/** @typedef {import("./drawing.js").Point} Point */

const SENT = 280; // side of the picture
const PAPER = { ink: "#000000", ground: "#ffffff" };
const WIDTH = 0.15; // of a line, relative to the digit's longer side: 2.6 of MNIST's 20 pixels
const FILLED = 0.8; // share of the side that the digit fills

/**
 * Return the picture of a drawing that is sent to the server.
 *
 * @param {Mark[]} marks the visible ones
 * @returns {Promise<Blob>} a PNG
 */
export function pngOf(marks) {
  const context = new OffscreenCanvas(SENT, SENT).getContext("2d", { willReadFrequently: true });
  render(context, redrawn(marks), PAPER);
  return context.canvas.convertToBlob({ type: "image/png" });
}

/**
 * Return marks whose strokes fill the square, with a line width relative to their size.
 *
 * A small digit in a thick pen would be a blot after scaling; in the training images, lines are
 * about an eighth as thick as the digit is long. The eraser removes the parts of strokes whose
 * middle it covers. Marks on a picture or on a digit of the data set are returned as they are.
 *
 * @param {Mark[]} marks the visible ones
 * @returns {Mark[]}
 */
export function redrawn(marks) {
  if (marks.some(({ kind }) => kind === "picture" || kind === "digit")) return marks;
  const lines = linesOf(marks.filter(({ kind }) => kind === "stroke"));
  if (lines.length === 0) return marks;
  const points = lines.flat();
  const [left, right] = ends(points.map(({ x }) => x));
  const [top, bottom] = ends(points.map(({ y }) => y));
  const pen = Math.max(...marks.map(({ size, erases }) => (erases ? 0 : (size ?? 0))));
  const side = Math.max(right - left, bottom - top);
  if (side < pen / 2) return marks; // a dot
  const scale = FILLED / (side * (1 + WIDTH));
  const moved = ({ x, y, pressure }) => ({
    x: 0.5 + scale * (x - (left + right) / 2),
    y: 0.5 + scale * (y - (top + bottom) / 2),
    pressure,
  });
  const size = WIDTH * side * scale;
  return lines.map((line) => ({
    kind: "stroke",
    points: line.map(moved),
    size,
    erases: false,
  }));
}

/** Return the points of each stroke, in several lines where the eraser has cut it. */
function linesOf(strokes) {
  let lines = [];
  for (const { points, size, erases } of strokes) {
    if (erases) lines = lines.flatMap((line) => remains(line, points, size / 2));
    else lines.push(points);
  }
  return lines;
}

/** Return the parts of a line that the eraser leaves. */
function remains(line, erased, radius) {
  const parts = [[]];
  for (const point of dense(line, radius / 3)) {
    if (covered(point, erased, radius)) parts.push([]);
    else parts.at(-1).push(point);
  }
  if (parts.length === 1) return [line];
  return parts.filter(({ length }) => length > 1 || (length > 0 && line.length === 1));
}

/** Return the points of a line and, where they are farther apart than a step, points between. */
function dense(line, step) {
  return line.flatMap((point, place) => {
    const before = line[place - 1] ?? point;
    const count = Math.max(1, Math.ceil(Math.hypot(point.x - before.x, point.y - before.y) / step));
    return Array.from({ length: count }, (_, part) => {
      const share = (part + 1) / count;
      const between = (name) => before[name] + share * (point[name] - before[name]);
      return { x: between("x"), y: between("y"), pressure: between("pressure") };
    });
  });
}

/** Return whether a path of the eraser passes over a point. */
function covered({ x, y }, path, radius) {
  return path.some((to, place) => {
    const from = path[place - 1] ?? to;
    const [across, down] = [to.x - from.x, to.y - from.y];
    const length = across * across + down * down;
    const along = length ? ((x - from.x) * across + (y - from.y) * down) / length : 0;
    const share = Math.max(0, Math.min(1, along));
    const distance = Math.hypot(x - from.x - share * across, y - from.y - share * down);
    return distance < radius * to.pressure;
  });
}

function ends(values) {
  return values.reduce(([low, high], value) => [Math.min(low, value), Math.max(high, value)], [
    Infinity,
    -Infinity,
  ]);
}
