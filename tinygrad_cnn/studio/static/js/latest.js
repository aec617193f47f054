/* Request throttling: one request at a time, only the newest waits. */

import { aborted } from "./api.js";

/**
 * Return a throttled version of a request function.
 *
 * During a request the next call waits, and a newer call replaces it. The waiting call is sent when
 * the response arrives, so no queue builds up.
 *
 * @template Wish, Answer
 * @param {(wish: Wish, signal: AbortSignal) => Promise<Answer>} ask
 * @param {(answer: Answer, wish: Wish) => void} answered
 * @param {(error: Error, wish: Wish) => void} refused
 * @returns {{want: (wish: Wish) => void, stop: () => void}} `stop` aborts the current
 *   request and drops the waiting call
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
      if (controller !== mine) return; // stopped in the meantime, perhaps restarted
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
