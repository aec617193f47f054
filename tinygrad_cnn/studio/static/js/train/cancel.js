/* Cancellation of runs, after a question. */

import { post } from "../api.js";
import { isolated } from "../dom.js";
import { ask } from "../message.js";
import { counted, duration } from "../numbers.js";
import { write } from "../requests.js";

/**
 * Ask whether to cancel a run, saying what is lost, and cancel it.
 * @param {any} run
 * @param {Parameters<typeof write>[2]} [then]  as of `write`
 */
export async function cancelRun(run, then) {
  const choices = { yes: "Cancel the run", no: "Keep it", kind: "danger" };
  if (!(await ask(`Cancel ${isolated(run.name)}?`, { detail: lostBy(run), ...choices }))) return;
  await write(`run ${run.id}`, () => post(`runs/${run.id}/cancel`), then);
}

function lostBy({ state, epoch, epochs, result, kind }) {
  if (state === "queued") return "It has not started: only its place in the queue is lost.";
  const done = `${epoch} of ${counted(epochs, "epoch")} ${epochs === 1 ? "is" : "are"} done`;
  const time = result?.seconds ? `, after ${duration(result.seconds)}` : "";
  const kept = kind === "fine-tune" ? "Its metrics and the drawings stay." : "Its metrics stay.";
  return `${done}${time}. What it has learned is lost: a canceled run gives no model and cannot be resumed. ${kept}`;
}
