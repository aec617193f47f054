/* Network: every layer as a column of maps, with the edges between them and the output in sight. */

import { button, element, fill, fresh, style } from "../dom.js";
import { paint } from "../maps.js";
import { say } from "../message.js";
import { sizes, wordy } from "../numbers.js";
import { markOf, moved, namesOf, textOf, titleOf } from "./column.js";
import { edges, sourcesOf } from "./edges.js";
import { HEIGHT, folded, indexOf, shown } from "./layers.js";

const HEAD = [38, 56]; // height of the names above the columns, and with more below them
const FOLDED = 16; // layers up to which repeated stages are not folded
const ROOM = [26, 34, 84]; // gaps between columns: at least, while it scrolls, at most
const FOLD = 52; // width of folded layers
const PIN = 14; // space before the pinned output

/**
 * @typedef {{map: number, top: number, left: number, bottom: number, right: number}} Rectangle
 *   rows `top` to below `bottom` and columns `left` to below `right` of a map
 * @typedef {{layer: string, map: number, share: number, kind: string}} Edge
 *   from a map of another layer; `share` from 0 to 1; `kind` more, less or plain
 */

/**
 * Return a view of a whole network.
 *
 * @param {any[]} answered layers of an answer, in order; the first is the network's input
 * @param {{ink?: "ahead" | "back", classes: string[], label: string, what?: string, unfolded?: boolean,
 *   below?: (layer: any) => HTMLElement | null, unfold: () => void, read: (text: string) => void,
 *   pointed?: (layer: import("./layers.js").Shown, index: number[] | null) => void,
 *   chosen?: (layer: import("./layers.js").Shown, index: number[], open: boolean) => void}} options
 *   `what`: name of a cell's value, for screen readers; `below`: returns content below a layer's
 *   name; `read`: called with the value of the cell under the pointer; `pointed`: called with the cell under the pointer; `chosen`: called when a cell is chosen,
 *   and whether it should be opened
 */
