/* Forward half: the whole network for an input, and the computation of a cell. */

import { post } from "../api.js";
import { element, fill } from "../dom.js";
import { percent } from "../numbers.js";
import { load } from "../requests.js";
import { cellOf } from "./cell.js";
import { finder } from "./finder.js";
import { folds } from "./folds.js";
import { liveliest, placeOf } from "./layers.js";
import { lens } from "./lens.js";
import { edgesInto, network } from "./network.js";

/**
 * Show the forward half for an input.
 *
 * @param {HTMLElement} root
 * @param {{input: string, model: number | null, layer: string | null, cell: number[] | null,
 *   open: string | null, verdict: (text: string) => void,
 *   remember: (changes: Record<string, unknown>) => void}} options
 * @returns {{take: (input: string) => void, stop: () => void}} `take` shows another input
 */
export function forward(root, { input, model, layer, cell, open, verdict, remember }) {
  const place = element("div", { class: "place waiting" });
  const about = lens();
  const panel = element("section", {
    class: "panel",
    "aria-label": "The chosen cell",
    "aria-live": "off",
  });
  const form = element("div");
  const sections = folds(open, layer && cell ? ["cell"] : [], remember);
  const sum = sections.fold("cell", "The sum of a cell, written out", form, panel);
  let given = input;
  let net = null;
  let find = null;
  let chosen = layer && cell ? { layer, cell } : null;
  let answer = null; // about the chosen cell
  let pointed = null;
  fill(root, element("h2", { class: "unseen" }, "The network"), place, about.root, sum);

  const ask = (wish, signal) => post("explain/cell", wish, { signal });
  const peeking = load(ask, (found) => same(found, pointed) && reveal(found), { live: true });
  const choosing = load(
    ask,
    (found) => {
      answer = found;
      find.show(found.layer, found.cell);
      fill(panel, cellOf(found));
      if (pointed === null) reveal(found);
    },
    { live: true },
  );
  const layerOf = (name) => net.layers.find((one) => one.name === name);
  const wishFor = (wish) => ({ input: given, model, ...wish });

  function choose(name, index) {
    if (!explained(layerOf(name))) return point(layerOf(name), index);
    take({ layer: name, cell: index });
    remember({ layer: name, cell: index.join(",") });
  }

  function take(wish) {
    chosen = wish;
    net.put(wish.layer, placeOf(layerOf(wish.layer), wish.cell));
    choosing.want(wishFor(wish));
  }

  function point(one, index) {
    pointed = index && { layer: one.name, cell: index };
    if (index === null) {
      peeking.stop();
      if (answer) reveal(answer);
    } else if (explained(one)) peeking.want(wishFor(pointed));
    else {
      const at = placeOf(one, index);
      const from = edgesInto(one, layerOf(one.sources[0]), at[0]);
      net.show({ layer: one.name, cell: at, sources: new Map(), edges: from });
      about.show(null);
    }
  }

  function reveal(found) {
    const at = placeOf(layerOf(found.layer), found.cell);
    const source = layerOf(found.source.layer);
    net.show({
      layer: found.layer,
      cell: at,
      sources: seenBy(found, source),
      edges: into(found, source),
    });
    about.show(found);
  }

  /** Return the cells that a cell is computed from: in its source, and in the network's input. */
  function seenBy({ source, field }, before) {
    const found = new Map();
    const channels = layerOf("input").plan.count;
    const all = (count, from, rectangle) =>
      Array.from({ length: count }, (_, offset) => ({ ...rectangle, map: from + offset }));
    const [from, to] = source.channels;
    const whole = before?.units && to - from === before.plan.count;
    if (before && !whole) found.set(source.layer, all(to - from, from, source));
    found.set("input", all(channels, 0, field));
    return found;
  }

  function into({ kind, terms }, before) {
    if (!before) return [];
    const most = Math.max(...terms.map(({ product_sum: sum }) => Math.abs(sum))) || 1;
    const weighed = kind === "convolution" || kind === "dense";
    return terms.map(({ index: [map], product_sum: sum }) => ({
      layer: before.name,
      map,
      share: terms.length > 1 ? Math.abs(sum) / most : 0.4,
      kind: weighed ? (sum < 0 ? "less" : "more") : "plain",
    }));
  }

  function build(layers, classes) {
    net?.stop();
    net = network(layers, {
      classes,
      label: "Layers, from the input to the probabilities",
      unfolded: sections.isOpen("stages"),
      unfold() {
        sections.set("stages", true);
        build(layers, classes);
        if (answer) reveal(answer);
      },
      read: about.read,
      pointed: point,
      chosen(one, index, opened) {
        pointed = null;
        choose(one.name, index);
        if (opened && explained(one)) show();
      },
    });
    fill(place, net.root);
    net.arrange();
    place.classList.remove("waiting");
    const known = net.layers.filter(explained);
    find = finder(known, (name, index) => {
      net.reveal(name);
      choose(name, index ?? liveliest(layerOf(name)));
    });
    fill(form, find.root);
  }

  function show() {
    const first = !sum.open;
    sum.open = true;
    if (first) sum.scrollIntoView({ block: "nearest" });
  }

  const loading = load(
    (wish, signal) => post("explain/layers", wish, { signal }),
    ({ classes, input: maps, layers: answered }, wish) => {
      const first = {
        name: "input",
        kind: "input",
        shape: maps.shape,
        maps,
        sources: [],
        groups: 1,
      };
      const layers = [first, ...answered];
      given = wish.input;
      if (net?.matches(layers)) net.update(layers);
      else build(layers, classes);
      const { values } = answered.at(-1);
      const most = values.indexOf(Math.max(...values));
      verdict(`${classes[most]}, with ${percent(values[most]).replace("> ", "more than ")}`);
      const known = chosen && layerOf(chosen.layer);
      if (known && explained(known) && placeOf(known, chosen.cell)) {
        if (!answer) net.reveal(chosen.layer);
        take(chosen);
      } else {
        const one = net.layers.find(explained);
        take({ layer: one.name, cell: liveliest(one) });
      }
    },
    { live: true },
  );
  loading.want({ input, model });

  return {
    take: (other) => loading.want({ input: other, model }),
    stop() {
      loading.stop();
      choosing.stop();
      peeking.stop();
      net?.stop();
    },
  };
}

function explained({ kind }) {
  return kind !== "composite" && kind !== "input";
}

function same(one, other) {
  return one.layer === other?.layer && String(one.cell) === String(other.cell);
}
