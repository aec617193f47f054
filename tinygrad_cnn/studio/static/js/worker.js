/* Shared worker: one stream of live events for all tabs, which may open few connections. */

import { Stream } from "./stream.js";

const tabs = new Set();
let stream = null;
let state = { connected: true }; // until the first connection fails

function send(message) {
  if ("connected" in message) state = message;
  tabs.forEach((tab) => tab.postMessage(message));
}

/** Add a tab that knows of an event, or remove one that is closed. */
function heard(tab, { after, closed }) {
  if (closed) return tabs.delete(tab);
  tabs.add(tab);
  tab.postMessage(state);
  if (stream === null) stream = new Stream(after, send);
  else if (after < stream.last) tab.postMessage({ kind: "reset", text: "{}" });
  return tabs;
}

addEventListener("connect", ({ ports: [tab] }) => {
  tab.onmessage = ({ data }) => heard(tab, data);
});
