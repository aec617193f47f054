/* Live events, from one connection that all tabs of the browser share. */

import { Stream } from "./stream.js";

const listeners = new Map(); // sets of handlers by kind
const connections = new Set();
let begun = false;

/**
 * Call a function with the data of every future event of some kinds.
 *
 * @param {string | string[]} kinds see `KINDS` in stream.js
 * @param {(data: any) => void} handler
 * @returns {() => void} removes the listener
 */
export function listen(kinds, handler) {
  const some = [kinds].flat().map((kind) => {
    if (!listeners.has(kind)) listeners.set(kind, new Set());
    return listeners.get(kind);
  });
  some.forEach((handlers) => handlers.add(handler));
  return () => some.forEach((handlers) => handlers.delete(handler));
}

/**
 * Call a function whenever the connection is made or lost.
 *
 * @param {(connected: boolean) => void} handler
 * @returns {() => void} removes the listener
 */
export function onConnection(handler) {
  connections.add(handler);
  return () => connections.delete(handler);
}

/**
 * Begin to listen, unless it has begun.
 *
 * A browser opens at most six connections to a server over HTTP/1.1, so a stream for each tab would
 * leave none for requests. A shared worker needs no secure context, unlike locks. A browser without
 * one, on a phone, has a stream while the tab is visible.
 *
 * @param {number} id of the last event that the page's state includes
 */
export function beginAfter(id) {
  if (begun) return;
  begun = true;
  if (typeof SharedWorker === "undefined") return beginAlone(id);
  const worker = new SharedWorker(new URL("./worker.js", import.meta.url), { type: "module" });
  worker.addEventListener("error", () => beginAlone(id), { once: true });
  worker.port.onmessage = ({ data }) => received(data);
  worker.port.postMessage({ after: id });
  addEventListener("pagehide", () => worker.port.postMessage({ closed: true }));
  addEventListener(
    "pageshow",
    ({ persisted }) => persisted && worker.port.postMessage({ after: 0 }), // missed some events
  );
}

function beginAlone(id) {
  const stream = new Stream(id, received);
  const show = () => (document.hidden ? stream.close() : stream.open());
  document.addEventListener("visibilitychange", show);
  show();
}

/** @param {import("./stream.js").Message} message */
function received({ connected, kind, text }) {
  if (connected !== undefined) return connections.forEach((handler) => handler(connected));
  const handlers = listeners.get(kind);
  if (!handlers?.size) return;
  const data = JSON.parse(text);
  handlers.forEach((handler) => handler(data));
}
