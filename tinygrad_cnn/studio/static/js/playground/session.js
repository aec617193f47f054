/* Session: a network in training, which lives in the page; the server computes each update. */

import { post } from "../api.js";
import { failed } from "../message.js";
import { load } from "../requests.js";
import { BUSY } from "./explainer.js";

/**
 * @typedef {import("./setup.js").Setup} Setup
 * @typedef {import("./setup.js").Point} Point
 * @typedef {{weight: number[][], bias: number[]}} Layer
 * @typedef {{parameters: Layer[], gradients: Layer[] | null, step: number, diverged: boolean,
 *   train_loss: number | null, test_loss: number | null, surface: import("../maps.js").Maps,
 *   neurons: import("../maps.js").Maps[], chosen: import("../maps.js").Maps | null}} Update
 */

const SHORTEST = 33; // milliseconds of an update at least: more would not be seen
const PAUSE = 1000; // milliseconds to wait when the server is busy
const MOST_STEPS = 1000;
const MOST_POINTS = 1000; // of a curve; then every other one is dropped

/** The training of a network. */
export class Session {
  /**
   * @param {Setup} setup shared with the view, which changes it
   * @param {{updated: () => void, stopped: (why: string) => void}} handlers
   */
  constructor(setup, handlers) {
    Object.assign(this, { setup, ...handlers });
    Object.assign(this, { train: [], test: [], chosen: null, known: null, playing: false });
    this.rest = 0;
    this.#clear();
    this.asking = load(
      (wish, signal) => post("playground/train", wish, { signal }),
      (answer, wish) => this.#take(answer, wish),
      { refused: (error) => this.#refuse(error) },
    );
    this.seen = () => this.#run();
    document.addEventListener("visibilitychange", this.seen);
  }

  /** The number of batches of an epoch. */
  get batches() {
    return Math.ceil(this.train.length / this.setup.batch) || 1;
  }

  /** The number of epochs done, with a fraction. */
  get epoch() {
    return this.step / this.batches;
  }

  /**
   * Replace the points; the network stays.
   *
   * @param {Point[]} train
   * @param {Point[]} test
   */
  use(train, test) {
    this.keepEpoch(() => Object.assign(this, { train, test }));
  }

  /**
   * Keep the number of epochs while the number of batches changes.
   *
   * @param {() => void} change
   */
  keepEpoch(change) {
    this.#drop();
    const { epoch } = this;
    change();
    this.step = Math.round(epoch * this.batches);
  }

  /** Begin again, with the initial weights of the seed. */
  restart() {
    this.#drop();
    this.#clear();
    return this.look();
  }

  /**
   * Go on with other parameters.
   *
   * @param {Layer[]} parameters
   */
  replace(parameters) {
    this.#drop();
    this.parameters = parameters;
    return this.look();
  }

  /** Ask for the network as it is, such as for other maps. */
  look() {
    return this.playing ? this.#run() : this.asking.want(this.#wish(0));
  }

  /** Train until `stop`. */
  play() {
    this.playing = true;
    this.#run();
  }

  /** Stop training. */
  stop() {
    this.playing = false;
  }

  /** Train for one update. */
  once() {
    this.stop();
    return this.asking.want(this.#wish(this.#steps()));
  }

  /** Remove the listeners. */
  close() {
    this.stop();
    this.asking.stop();
    document.removeEventListener("visibilitychange", this.seen);
  }

  /** Return the part of a request that describes the network. */
  network() {
    const { features, hidden, activation, loss, penalty, rate, lr, seed } = this.setup;
    return {
      ...{ features, hidden, activation, loss, lr, seed },
      penalty: penalty || null,
      penalty_rate: penalty ? rate : 0,
      parameters: this.parameters,
    };
  }

  /** Drop the answer under way: its parameters or its step are no longer those to go on from. */
  #drop() {
    this.asking.stop();
  }

  #clear() {
    Object.assign(this, { parameters: null, step: 0, curves: { train: [], test: [] } });
  }

  #wish(steps) {
    return {
      ...this.network(),
      ...{ train: this.train, test: this.test, steps },
      ...{ batch_size: this.setup.batch, step: this.step, chosen: this.chosen },
    };
  }

  #steps() {
    const { pace } = this.setup;
    const epochs = { batch: 0, epoch: 1, fast: 5 }[pace];
    return Math.min(MOST_STEPS, epochs ? epochs * this.batches : 1);
  }

  async #run() {
    if (this.running) return;
    this.running = true;
    while (this.playing && !document.hidden) {
      const begun = performance.now();
      await this.asking.want(this.#wish(this.#steps()));
      const pause = this.rest || SHORTEST - (performance.now() - begun);
      this.rest = 0;
      if (pause > 0) await new Promise((resolve) => setTimeout(resolve, pause));
    }
    this.running = false;
  }

  #take(answer, { steps }) {
    Object.assign(this, { known: answer, parameters: answer.parameters, step: answer.step });
    if (steps || !this.curves.train.length) this.#note(answer);
    this.updated();
    if (answer.diverged) {
      this.stop();
      this.stopped(
        `The weights grew beyond all bounds: the learning rate ${this.setup.lr} is too large here.`,
      );
    }
  }

  #note({ train_loss: train, test_loss: test }) {
    for (const [name, value] of Object.entries({ train, test })) {
      const curve = this.curves[name];
      if (value !== null) curve.push([this.epoch, value]);
      if (curve.length > MOST_POINTS) this.curves[name] = curve.filter((_, place) => !(place % 2));
    }
  }

  #refuse(error) {
    if (this.playing && BUSY.has(error.status)) this.rest = PAUSE;
    else {
      const was = this.playing;
      this.stop();
      if (was) this.stopped("");
      failed(error);
    }
  }
}
