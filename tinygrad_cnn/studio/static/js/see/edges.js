/* Edges between the maps of neighboring layers: faint curves, bundled where they are many. */

import { fill, vector } from "../dom.js";

const CURVES = 400; // edges between two layers up to which each is drawn

/**
 * @typedef {{layer: import("./layers.js").Shown | null, x: number, y: number, width: number,
 *   height: number}} Column a layer on the page, or folded layers, with its position in pixels
 */

/**
 * Return the edges of a network.
 *
 * @returns {{root: SVGElement, place: (columns: Column[], sources: (column: Column) => Column[],
 *   width: number, height: number) => void, show: (strong: Array<{from: [Column, number],
 *   to: [Column, number], share: number, kind: string}>) => void}} `show` draws the edges of a map
 */
export function edges() {
  const faint = vector("g", { class: "faint" });
  const strong = vector("g", { class: "strong" });
  const root = vector("svg", { class: "edges", "aria-hidden": "true" }, faint, strong);

  return {
    root,
    place(columns, sources, width, height) {
      root.setAttribute("width", width);
      root.setAttribute("height", height);
      const drawn = columns.flatMap((column) =>
        sources(column).map((source) => between(source, column)),
      );
      fill(
        faint,
        drawn.map(({ d, bundle }) => vector("path", { d, class: bundle ? "bundle" : "curves" })),
      );
      fill(strong);
    },
    show(found) {
      fill(
        strong,
        found.map(({ from, to, share, kind }) =>
          vector("path", {
            d: curve(endsOf(...from), endsOf(...to)),
            class: kind,
            "stroke-width": (0.75 + 2.5 * share).toFixed(2),
          }),
        ),
      );
    },
  };
}

/** Return all edges between two layers as one path. */
function between(source, column) {
  if (source.layer === null || column.layer === null) return bundled(source, column);
  const pairs = pairsOf(source.layer.plan.count, column.layer.plan.count, column.layer.groups);
  if (pairs.length > CURVES) return bundled(source, column);
  const d = pairs.map(([a, b]) => curve(endsOf(source, a), endsOf(column, b))).join("");
  return { d, bundle: false };
}

/**
 * Return the maps of two layers that are connected.
 *
 * @param {number} given number of maps of the source
 * @param {number} made number of maps of the layer
 * @param {number} groups
 * @returns {Array<[number, number]>}
 */
function pairsOf(given, made, groups) {
  if ((given * made) / groups > 20 * CURVES) return Array(CURVES + 1); // bundled
  return Array.from({ length: made }, (_, map) =>
    sourcesOf(map, given, made, groups).map((source) => [source, map]),
  ).flat();
}

/**
 * Return the maps of a layer's input that one of its maps depends on.
 *
 * @param {number} map
 * @param {number} given number of maps of the input
 * @param {number} made number of maps of the layer
 * @param {number} groups
 * @returns {number[]}
 */
export function sourcesOf(map, given, made, groups) {
  const each = given / groups;
  const first = Math.floor(map / (made / groups)) * each;
  return Array.from({ length: each }, (_, place) => first + place);
}

function bundled(source, column) {
  const [left, right] = [source.x + source.width, column.x];
  const middle = (left + right) / 2;
  const [top, low] = [source.y, source.y + source.height];
  const [head, foot] = [column.y, column.y + column.height];
  const d =
    `M${left},${top}C${middle},${top} ${middle},${head} ${right},${head}V${foot}` +
    `C${middle},${foot} ${middle},${low} ${left},${low}Z`;
  return { d, bundle: true };
}

/** Return the left and right end of a map, and its middle. */
function endsOf({ layer, x, y, width, height }, map) {
  if (layer === null) return { left: x, right: x + width, middle: y + height / 2 };
  const { plan, scale } = layer;
  const { top, left } = plan.at(map);
  return {
    left: x + left * scale,
    right: x + (left + plan.columns) * scale,
    middle: y + (top + plan.rows / 2) * scale,
  };
}

function curve({ right: x, middle: y }, { left, middle }) {
  const half = (x + left) / 2;
  return `M${x},${y}C${half},${y} ${half},${middle} ${left},${middle}`;
}
