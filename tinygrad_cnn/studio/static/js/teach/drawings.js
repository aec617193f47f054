/* Stored drawings: a grid of thumbnails, loaded page by page. */

import { get } from "../api.js";
import { button, element, fill, isolated } from "../dom.js";
import { digit } from "../maps.js";
import { a, counted } from "../numbers.js";
import { load } from "../requests.js";

const PAGE = 60;

/** @typedef {{id: number, name: string, label: number | null, held_back: boolean, created: string, input: string}} Drawing */

export class Drawings {
  /** @param {{chosen: (drawing: Drawing) => void, loaded: () => void}} then */
  constructor(then) {
    this.then = then;
    this.wanted = PAGE; // drawings to show
    this.drawings = [];
    this.total = 0;
    this.chosen = null;
    this.heading = element("h2", { tabindex: "-1" }, "Drawings");
    this.grid = element("ul", { class: "drawings", "aria-label": "Drawings" });
    this.none = element(
      "p",
      { class: "faint", hidden: true },
      "No drawings yet.",
    );
    this.more = button("Show more", () => this.#showMore(), {
      kind: "quiet",
      hidden: true,
    });
    this.loading = load(newest, ({ drawings, total }) => {
      Object.assign(this, { drawings, total });
      this.show();
      then.loaded();
    });
    this.stop = this.loading.stop;
    this.element = element(
      "section",
      { class: "stored" },
      this.heading,
      this.none,
      this.grid,
      this.more,
    );
  }

  /** Reload the newest drawings, as many as are shown. */
  load() {
    this.loading.want(this.wanted);
  }

  #showMore() {
    this.wanted = this.drawings.length + PAGE;
    this.load();
  }

  /** Redraw the grid; the keyboard focus stays on its drawing. */
  show() {
    const focused = document.activeElement?.closest?.(".drawings button")?.dataset.id;
    fill(
      this.heading,
      "Drawings ",
      this.total ? element("span", { class: "faint" }, String(this.total)) : null,
    );
    this.none.hidden = this.drawings.length > 0;
    this.more.hidden = this.drawings.length >= this.total;
    fill(
      this.grid,
      this.drawings.map((drawing) => element("li", {}, this.#tile(drawing))),
    );
    if (focused) this.grid.querySelector(`[data-id="${focused}"]`)?.focus();
  }

  /**
   * Mark the selected drawing.
   * @param {number | null} id
   */
  choose(id) {
    this.chosen = id;
    this.grid
      .querySelectorAll("button")
      .forEach((tile) => tile.setAttribute("aria-pressed", String(Number(tile.dataset.id) === id)));
  }

  #tile(drawing) {
    const { id, label, held_back: heldBack } = drawing;
    return element(
      "button",
      {
        type: "button",
        class: `tile ${label === null ? "unknown" : ""} ${heldBack ? "held" : ""}`,
        dataset: { id },
        "aria-label": described(drawing),
        "aria-pressed": String(id === this.chosen),
        onclick: () => this.then.chosen(drawing),
      },
      digit(drawing.input),
      element("span", {}, label === null ? "?" : String(label)),
      heldBack ? element("small", {}, "held out") : null,
    );
  }
}

/** Return the newest drawings, loaded page by page. */
async function newest(wanted, signal) {
  const found = [];
  for (;;) {
    const query = { offset: found.length, limit: Math.min(PAGE, wanted - found.length) };
    const { drawings, total } = await get("drawings", query, { signal });
    found.push(...drawings);
    if (!drawings.length || found.length >= Math.min(wanted, total)) return { drawings: found, total };
  }
}

/**
 * Return a description of a drawing.
 * @param {Drawing} drawing
 * @returns {string}
 */
export function described({ id, name, label, held_back: heldBack }) {
  return [
    `Drawing ${id}`,
    /^drawing$/i.test(name) ? "" : isolated(name), // the server's default
    label === null ? "no label" : a(label),
    heldBack ? "held out" : "",
  ]
    .filter(Boolean)
    .join(", ");
}

/**
 * Return a sentence about the drawings available for training.
 * @param {Drawing[]} drawings
 * @returns {string}
 */
export function lesson(drawings) {
  const labeled = drawings.filter(({ label }) => label !== null);
  const held = labeled.filter(({ held_back: heldBack }) => heldBack).length;
  const unknown = drawings.length - labeled.length;
  if (!labeled.length) return "Nothing to learn yet: label some drawings";
  return [
    `${counted(labeled.length - held, "drawing")} to learn`,
    `${held} held out for validation`,
    unknown ? `${unknown} without a label` : "",
  ]
    .filter(Boolean)
    .join(", ");
}