export function network(
  answered,
  {
    ink = "ahead",
    classes,
    label,
    what = "value",
    unfolded = false,
    below = null,
    unfold,
    read,
    pointed,
    chosen,
  },
) {
  const how = element(
    "p",
    { class: "unseen", id: fresh("how") },
    "Arrow keys move over the cells and on to the next map or layer, Page Up and Page Down over the maps. Enter opens the sum of a cell.",
  );
  const lines = edges();
  const columns = element("div", { class: "columns" }, lines.root);
  const output = element("div", { class: "output" });
  const scroller = element(
    "div",
    { class: "strip", role: "group", "aria-label": label, tabindex: 0 },
    columns,
    output,
  );
  const root = element("div", { class: "network" }, how, scroller);

  const head = HEAD[below ? 1 : 0];
  let layers = shownOf(answered);
  const frames = new Map(); // by layer: its elements
  let marked = null; // as of `show`
  const places = folded(layers, unfolded ? Infinity : FOLDED).map((one) => {
    const layer = Array.isArray(one) ? null : one;
    return { layer, hidden: layer ? [] : one, x: 0, y: 0, width: 0, height: 0 };
  });
  for (const place of places) {
    const frame = place.layer ? frameOf(place) : foldOf(place);
    (place === places.at(-1) ? output : columns).append(frame);
  }
  const watching = new ResizeObserver(arrange);
  watching.observe(root);

  const placeOf = (name) =>
    places.find(({ layer, hidden }) =>
      layer ? layer.name === name : hidden.some((one) => one.name === name),
    );

  /** Set the position of every column, and draw the edges between them. */
  function arrange() {
    const own = ({ layer }) => (layer ? layer.plan.width * layer.scale : FOLD);
    const taken = places.reduce((sum, place) => sum + own(place), 0);
    const free = root.clientWidth - taken - (output.offsetWidth - own(places.at(-1)));
    const gaps = places.length - 1;
    const fits = free / gaps >= ROOM[0];
    const gap = fits ? Math.min(ROOM[2], free / gaps) : ROOM[1];
    const height = Math.max(HEIGHT, ...places.map(({ layer }) => tall(layer)));
    let x = 2;
    for (const place of places) {
      Object.assign(place, {
        x,
        width: own(place),
        height: place.layer ? tall(place.layer) : HEIGHT / 2,
      });
      place.y = head + (height - place.height) / 2;
      x += place.width + gap;
      const { root: frame, stage } = frames.get(place.layer?.name ?? place);
      style(frame, { "--x": `${place.x}px`, "--wide": `${place.width}px`, "--gap": `${gap}px` });
      style(stage, { top: `${place.y}px` });
    }
    const last = places.at(-1);
    style(columns, { width: `${last.x - PIN}px`, height: `${head + height + 8}px` });
    lines.place(places, sourcesIn, last.x, head + height + 8);
    show(marked);
  }

  function sourcesIn({ layer, hidden }) {
    const names = (layer ? [layer] : hidden).flatMap(({ sources }) => sources ?? []);
    const found = new Set(names.map(placeOf));
    return [...found].filter((place) => place && place.layer !== layer);
  }

  function foldOf(place) {
    const { hidden } = place;
    const stage = button(`${hidden.length} layers`, unfold, {
      kind: "quiet",
      "aria-label": `Show ${hidden.length} more layers, ${hidden[0].name} to ${hidden.at(-1).name}`,
    });
    const frame = element("div", { class: "layer fold" }, stage);
    frames.set(place, { root: frame, stage });
    return frame;
  }

  function frameOf(place) {
    const { layer } = place;
    const { name } = layer;
    const last = layer === layers.at(-1);
    const canvas = element("canvas", {
      class: "maps",
      tabindex: 0,
      role: "application",
      "aria-roledescription": "layer",
      "aria-label": `${name}, ${layer.kind}, ${sizes(layer.shape)}`,
      "aria-describedby": how.id,
      style: {
        width: `${layer.plan.width * layer.scale}px`,
        height: `${tall(layer)}px`,
      },
    });
    const marks = element("div", { class: "marks", "aria-hidden": "true" });
    const names =
      last && layer.units ? element("ol", { class: `names ${wordy(classes)}`, "aria-hidden": "true" }) : null;
    const stage = element("div", { class: "stage" }, canvas, marks, names);
    const frame = element(
      "section",
      { class: "layer", "aria-label": name },
      element(
        "header",
        { title: `${name}: ${layer.kind}, ${sizes(layer.shape)}` },
        element("h3", {}, titleOf(layer)),
        element("p", { class: "kind" }, sizes(layer.shape).replaceAll(" ", "")),
        below?.(layer),
      ),
      stage,
    );
    let at = [0, 0, 0];
    let under = "";
    const cellUnder = (event) => {
      const box = canvas.getBoundingClientRect();
      const { plan, scale } = place.layer;
      return plan.cellAt((event.clientX - box.left) / scale, (event.clientY - box.top) / scale);
    };
    const point = (cell) => {
      if (String(cell) === under) return;
      under = String(cell);
      read(cell ? textOf(place.layer, cell) : "");
      pointed?.(place.layer, cell && indexOf(place.layer, cell));
    };
    const choose = (cell, open) => {
      at = cell;
      read(textOf(place.layer, cell));
      chosen?.(place.layer, indexOf(place.layer, cell), open);
    };
    const put = (cell) => (at = cell);
    frames.set(name, { root: frame, stage, canvas, marks, names, place, put, choose });
    draw(name);

    canvas.addEventListener("pointermove", (event) => point(cellUnder(event)));
    canvas.addEventListener("pointerleave", () => point(null));
    canvas.addEventListener("focus", () => canvas.matches(":focus-visible") && point(at));
    canvas.addEventListener("blur", () => point(null));
    canvas.addEventListener("click", (event) => {
      const cell = cellUnder(event);
      if (cell) choose(cell, true);
    });
    canvas.addEventListener("keydown", (event) => {
      const cell = moved(place.layer, at, event.key);
      if (cell === null) return;
      event.preventDefault();
      if (typeof cell === "number") return enter(place, cell, at);
      choose(cell, event.key === "Enter" || event.key === " ");
      say(`${textOf(place.layer, cell)} (${what})`);
    });
    return frame;
  }

  /** Focus the next or previous column, on the map at the same height. */
  function enter(from, step, [map]) {
    const others = places.filter(({ layer }) => layer);
    const next = others[others.indexOf(from) + step];
    if (!next) return;
    const { canvas, choose } = frames.get(next.layer.name);
    const share = (map + 0.5) / from.layer.plan.count;
    canvas.focus();
    choose([Math.floor(share * next.layer.plan.count), 0, 0], false);
  }

  /** Paint a layer's maps, and write the names and values of the output. */
  function draw(name) {
    const { canvas, names, place } = frames.get(name);
    const { layer } = place;
    const color = layer.kind === "input" && ink === "ahead" ? "picture" : ink;
    paint(canvas, layer.maps, { across: layer.across, gap: layer.gap, ink: color });
    if (names) fill(names, namesOf(layer, classes));
  }

  function outline(name, rectangles, kind) {
    const frame = frames.get(name);
    if (!frame) return;
    frame.marks.append(...rectangles.map((one) => markOf(frame.place.layer.plan, one, kind)));
  }

  /**
   * Mark a cell, what it is computed from, and the edges into its map; `null` marks nothing.
   *
   * @param {{layer: string, cell: [number, number, number], sources: Map<string, Rectangle[]>,
   *   edges: Edge[]} | null} found
   */
  function show(found) {
    marked = found;
    frames.forEach(({ marks }) => marks && fill(marks));
    lines.show([]);
    if (found === null) return;
    const to = placeOf(found.layer);
    const [map, top, left] = found.cell;
    outline(found.layer, [{ map, top, left, bottom: top + 1, right: left + 1 }], "cell");
    found.sources.forEach((rectangles, name) =>
      outline(name, rectangles, name === "input" ? "field" : "source"),
    );
    const inward = found.edges.map(({ layer, map: source, share, kind }) => ({
      from: [placeOf(layer), source],
      to: [to, map],
      share,
      kind,
    }));
    lines.show([...inward, ...outward(to, map)]);
  }

  return {
    root,
    /** Lay out the columns; called once the root is on the page. */
    arrange,
    /** The layers shown; hidden ones too. */
    get layers() {
      return layers;
    },
    /** Show other outputs of the same network. */
    update(others) {
      layers = shownOf(others);
      for (const place of places) {
        if (place.layer === null) continue;
        place.layer = layers.find(({ name }) => name === place.layer.name);
        draw(place.layer.name);
      }
    },
    /** Whether the answer is about the network that is shown. */
    matches(others) {
      const signature = (all) => all.map(({ name, shape }) => `${name} ${shape}`).join();
      return signature(layers) === signature(others);
    },
    show,
    /** Continue the keyboard's way from a cell; an answer about an earlier one must not. */
    put: (name, cell) => frames.get(name)?.put(cell),
    /** Scroll a layer into sight, beside the pinned output. */
    reveal(name) {
      const place = placeOf(name);
      if (!place || place === places.at(-1)) return;
      const seen = scroller.clientWidth - output.offsetWidth;
      if (place.x < scroller.scrollLeft) scroller.scrollLeft = place.x - ROOM[1];
      else if (place.x + place.width > scroller.scrollLeft + seen)
        scroller.scrollLeft = place.x + place.width + ROOM[1] - seen;
    },
    stop: () => watching.disconnect(),
  };

  /** Return the edges from a map to the maps that depend on it. */
  function outward(from, map) {
    const name = from.layer?.name;
    return places
      .filter(({ layer }) => layer?.sources.includes(name))
      .flatMap((to) => {
        const [given, made] = [from.layer.plan.count, to.layer.plan.count];
        const { groups } = to.layer;
        const each = made / groups;
        const first = Math.floor(map / (given / groups)) * each;
        return Array.from({ length: each }, (_, place) => ({
          from: [from, map],
          to: [to, first + place],
          share: 0,
          kind: "onward",
        }));
      });
  }
}

function tall(layer) {
  return layer ? layer.plan.height * layer.scale : 0;
}

/** Return the layouts of an answer's layers. */
function shownOf(answered) {
  const shapes = new Map(answered.map(({ name, shape }) => [name, shape]));
  return answered.map((layer) => shown(layer, shapes.get(layer.sources[0]) ?? null));
}

/**
 * Return the edges into a map from all maps that it depends on.
 *
 * @param {import("./layers.js").Shown} layer
 * @param {import("./layers.js").Shown | undefined} source
 * @param {number} map
 * @returns {Edge[]}
 */
export function edgesInto(layer, source, map) {
  if (!source || layer.kind === "composite") return [];
  const maps = sourcesOf(map, source.plan.count, layer.plan.count, layer.groups);
  return maps.map((one) => ({ layer: source.name, map: one, share: 0, kind: "plain" }));
}
