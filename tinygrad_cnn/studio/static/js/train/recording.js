/* What is known of a run: its points in order, and the curves made of them. */

/** @typedef {"step" | "epoch" | "second"} Unit  what curves are drawn against */

const MOST = 4000; // points: of more, every other one is kept, and the last (this is even)

export class Recording {
  constructor() {
    this.points = [];
    this.epochs = [];
    this.snapshot = null;
    this.starts = new Map(); // of an epoch, in seconds of training
  }

  /**
   * Note a batch; one that is known already is replaced.
   * @param {{step: number, epoch: number, batch: number, batches: number, loss: number | null,
   *   accuracy: number | null, gradient_norms: Record<string, number | null>, seconds: number}} point
   */
  add(point) {
    insert(this.points, point);
    if (this.points.length > MOST) this.points = this.points.filter((_, place) => place % 2 === 0);
  }

  /**
   * Note the end of an epoch.
   * @param {{step: number, epoch: number, validation_loss: number | null,
   *   validation_accuracy: number | null, seconds: number}} epoch
   */
  addEpoch(epoch) {
    insert(this.epochs, epoch);
    this.#time();
  }

  /**
   * Forget what came after a checkpoint: the run began again there.
   * @param {number} step
   */
  restart(step) {
    const before = (each) => each.step <= step;
    this.points = this.points.filter(before);
    this.epochs = this.epochs.filter(before);
    this.#time();
    if (this.snapshot && !before(this.snapshot)) this.snapshot = null;
  }

  /** The newest point, or undefined. */
  get last() {
    return this.points.at(-1);
  }

  /** How many batches an epoch has; 0 while that is not known. */
  get batches() {
    return this.last?.batches ?? 0;
  }

  /**
   * The batches' mean loss or accuracy. The server tells means since the epoch's beginning; here
   * they are taken apart again, so that each point stands for the batches since the one before it.
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
   * The loss or the accuracy on the test images, after each epoch.
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
   * The length of the gradient of each layer, the first layer first.
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
   * Where the axis of a run ends that is to have so many epochs; 0 where only time will tell.
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

/** JSON has no NaN: null stands for it. */
function value(number) {
  return number ?? NaN;
}

function insert(list, item) {
  let place = list.length;
  while (place > 0 && list[place - 1].step > item.step) place -= 1;
  const known = place > 0 && list[place - 1].step === item.step;
  list.splice(known ? place - 1 : place, known ? 1 : 0, item);
}
