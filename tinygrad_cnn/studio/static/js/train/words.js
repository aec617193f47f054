/* Text for runs and their settings. */

import { number } from "../numbers.js";
import { server } from "../server.js";

const NAMES = { mnist: "MNIST" };

/**
 * Return the display name of a model, an activation or another choice.
 * @param {string} key
 * @returns {string}
 */
export function named(key) {
  const table = Object.values(server()?.choices ?? {}).find((each) => each[key]?.label);
  return table?.[key].label ?? NAMES[key] ?? key.charAt(0).toUpperCase() + key.slice(1);
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
 * Return the state of a run as text.
 * @param {{state: string, wanted: string, epoch: number, epochs: number, position: number | null}} run
 * @returns {string}
 */
export function stateOf({ state, wanted, epoch, epochs, position }) {
  const at = `epoch ${Math.min(epoch + 1, epochs)} of ${epochs}`;
  if (state === "queued") return position ? `Queued, ${ordinal(position)} in line` : "Queued";
  if (state === "running" && wanted === "pause") return `Pausing, ${at}`;
  if (wanted === "cancel" && !ended(state)) return "Canceling";
  if (state === "running") return `Running, ${at}`;
  if (state === "paused") return `Paused, ${at}`;
  return { done: "Done", cancelled: "Canceled", failed: "Failed" }[state] ?? state;
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
