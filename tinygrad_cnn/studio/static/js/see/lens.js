/* Lens: the sum of the cell that is pointed at, in one line below the network. */

import { element, fill, style } from "../dom.js";
import { paint } from "../maps.js";
import { cellName, coded } from "./layers.js";
import { valueOf } from "./numbers.js";

const PAIRS = 6; // windows and kernels shown, those with the largest sums
const SIDE = 40; // approximate side of one in pixels

/**
 * Return the line about a cell.
 *
 * @returns {{root: HTMLElement, read: (text: string) => void, show: (cell: any | null) => void}} `read`
 *   shows a value, and `show` its sum
 */
export function lens() {
  const title = element("p", { class: "name" }, "\u00a0");
  const sum = element("div", { class: "pairs" });
  const root = element("div", { class: "lens", "aria-hidden": "true" }, title, sum);

  return {
    root,
    read(text) {
      title.textContent = text || "\u00a0";
    },
    show(cell) {
      if (cell === null) return fill(sum);
      const { layer, cell: index, written, kind } = cell;
      fill(title, element("b", {}, `${layer}, ${cellName(index)}: ${valueOf(cell)}`));
      fill(sum, kind === "convolution" ? pairsOf(cell) : element("p", {}, written));
    },
  };
}

/** Return the windows times the kernels of a convolution. */
function pairsOf({ terms, printed: { terms: texts, bias } }) {
  const pairs = terms
    .map((term, place) => ({ ...term, sum: texts[place].sum }))
    .sort((one, other) => Math.abs(other.product_sum) - Math.abs(one.product_sum))
    .slice(0, PAIRS)
    .map(({ source, patch, kernel, sum }) =>
      element(
        "figure",
        {},
        pictureOf(patch),
        element("span", { class: "sign" }, "×"),
        pictureOf(kernel),
        element("figcaption", {}, `${source}: ${sum}`),
      ),
    );
  const others = terms.length - pairs.length;
  const rest = [others && `${others} more`, bias !== null && `bias ${bias}`].filter(Boolean);
  return [...pairs, element("p", { class: "faint" }, rest.join(", "))];
}

function pictureOf(rows) {
  const shape = [1, rows.length, rows[0].length];
  const canvas = element("canvas", { class: "maps", "aria-hidden": "true" });
  const scale = Math.max(2, Math.floor(SIDE / Math.max(shape[1], shape[2])));
  style(canvas, { width: `${scale * shape[2]}px`, height: `${scale * shape[1]}px` });
  paint(canvas, { ...coded(rows.flat()), shape });
  return canvas;
}
