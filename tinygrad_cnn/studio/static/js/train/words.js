/* Text for runs and their settings. */

import { isolated } from "../dom.js";
import { counted, grouped, number, when } from "../numbers.js";
import { server } from "../server.js";

const NAMES = new Map([
  ["cifar10", "CIFAR-10"],
  ["mnist", "MNIST"],
]);
const TITLES = {
  augment: "Augmentation",
  metrics: "Further metrics",
  val_split: "Validation share",
};

/**
 * Return the display name of a model, an activation or another choice.
 * @param {string} key
 * @returns {string}
 */
export function named(key) {
  const table = Object.values(server()?.choices ?? {}).find((each) => each[key]?.label);
  return table?.[key].label ?? NAMES.get(key) ?? key.charAt(0).toUpperCase() + key.slice(1);
}

/**
 * Return the display name of a setting.
 * @param {string} name
 * @returns {string}
 */
export function titled(name) {
  const { numbers = {} } = server()?.choices ?? {};
  return TITLES[name] ?? numbers[name]?.label ?? named(name.replaceAll("_", " "));
}

/**
 * Return the value of a setting as text.
 * @param {unknown} value
 * @returns {string}
 */
export function valued(value) {
  if (Array.isArray(value)) return value.map(valued).join(", ");
  if (typeof value === "boolean") return value ? "Yes" : "No";
  if (typeof value === "number") return Number.isInteger(value) ? grouped(value) : number(value);
  return isolated(named(String(value)));
}

/**
 * Return a one-line summary of a run's settings.
 * @param {{kind: string, request: Record<string, any>}} run
 * @returns {string}
 */
export function summaryOf({ kind, request }) {
  const rate = request.lr === null || request.lr === undefined ? "" : ` ${number(request.lr)}`;
  if (kind === "fine-tune")
    return [`Fine-tunes model ${request.model_id ?? ""}`.trim(), `rate${rate}`].join(" · ");
  const { model, activation, hidden, optimizer, batch_size: batch, data, seed } = request;
  return [
    model && named(model),
    model === "mlp" && hidden?.length ? hidden.join("–") : "",
    activation ? named(activation) : "",
    optimizer ? `${named(optimizer)}${rate}` : "",
    batch ? `batch ${batch}` : "",
    data === "european-digits" ? "" : named(data ?? ""),
    seed ? `seed ${seed}` : "",
  ]
    .filter(Boolean)
    .join(" · ");
}

/**
 * Return the state of a run as text: also what it waits for, or how many wait for it.
 * @param {any} run
 * @param {any[]} [runs]  all runs
 * @returns {string}
 */
export function stateOf(run, runs = []) {
  const { state, wanted, epoch, epochs, error } = run;
  const at = `epoch ${Math.min(epoch + 1, epochs)} of ${epochs}`;
  if (ended(state)) return `${outcomeOf(run)}, ${when(run.ended ?? run.created)}`;
  if (wanted === "cancel") return "Canceling";
  if (state === "queued") return `Queued${waiting(run, runs)}`;
  if (state === "interrupted") return `Interrupted${error ? `: ${error}` : ""}${retry(run, runs)}`;
  if (state === "running") return `${wanted === "pause" ? "Pausing" : "Running"}, ${at}`;
  const others = runs.filter((other) => other.waits_for?.includes(run.id)).length;
  const held = others ? `. ${counted(others, "run waits", "runs wait")} for its place` : "";
  return `Paused, ${at}${held}`;
}

/**
 * Return how a run ended.
 * @param {{state: string, error: string | null}} run
 * @returns {string}
 */
export function outcomeOf({ state, error }) {
  if (state === "failed") return error ? `Failed: ${error}` : "Failed";
  return state === "done" ? "Done" : "Canceled";
}

function waiting({ position, waits_for: ids = [] }, runs) {
  const place = position > 1 ? `, ${ordinal(position)} in line` : "";
  const holders = ids
    .map((id) => runs.find((run) => run.id === id))
    .filter(Boolean)
    .map(({ name, state }) => `${isolated(name)}${state === "paused" ? " (paused)" : ""}`);
  return holders.length ? `${place}: waits for ${holders.join(" or ")}` : place;
}

function retry({ retry_at: at, waits_for: ids = [] }, runs) {
  if (ids.length) return waiting({ waits_for: ids }, runs);
  return at ? `. Continues at ${when(at)}` : ". Continues soon";
}

/**
 * Return whether a run in this state is finished.
 * @param {string} state
 * @returns {boolean}
 */
export function ended(state) {
  return ["done", "cancelled", "failed"].includes(state);
}

function ordinal(count) {
  const suffix =
    count % 100 > 10 && count % 100 < 14 ? "th" : (["th", "st", "nd", "rd"][count % 10] ?? "th");
  return `${count}${suffix}`;
}
