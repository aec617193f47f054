/* Promoting a model: the server refuses one that is worse, unless a person insists. */

import { post } from "../api.js";
import { ask, failed, show } from "../message.js";
import { percent } from "../numbers.js";

/**
 * Promote a model; where it is worse, ask whether to do it all the same.
 * @param {{id: number, name: string}} model
 * @returns {Promise<boolean>}  whether it answers now
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
  show(`${name} answers now.`);
  return true;
}

function insisted(name, { before, after, detail }) {
  const fell = Number.isFinite(before) && Number.isFinite(after);
  return ask(`${name} is worse`, {
    detail: fell
      ? `Of digits that neither has learned, it tells ${percent(after, 2)} right, the promoted model ${percent(before, 2)}. Promote it all the same?`
      : `${detail} Promote it all the same?`,
    yes: "Promote all the same",
    no: "Keep the promoted one",
    kind: "danger",
  });
}
