/* Live events: one stream of server-sent events, open while there are listeners. */

import { address } from "./api.js";

const KINDS = [
  "model",
  "drawing",
  "run",
  "point",
  "epoch",
  "restarted",
  "snapshot",
  "reset", // some events were missed for good: load everything again
];
const FIRST_PAUSE = 500; // milliseconds before reconnecting; doubles each time
const LONGEST_PAUSE = 15_000;

const listeners = new Map(KINDS.map((kind) => [kind, new Set()]));
const connections = new Set();
let source = null;
let lastId = "";
let pause = FIRST_PAUSE;
let timer = null;

/**
 * Let the stream begin after an event, unless it has begun.
 *
 * @param {number} id of the last event that the page's state includes
 */
export function beginAfter(id) {
  lastId ||= String(id);
}

/**
 * Call a function with the data of every future event of some kinds.
 *
 * @param {string | string[]} kinds see `KINDS`
 * @param {(data: any) => void} handler
 * @returns {() => void} removes the listener
 */
export function listen(kinds, handler) {
  const some = [kinds].flat().map((kind) => listeners.get(kind));
  some.forEach((handlers) => handlers.add(handler));
  open();
  return () => {
    some.forEach((handlers) => handlers.delete(handler));
    if ([...listeners.values()].every((handlers) => handlers.size === 0)) close();
  };
}

/**
 * Call a function whenever the stream connects or disconnects.
 *
 * @param {(connected: boolean) => void} handler
 * @returns {() => void} removes the listener
 */
export function onConnection(handler) {
  connections.add(handler);
  return () => connections.delete(handler);
}

function open() {
  if (source !== null || timer !== null) return;
  source = new EventSource(address("events", { after: lastId }));
  source.onopen = () => {
    pause = FIRST_PAUSE;
    connections.forEach((handler) => handler(true));
  };
  source.onerror = broken;
  for (const kind of KINDS) source.addEventListener(kind, (event) => received(kind, event));
}

function received(kind, event) {
  if (event.lastEventId) lastId = event.lastEventId;
  const data = JSON.parse(event.data);
  listeners.get(kind).forEach((handler) => handler(data));
}

function broken() {
  connections.forEach((handler) => handler(false));
  if (source.readyState !== EventSource.CLOSED) return; // the browser reconnects by itself
  source = null;
  timer = setTimeout(() => {
    timer = null;
    open();
  }, pause);
  pause = Math.min(2 * pause, LONGEST_PAUSE);
}

function close() {
  clearTimeout(timer);
  timer = null;
  source?.close();
  source = null;
}
