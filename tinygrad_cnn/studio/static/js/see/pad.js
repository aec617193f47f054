/* Pad: a small drawing surface; the network's input follows every stroke. */

import { post } from "../api.js";
import { button, element, fresh } from "../dom.js";
import { Drawing } from "../draw/drawing.js";
import { surface } from "../draw/surface.js";
import { failed } from "../message.js";
import { load } from "../requests.js";

/**
 * Return a drawing surface.
 *
 * @param {(input: string, finished: boolean) => void} drawn called with the network's input;
 *   `finished` at the end of a stroke
 * @returns {{root: HTMLElement, show: (input: string) => void, stop: () => void}} `show` replaces
 *   the drawing
 */
export function pad(drawn) {
  const drawing = new Drawing();
  const how = element(
    "p",
    { class: "unseen", id: fresh("how") },
    "Arrow keys move the pen; Space puts it down or lifts it. The network follows.",
  );
  const sheet = surface(drawing, { describedBy: how.id, changed: ask });
  const asking = load(
    async (_, signal) => post("predict", await sheet.picture(), { signal }),
    ({ input }) => drawn(input, !sheet.drawing()),
    { refused: (error) => error.name !== "blank" && failed(error), live: true },
  );

  function ask() {
    if (drawing.blank) asking.stop();
    else asking.want();
  }

  function change(mark) {
    asking.stop(); // an answer about the drawing before
    sheet.end();
    drawing.add(mark);
    sheet.show();
  }

  const clear = button("Clear", () => change({ kind: "clear" }), {
    symbol: "clear",
    kind: "quiet",
  });
  return {
    root: element("div", { class: "pad" }, sheet.root, how, clear),
    show: (input) => change({ kind: "digit", input }),
    stop() {
      asking.stop();
      sheet.stop();
    },
  };
}
