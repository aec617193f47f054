/* Asking as often as the server can answer: one request at a time, and never a queue. */

import { aborted } from "./api.js";

/**
 * Return a function that asks with the newest wish only.
 *
 * While a request is under way a further wish waits, and a newer one takes its place; the wish that
 * waits is asked when the answer is there. So nothing piles up however fast wishes come.
 *
 * @template Wish, Answer
 * @param {(wish: Wish, signal: AbortSignal) => Promise<Answer>} ask
 * @param {(answer: Answer, wish: Wish) => void} answered
 * @param {(error: Error, wish: Wish) => void} refused
 * @returns {{want: (wish: Wish) => void, stop: () => void}} `stop` gives up the request that is
 *   under way and the wish that waits
 */
export function latest(ask, answered, refused) {
  let waiting = null;
  let controller = null;

  async function go() {
    while (waiting !== null) {
      const { wish } = waiting;
      waiting = null;
      const mine = new AbortController();
      controller = mine;
      try {
        const answer = await ask(wish, mine.signal);
        if (!mine.signal.aborted) answered(answer, wish);
      } catch (error) {
        if (!aborted(error) && !mine.signal.aborted) refused(error, wish);
      }
      if (controller !== mine) return; // stopped meanwhile, and perhaps begun again
    }
    controller = null;
  }

  return {
    want(wish) {
      waiting = { wish };
      if (controller === null) go();
    },
    stop() {
      waiting = null;
      controller?.abort();
      controller = null;
    },
  };
}
