/* Explainer: asks for one step in full, for the marked point of the network as it is. */

import { post } from "../api.js";
import { failed } from "../message.js";
import { load } from "../requests.js";

/** Statuses of a server that has too much to do; a later update asks again. */
export const BUSY = new Set([429, 503]);

/** One step of the current network. */
export class Explainer {
  /**
   * @param {import("./session.js").Session} session
   * @param {() => void} answered
   */
  constructor(session, answered) {
    this.session = session;
    this.marked = 0; // index of the point that the numbers are about
    this.batched = false; // whether the gradient is that of a batch
    this.step = null;
    this.asking = load(
      (wish, signal) => post("playground/backprop", wish, { signal }),
      (answer, { points: [point] }) => {
        this.step = { ...answer, point };
        answered();
      },
      { live: true, refused: (error) => BUSY.has(error.status) || failed(error) },
    );
  }

  /** The marked point; `null` if there are no points. */
  get point() {
    return this.session.train[this.marked] ?? this.session.train[0] ?? null;
  }

  /**
   * Mark the point nearest to a place.
   *
   * @param {number} x1
   * @param {number} x2
   */
  mark(x1, x2) {
    const distances = this.session.train.map((each) => Math.hypot(each.x1 - x1, each.x2 - x2));
    this.marked = Math.max(0, distances.indexOf(Math.min(...distances)));
  }

  /** Ask for the step. */
  ask() {
    const { point, session } = this;
    if (point === null) return;
    const others = session.train.filter((each) => each !== point);
    const points = [point, ...others].slice(0, this.batched ? session.setup.batch : 1);
    this.asking.want({ ...session.network(), points });
  }

  /** Forget the step, which was that of another network. */
  forget() {
    this.asking.stop();
    this.step = null;
  }
}
