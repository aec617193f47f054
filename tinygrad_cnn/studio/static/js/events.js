/* Live events: one stream of server-sent events, open while there are listeners. */

import { address } from "./api.js";

const KINDS = ["point", "epoch", "state", "restarted", "snapshot", "models", "drawings"];
const FIRST_PAUSE = 500; // milliseconds before reconnecting; doubles each time
const LONGEST_PAUSE = 15_000;

const listeners = new Map(KINDS.map((kind) => [kind, new Set()]));
const connections = new Set();
let source = null;
let lastId = "";
let pause = FIRST_PAUSE;
let timer = null;

/**
 * Call a function with the data of every future event of a kind.
 *
 * @param {"point" | "epoch" | "state" | "restarted" | "snapshot" | "models" | "drawings"} kind
 * @param {(data: any) => void} handler
 * @returns {() => void} removes the listener
 */
export function listen(kind, handler) {
  listeners.get(kind).add(handler);
  open();
  return () => {
    listeners.get(kind).delete(handler);
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
