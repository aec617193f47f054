/* Server state: the promoted model, the current run, the choices for runs. */

import { get } from "./api.js";
import { beginAfter, listen } from "./events.js";
import { load } from "./requests.js";

/**
 * @typedef {{id: number, name: string, created: string, parameters: number, accuracy: number,
 *   model: string, data: string, input_shape: number[], classes: string[], drawn: boolean,
 *   activation: string | null, run_id: number | null, parent_id: number | null,
 *   promoted: boolean}} ModelSummary
 * @typedef {{id: number, name: string, kind: string, state: string, epoch: number, epochs: number}} RunSummary
 * @typedef {{version: string, event_id: number, promoted: ModelSummary | null, training: RunSummary | null,
 *   data: string[], choices: Record<string, any>, limits: Record<string, number>}} ServerState
 */

const watchers = new Set();
let known = null;

/**
 * Return the last known state of the server; `null` before the first response.
 *
 * @returns {ServerState | null}
 */
export function server() {
  return known;
}

const loading = load((_, signal) => get("state", {}, { signal }), tell);

function tell(state) {
  known = state;
  beginAfter(state.event_id);
  watchers.forEach((handler) => handler(known));
}

/**
 * Fetch the state of the server and notify the handlers.
 *
 * @returns {Promise<boolean>} whether it is known now
 */
export function refresh() {
  return loading.want();
}

/**
 * Call a function whenever the state of the server changes.
 *
 * @param {(state: ServerState) => void} handler
 * @returns {() => void} removes the handler
 */
export function watch(handler) {
  watchers.add(handler);
  return () => watchers.delete(handler);
}

/** Refresh the state on live events, as long as the page is open. */
export function follow() {
  listen(["model", "run", "reset"], refresh);
}
