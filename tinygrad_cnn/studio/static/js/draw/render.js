/* Rendering of marks on a canvas: smooth lines with pressure-dependent width. */

import { bytesOf } from "../maps.js";

/**
 * Paint a drawing.
 *
 * @param {CanvasRenderingContext2D} context of a square canvas
 * @param {import("./drawing.js").Mark[]} marks
 * @param {{ink: string, ground: string}} colors pictures have their own
 */
export function render(context, marks, colors) {
  const side = context.canvas.width;
  const { ground } = colorsOf(marks, colors);
  context.fillStyle = ground;
  context.fillRect(0, 0, side, side);
  for (const mark of marks) {
    if (mark.kind === "picture") picture(context, mark.bitmap);
    else if (mark.kind === "digit") digit(context, mark.input, colors.ink);
    else if (mark.kind === "stroke") stroke(context, mark, colorsOf(marks, colors));
  }
}

/**
 * Return the colors of a drawing: those of its picture, or else those given.
 *
 * @param {import("./drawing.js").Mark[]} marks
 * @param {{ink: string, ground: string}} colors
 * @returns {{ink: string, ground: string}}
 */
export function colorsOf(marks, colors) {
  return marks[0]?.kind === "picture" ? marks[0] : colors;
}

/**
 * Paint a stroke, or its part from a point on.
 *
 * The curve is quadratic: it passes through the midpoints between points, with the points as
 * control points, so that its tangent is continuous.
 *
 * @param {CanvasRenderingContext2D} context
 * @param {{points: import("./drawing.js").Point[], size: number, erases: boolean}} mark
 * @param {{ink: string, ground: string}} colors
 * @param {number} [from] index of the first new point
 * @param {boolean} [ended] whether to draw up to the last point, or only to the last midpoint
 */
export function stroke(context, { points, size, erases }, { ink, ground }, from = 0, ended = true) {
  const side = context.canvas.width;
  context.strokeStyle = context.fillStyle = erases ? ground : ink;
  context.lineCap = context.lineJoin = "round";
  for (let place = from; place < points.length; place += 1) {
    const [before, corner, after] = [
      points[Math.max(place - 1, 0)],
      points[place],
      points[place + 1],
    ];
    if (!after && !ended && place > 0) break;
    const start = middle(before, corner);
    const end = after ? middle(corner, after) : corner;
    const width = Math.max(1, size * side * corner.pressure);
    context.beginPath();
    if (points.length === 1) {
      context.arc(corner.x * side, corner.y * side, width / 2, 0, 2 * Math.PI); // a dot
      context.fill();
      break;
    }
    context.lineWidth = width;
    context.moveTo(start.x * side, start.y * side);
    context.quadraticCurveTo(corner.x * side, corner.y * side, end.x * side, end.y * side);
    context.stroke();
  }
}

function middle(a, b) {
  return { x: (a.x + b.x) / 2, y: (a.y + b.y) / 2 };
}

function picture(context, bitmap) {
  const side = context.canvas.width;
  const scale = side / Math.max(bitmap.width, bitmap.height);
  const [width, height] = [bitmap.width * scale, bitmap.height * scale];
  context.imageSmoothingEnabled = true;
  context.drawImage(bitmap, (side - width) / 2, (side - height) / 2, width, height);
}

function digit(context, input, ink) {
  const small = new OffscreenCanvas(28, 28);
  const onto = small.getContext("2d");
  const image = new ImageData(28, 28);
  bytesOf(input).forEach((code, place) => {
    image.data[4 * place + 3] = code; // filled with the ink's color below
  });
  onto.putImageData(image, 0, 0);
  onto.globalCompositeOperation = "source-in";
  onto.fillStyle = ink;
  onto.fillRect(0, 0, 28, 28);
  context.imageSmoothingEnabled = false;
  context.drawImage(small, 0, 0, context.canvas.width, context.canvas.width);
}
