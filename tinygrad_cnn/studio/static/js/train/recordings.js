/* Recordings of the runs on the page: loaded once, then updated by events. */

import { get } from "../api.js";
import { listen } from "../events.js";
import { failed } from "../message.js";
import { load } from "../requests.js";
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
        this.known.get(id)?.loading.want();
      }),
      listen("reset", () => this.known.forEach(({ loading }) => loading.want())),
    ];
  }

  /**
   * Return the recording of a run, empty while it loads.
   * @param {number} id
   * @returns {Recording}
   */
  of(id) {
    if (!this.known.has(id)) {
      const recording = new Recording();
      this.known.set(id, { recording, loading: this.#loadingOf(id, recording) });
      this.known.get(id).loading.want();
    }
    return this.known.get(id).recording;
  }

  /** Stop listening and loading. */
  close() {
    this.stops.forEach((stop) => stop());
    this.known.forEach(({ loading }) => loading.stop());
  }

  #note(id, change) {
    const { loading, recording } = this.known.get(id) ?? {};
    loading?.since(() => change(recording));
    if (recording) this.onchange();
  }

  #loadingOf(id, recording) {
    return load(
      (_, signal) => get(`runs/${id}/points`, {}, { signal }),
      ({ points, snapshot }) => {
        for (const { kind, step, payload } of points) {
          const entry = { ...payload, step };
          if (kind === "point") recording.add(entry);
          else if (kind === "epoch") recording.addEpoch(entry);
        }
        recording.snapshot ??= snapshot;
        this.onchange();
      },
      { refused: (error) => error.status !== 404 && failed(error) }, // a deleted run shows nothing
    );
  }
}
