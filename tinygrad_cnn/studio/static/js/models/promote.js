/* Promotion of a model; the server rejects a less accurate model unless the user insists. */

import { post } from "../api.js";
import { ask, failed, show } from "../message.js";
import { percent } from "../numbers.js";

/**
 * Promote a model; ask for confirmation if it is less accurate.
 * @param {{id: number, name: string}} model
 * @returns {Promise<boolean>}  whether it was promoted
 */
export async function promote({ id, name }) {
  try {
    await post(`models/${id}/promote`, { insist: false });
  } catch (error) {
    if (error.name !== "worse") return (failed(error), false);
    if (!(await insisted(name, error.fields))) return false;
    try {
      await post(`models/${id}/promote`, { insist: true });
    } catch (another) {
      return (failed(another), false);
    }
  }
  show(`${name} is promoted.`);
  return true;
}

function insisted(name, { before, after, detail }) {
  const fell = Number.isFinite(before) && Number.isFinite(after);
  return ask(`${name} is less accurate`, {
    detail: fell
      ? `On images that neither model was trained on, its accuracy is ${percent(after, 2)}, that of the promoted model ${percent(before, 2)}. Promote it anyway?`
      : `${detail} Promote it anyway?`,
    yes: "Promote anyway",
    no: "Keep the promoted model",
    kind: "danger",
  });
}
