/* Computation graph: a page that steps through forward and backward, in a frame. */

import { address } from "../api.js";
import { button, element, fill } from "../dom.js";
import { toLink } from "../state.js";

/**
 * Return a section that loads the graph's page on demand.
 *
 * The frame is sandboxed: its scripts run in an opaque origin.
 *
 * @param {{input: string, model: number | null, label: number}} about
 * @returns {{root: HTMLElement, stop: () => void}}
 */
export function graphPage({ input, model, label }) {
  const source = address("explain/graph", { input: toLink(input), label, model });
  const place = element("div", { class: "frame" });
  const open = button("Step through the graph", load, { symbol: "play" });

  function load() {
    const frame = element("iframe", {
      src: source,
      sandbox: "allow-scripts",
      title: "The graph of the computation, step by step",
      onload: () => place.classList.remove("loading"),
    });
    place.classList.add("loading");
    fill(place, frame);
    fill(
      ways,
      element("a", { href: source, target: "_blank", rel: "noopener" }, "Open in a new window"),
    );
  }

  const ways = element("p", {}, open);
  const root = element(
    "div",
    { class: "graph" },
    element(
      "p",
      { class: "faint" },
      "Every operation is a node, colored by the gradient that reaches it. The player goes forward through all of them and then back.",
    ),
    ways,
    place,
  );
  return { root, stop: () => fill(place) };
}
