/* Stream: server-sent events over one connection, opened again whenever it is lost. */

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
const FIRST_PAUSE = 250; // milliseconds before connecting again; doubles each time
const LONGEST_PAUSE = 2000;

/**
 * @typedef {{connected: boolean} | {kind: string, text: string}} Message the state of the
 *   connection, or an event with its data as JSON
 */

/** The stream of live events; one that is closed and opened again continues after the last event. */
export class Stream {
  /**
   * @param {number} after id of the last event that is known
   * @param {(message: Message) => void} send called with every message
   */
  constructor(after, send) {
    this.last = after;
    this.send = send;
    this.source = null;
    this.pause = FIRST_PAUSE;
    this.open();
  }

  /** Connect, unless it is connected. */
  open() {
    if (this.source !== null) return;
    clearTimeout(this.timer);
    this.source = new EventSource(address("events", { after: this.last }));
    this.source.onopen = () => {
      this.pause = FIRST_PAUSE;
      this.send({ connected: true });
    };
    this.source.onerror = () => {
      this.close();
      this.timer = setTimeout(() => this.open(), this.pause);
      this.pause = Math.min(2 * this.pause, LONGEST_PAUSE);
      this.send({ connected: false });
    };
    for (const kind of KINDS) {
      this.source.addEventListener(kind, ({ data, lastEventId }) => {
        this.last = Number(lastEventId);
        this.send({ kind, text: data });
      });
    }
  }

  /** Disconnect. */
  close() {
    clearTimeout(this.timer);
    this.source?.close();
    this.source = null;
  }
}
