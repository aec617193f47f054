/* Requests: loads, of which the newest wins, and writes, one at a time about each subject. */

import { aborted, post } from "./api.js";
import { onConnection } from "./events.js";
import { failed, recovered } from "./message.js";

const PAUSES = [300, 1000, 3000]; // milliseconds before an unanswered creation is sent again
const AGAIN = 2000; // milliseconds before unanswered loads are sent again

/**
 * @template Wish
 * @typedef {object} Load
 * @property {(wish?: Wish) => Promise<boolean>} want sends a request; resolves to whether its answer
 *   is shown
 * @property {(change: () => void) => void} since applies a change that an event or a write has
 *   brought, and applies it again after the answer to a request that was sent before it
 * @property {() => void} stop aborts the request and drops the waiting wish, such as on unmount
 */

/**
 * Return a load: the requests for one part of the page, of which the newest wins.
 *
 * A wish aborts the request for another wish. The same wish waits for the running request and is
 * then sent once more, because the answer may be older than the reason to ask again; so a burst of
 * events becomes two requests. With `live`, another wish waits as well, and the older answer is
 * shown until then, as while drawing. A request that the server did not answer is sent again until
 * it does.
 *
 * @template Wish, Answer
 * @param {(wish: Wish, signal: AbortSignal) => Promise<Answer>} ask
 * @param {(answer: Answer, wish: Wish) => void} answered
 * @param {{refused?: (error: Error, wish: Wish) => void, live?: boolean}} [options]
 * @returns {Load<Wish>} wishes are plain data
 */
export function load(ask, answered, { refused = failed, live = false } = {}) {
  let running = null; // the request that is under way, and the changes since it was sent
  let waiting = null;
  let last; // the last wish
  let sending = Promise.resolve(false);

  const again = () => running === null && send(last);

  async function send(first) {
    let shown = false;
    waiting = { wish: first };
    while (waiting !== null) {
      const { wish } = waiting;
      const mine = { wish, controller: new AbortController(), changes: [] };
      [running, waiting, last] = [mine, null, wish];
      const { answer, error } = await settled(ask(wish, mine.controller.signal));
      if (running !== mine) return false; // stopped, or replaced by another wish
      running = null;
      shown = error === undefined;
      const isNews = noteAnswer(again, error);
      if (shown) answered(answer, wish);
      else if (isNews && !aborted(error)) refused(error, wish);
      if (shown) mine.changes.forEach((change) => change());
      if (running !== null) break; // asked again by one of these
    }
    return shown;
  }

  function stop() {
    running?.controller.abort();
    running = waiting = null;
    unanswered.delete(again);
  }

  return {
    want(wish) {
      const other = !live && JSON.stringify(wish) !== JSON.stringify(running?.wish);
      if (running !== null && other) stop();
      if (running === null) sending = send(wish);
      else waiting = { wish };
      return sending;
    },
    since(change) {
      running?.changes.push(change);
      change();
    },
    stop,
  };
}

const unanswered = new Set(); // functions that send the unanswered loads again
let timer = null;

/** Note the answer to a load; return whether an error is news. */
function noteAnswer(again, error) {
  if (error?.status !== 0) {
    unanswered.delete(again);
    if (error === undefined) recovered();
    return true;
  }
  const news = !unanswered.has(again);
  unanswered.add(again);
  timer ??= setTimeout(sendAgain, AGAIN);
  return news;
}

function sendAgain() {
  clearTimeout(timer);
  timer = null;
  [...unanswered].forEach((again) => again());
}

onConnection((connected) => {
  if (!connected) return;
  recovered();
  sendAgain();
});

const ends = new Map(); // by subject: its newest write, and what shows the last one done

/**
 * Send a write after the earlier writes about the same subject.
 *
 * @template Answer
 * @param {string} subject what is changed, such as "drawing 7"
 * @param {() => Promise<Answer>} send
 * @param {object} [then]
 * @param {() => boolean} [then.shown] whether the page still shows the subject; asked when the
 *   answer arrives
 * @param {(answer: Answer) => void} [then.answered] called only if the subject is shown, and only
 *   for the last of its writes that was done, when none is under way
 * @param {(error: Error) => void} [then.refused]
 * @returns {Promise<boolean>} whether it was done
 */
export async function write(
  subject,
  send,
  { shown = () => true, answered = () => {}, refused = failed } = {},
) {
  const end = ends.get(subject) ?? { sent: Promise.resolve(), done: () => {} };
  const sent = settled(end.sent.then(send));
  end.sent = sent;
  ends.set(subject, end);
  const { answer, error } = await sent;
  if (error === undefined) end.done = () => shown() && answered(answer);
  else refused(error);
  if (end.sent === sent) {
    ends.delete(subject);
    end.done();
  }
  return error === undefined;
}

/**
 * Create a drawing, a run or a model; sent again while the server does not answer.
 *
 * The server stores the key with what it creates and answers a repeated key with that, so nothing is
 * created twice.
 *
 * @param {string} path
 * @param {unknown} body as of `post`
 * @param {{query?: Record<string, unknown>, key?: string}} [options] `key`: see `freshKey`
 * @returns {Promise<any>}
 */
export async function create(path, body, { query, key = freshKey() } = {}) {
  for (const pause of PAUSES) {
    try {
      return await post(path, body, { query, key });
    } catch (error) {
      if (error.status !== 0) throw error;
      await new Promise((resolve) => setTimeout(resolve, pause));
    }
  }
  return post(path, body, { query, key });
}

/**
 * Return a new key for a creation; unlike `crypto.randomUUID`, also on a page without https.
 *
 * @returns {string}
 */
export function freshKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Return the answer of a promise, or its error. */
function settled(promise) {
  return promise.then(
    (answer) => ({ answer }),
    (error) => ({ error }),
  );
}
