/* Promotion of a model; the server rejects a less accurate model unless the user insists. */

import { post } from "../api.js";
import { isolated } from "../dom.js";
import { ask, failed, show } from "../message.js";
import { percent } from "../numbers.js";
import { write } from "../requests.js";

/**
 * Promote a model; ask for confirmation if it is less accurate.
 * @param {{id: number, name: string}} model
 * @returns {Promise<boolean>}  whether it was promoted
 */
export async function promote({ id, name }) {
  const ask = (insist, refused) =>
    write("the promotion", () => post(`models/${id}/promote`, { insist }), { refused });
  let worse = null;
  let done = await ask(false, (error) =>
    error.name === "worse" ? (worse = error.fields) : failed(error),
  );
  if (worse !== null && (await insisted(name, worse))) done = await ask(true);
  if (done) show(`${isolated(name)} is promoted.`);
  return done;
}

function insisted(name, { before, after, detail }) {
  const fell = Number.isFinite(before) && Number.isFinite(after);
  return ask(`${isolated(name)} is less accurate`, {
    detail: fell
      ? `On images that neither model was trained on, its accuracy is ${percent(after, 2)}, that of the promoted model ${percent(before, 2)}. Promote it anyway?`
      : `${detail} Promote it anyway?`,
    yes: "Promote anyway",
    no: "Keep the promoted model",
    kind: "danger",
  });
}
