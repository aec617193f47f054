/* Recorded metrics of a run, and curves computed from them. */

/** @typedef {"step" | "epoch" | "second"} Unit  unit of the x axis */

const MOST = 4000; // maximum points, even; beyond it, every other point and the last are kept

export class Recording {
  constructor() {
    this.points = [];
    this.epochs = [];
    this.snapshot = null;
    this.starts = new Map(); // by epoch, in seconds of training
  }

  /**
   * Add the metrics of a batch, or replace them.
   * @param {{step: number, epoch: number, batch: number, batches: number, loss: number | null,
   *   accuracy: number | null, gradient_norms: Record<string, number | null>, seconds: number}} point
   */
  add(point) {
    insert(this.points, point);
    if (this.points.length > MOST) this.points = this.points.filter((_, place) => place % 2 === 0);
  }

  /**
   * Add the metrics of an epoch.
   * @param {{step: number, epoch: number, validation_loss: number | null,
   *   validation_accuracy: number | null, seconds: number}} epoch
   */
  addEpoch(epoch) {
    insert(this.epochs, epoch);
    this.#time();
  }

  /**
   * Discard everything after a checkpoint, from which the run resumed.
   * @param {number} step
   */
  restart(step) {
    const before = (each) => each.step <= step;
    this.points = this.points.filter(before);
    this.epochs = this.epochs.filter(before);
    this.#time();
    if (this.snapshot && !before(this.snapshot)) this.snapshot = null;
  }

  /** The latest point, or undefined. */
  get last() {
    return this.points.at(-1);
  }

  /** Batches per epoch; 0 if unknown. */
  get batches() {
    return this.last?.batches ?? 0;
  }

  /**
   * Return the mean loss or accuracy of batches. The server sends means since the epoch's start,
   * which are converted to means since the previous point.
   * @param {"loss" | "accuracy"} field
   * @param {Unit} unit
   * @returns {[number, number][]}
   */
  curve(field, unit) {
    let before = null;
    return this.points.map((point) => {
      const same = before?.epoch === point.epoch && before.batch < point.batch;
      const sum = (each) => value(each[field]) * each.images;
      const mean = same
        ? (sum(point) - sum(before)) / (point.images - before.images)
        : value(point[field]);
      before = point;
      return [this.#x(point, unit), Math.max(0, mean)];
    });
  }

  /**
   * Return the validation loss or accuracy after each epoch.
   * @param {"validation_loss" | "validation_accuracy"} field
   * @param {Unit} unit
   * @returns {[number, number][]}
   */
  tested(field, unit) {
    return this.epochs.map((epoch) => {
      const point = {
        step: epoch.step,
        epoch: epoch.epoch,
        batches: this.batches,
        seconds: epoch.seconds,
      };
      return [this.#x(point, unit), value(epoch[field])];
    });
  }

  /**
   * Return the gradient norm of each layer, in forward order.
   * @param {Unit} unit
   * @returns {Map<string, [number, number][]>}
   */
  gradients(unit) {
    const layers = new Map(
      Object.keys(this.last?.gradient_norms ?? {}).map((layer) => [layer, []]),
    );
    for (const point of this.points) {
      const x = this.#x(point, unit);
      for (const [layer, curve] of layers)
        curve.push([x, value(point.gradient_norms?.[layer]) || NaN]);
    }
    return layers;
  }

  /**
   * Return the end of the axis for a number of epochs; 0 if unknown.
   * @param {number} epochs
   * @param {Unit} unit
   */
  end(epochs, unit) {
    return { step: epochs * this.batches, epoch: epochs, second: 0 }[unit];
  }

  #x({ step, epoch, batches, seconds }, unit) {
    if (unit === "step") return step;
    if (unit === "epoch") return batches ? step / batches : epoch;
    return seconds + (this.starts.get(epoch) ?? 0);
  }

  #time() {
    let sum = 0;
    this.starts = new Map(
      this.epochs.map(({ epoch, seconds }) => [epoch + 1, (sum += seconds ?? 0)]),
    );
  }
}

/** Convert null to NaN, which JSON cannot express. */
function value(number) {
  return number ?? NaN;
}

function insert(list, item) {
  let place = list.length;
  while (place > 0 && list[place - 1].step > item.step) place -= 1;
  const known = place > 0 && list[place - 1].step === item.step;
  list.splice(known ? place - 1 : place, known ? 1 : 0, item);
}
