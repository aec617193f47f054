/* Recordings of the runs on the page: loaded once, then updated by events. */

import { get } from "../api.js";
import { listen, onConnection } from "../events.js";
import { failed } from "../message.js";
import { Recording } from "./recording.js";

export class Recordings {
  /** @param {() => void} onchange  called after every change */
  constructor(onchange) {
    this.onchange = onchange;
    this.known = new Map();
    this.stops = [
      listen("point", (point) => this.#note(point.run_id, (recording) => recording.add(point))),
      listen("epoch", (epoch) =>
        this.#note(epoch.run_id, (recording) => recording.addEpoch(epoch)),
      ),
      listen("snapshot", (snapshot) =>
        this.#note(snapshot.run_id, (recording) => (recording.snapshot = snapshot)),
      ),
      listen("restarted", ({ run_id: id, step }) => {
        this.#note(id, (recording) => recording.restart(step));
        if (this.known.has(id)) this.#load(id);
      }),
      onConnection((connected) => connected && this.known.forEach((_, id) => this.#load(id))),
    ];
  }

  /**
   * Return the recording of a run, empty while it loads.
   * @param {number} id
   * @returns {Recording}
   */
  of(id) {
    if (!this.known.has(id)) {
      this.known.set(id, new Recording());
      this.#load(id);
    }
    return this.known.get(id);
  }

  /** Stop listening. */
  close() {
    this.stops.forEach((stop) => stop());
  }

  #note(id, change) {
    const recording = this.known.get(id);
    if (!recording) return;
    change(recording);
    this.onchange();
  }

  async #load(id) {
    try {
      const { points, snapshot } = await get(`runs/${id}/points`);
      this.#note(id, (recording) => {
        for (const { kind, step, payload } of points) {
          const entry = { ...payload, step };
          if (kind === "point") recording.add(entry);
          else if (kind === "epoch") recording.addEpoch(entry);
        }
        recording.snapshot ??= snapshot;
      });
    } catch (error) {
      if (error.status !== 404) failed(error); // a deleted run has nothing to show
    }
  }
}
