/* The model of a link to a view that predicts drawings. */

import { get } from "../api.js";

/**
 * @typedef {(signal: AbortSignal) => Promise<number | null>} Chosen resolves to the id of a model
 *   that classifies drawings, or to `null` for the promoted one
 */

/**
 * Return the model of a link; one that is deleted or of other images is ignored.
 *
 * @param {string | null} text the parameter of the link
 * @returns {Chosen} asks the server once
 */
export function chosenModel(text) {
  let known = text === null ? null : undefined;
  return async (signal) => {
    if (known === undefined) {
      const { models } = await get("models", {}, { signal });
      known = models.find(({ id, drawn }) => drawn && id === Number(text))?.id ?? null;
    }
    return known;
  };
}
