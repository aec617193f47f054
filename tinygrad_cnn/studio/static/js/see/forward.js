/* Forward half: the output of every layer, and the computation of a cell. */

import { post } from "../api.js";
import { element, fill, style } from "../dom.js";
import { decoded, paint, planOf } from "../maps.js";
import { percent, sizes } from "../numbers.js";
import { load } from "../requests.js";
import { cellOf } from "./cell.js";
import { film } from "./film.js";
import { finder } from "./finder.js";
import { placeOf, shown } from "./layers.js";

const KERNELS = 200; // maximum width of a layer's kernels in pixels

/**
 * Show the forward half for an input.
 *
 * @param {HTMLElement} root
 * @param {{input: string, model: number | null, layer: string | null, cell: number[] | null,
 *   stage: {mark: (rectangle: object | null) => void, verdict: (text: string) => void},
 *   remember: (changes: Record<string, unknown>) => void}} options
 * @returns {() => void} unmounts it
 */
export function forward(root, { input, model, layer, cell, stage, remember }) {
  const place = element("div", { class: "film waiting" });
  const panel = element("section", {
    class: "panel",
    "aria-label": "The chosen cell",
    "aria-live": "off",
  });
  let layers = [];
  let strip = null;
  let find = null;
  fill(root, element("h2", { class: "unseen" }, "Layer by layer"), place, panel);

  const asking = load(
    (wish, signal) => post("explain/cell", { input, model, ...wish }, { signal }),
    (answer) => {
      mark(answer);
      find.show(answer.layer, answer.cell);
      fill(panel, cellOf(answer));
      remember({ layer: answer.layer, cell: answer.cell.join(",") });
    },
    { live: true },
  );
  const shownOf = (name) => layers.find((candidate) => candidate.name === name);
  const choose = (name, index) => asking.want({ layer: name, cell: index });

  function mark(answer) {
    strip.clear();
    const { source } = answer;
    const [from, to] = source.channels;
    const before = shownOf(source.layer);
    if (before) {
      const maps = Array.from({ length: to - from }, (_, offset) => ({
        ...source,
        map: from + offset,
      }));
      const whole = before.units && to - from === before.plan.count;
      if (!whole) strip.mark(source.layer, maps, "source");
    }
    const found = placeOf(shownOf(answer.layer), answer.cell);
    const [map, row, column] = found;
    strip.mark(
      answer.layer,
      [{ map, top: row, left: column, bottom: row + 1, right: column + 1 }],
      "cell",
    );
    stage.mark(answer.field);
  }

  const loading = load(
    (_, signal) => post("explain/layers", { input, model }, { signal }),
    (answer) => {
      layers = answer.layers.map((one) => ({ ...shown(one), kernels: one.kernels }));
      strip = film(layers, {
        label: "Layers, from the input to the probabilities",
        below: ({ kernels }) => (kernels ? kernelsOf(kernels) : null),
        chosen: (one, index) => choose(one.name, index),
      });
      find = finder(layers, (name, index) => choose(name, index ?? liveliest(shownOf(name))));
      place.replaceWith(strip.root, find.root);
      const { values } = answer.layers.at(-1);
      const most = values.indexOf(Math.max(...values));
      stage.verdict(`${most}, with ${percent(values[most]).replace("> ", "more than ")}`);
      const asked = layers.find(({ name }) => name === layer);
      if (asked && cell && placeOf(asked, cell)) {
        strip.reveal(asked.name);
        choose(asked.name, cell);
      } else {
        const first = layers.find(({ kind }) => kind !== "composite") ?? layers[0];
        choose(first.name, liveliest(first));
      }
    },
  );
  loading.want();

  return () => {
    loading.stop();
    asking.stop();
  };
}

/** Return the index of the largest value of a layer, the first cell to explain. */
function liveliest({ maps, plan, units }) {
  const place = maps.codes.indexOf(maps.codes.reduce((most, code) => Math.max(most, code), 0));
  const size = plan.rows * plan.columns;
  const inside = place % size;
  if (units) return [place];
  return [Math.floor(place / size), Math.floor(inside / plan.columns), inside % plan.columns];
}

/** Return the kernels of a layer: a column per output map, a row per input map. */
function kernelsOf(kernels) {
  const [made, given, rows, columns] = kernels.shape;
  const { low, high, codes } = decoded(kernels);
  const size = rows * columns;
  const turned = new Uint8Array(codes.length);
  for (let out = 0; out < made; out += 1) {
    for (let channel = 0; channel < given; channel += 1) {
      const from = (out * given + channel) * size;
      turned.set(codes.subarray(from, from + size), (channel * made + out) * size);
    }
  }
  const shape = [made * given, rows, columns];
  const across = given === 1 && made > 8 ? 6 : made;
  const { width, height } = planOf(shape, across);
  const scale = Math.max(1, Math.min(5, Math.floor(KERNELS / width)));
  const canvas = element("canvas", {
    class: "maps",
    role: "img",
    "aria-label": `Kernels, ${sizes(kernels.shape)}`,
  });
  style(canvas, { width: `${width * scale}px`, height: `${height * scale}px` });
  paint(canvas, { shape, low, high, codes: turned }, { across });
  return element(
    "figure",
    { class: "kernel-strip" },
    canvas,
    element("figcaption", {}, `kernels, ${sizes(kernels.shape)}`),
  );
}
