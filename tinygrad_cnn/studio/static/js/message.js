/* Messages: screen reader announcements, notices, dialogs. */

import { button, element, fill, fresh } from "./dom.js";

const UNEXPECTED = "This page has an error. Load it again; your work on the server is safe.";
const SHOWN = 7000; // milliseconds that a notice is shown; errors stay until closed

/**
 * Announce a text to screen readers.
 *
 * @param {string} text
 */
export function say(text) {
  document.getElementById("said").textContent = text;
}

/**
 * Show a notice; an error stays until it is closed.
 *
 * @param {string} text
 * @param {{kind?: "notice" | "error", action?: {label: string, run: () => void}}} [options]
 * @returns {HTMLElement}
 */
export function show(text, { kind = "notice", action } = {}) {
  const close = () => notice.remove();
  const notice = element(
    "div",
    { class: `notice ${kind}` },
    element("p", {}, text),
    action ? button(action.label, () => (close(), action.run()), { kind: "quiet" }) : null,
    button("Close", close, { symbol: "close", only: true, kind: "quiet" }),
  );
  const notices = document.getElementById("notices");
  [...notices.children]
    .filter((other) => other.textContent === notice.textContent)
    .forEach((other) => other.remove());
  notices.append(notice);
  if (kind === "notice") setTimeout(close, SHOWN);
  return notice;
}

/**
 * Show an error; one of the browser itself, such as a TypeError, in words of ours.
 *
 * @param {Error} error
 */
export function failed(error) {
  const ours = "status" in error || Object.getPrototypeOf(error) === Error.prototype;
  if (!ours) console.error(error);
  const notice = show(ours ? error.message : UNEXPECTED, { kind: "error" });
  if (error.status === 0) notice.classList.add("outage");
}

/** Remove the errors of an outage, when the server answers again. */
export function recovered() {
  document.querySelectorAll("#notices .outage").forEach((notice) => notice.remove());
}

/**
 * Ask a yes-or-no question; Escape means no.
 *
 * @param {string} question
 * @param {{detail?: string, yes?: string, no?: string, kind?: "primary" | "danger"}} [options]
 * @returns {Promise<boolean>}
 */
export function ask(question, { detail = "", yes = "Yes", no = "Cancel", kind = "primary" } = {}) {
  return new Promise((resolve) => {
    const heading = element("h2", { id: fresh("question") }, question);
    const done = (answer) => {
      resolve(answer);
      made.close();
    };
    const made = element(
      "dialog",
      { class: "dialog question", "aria-labelledby": heading.id },
      heading,
      detail ? element("p", {}, detail) : null,
      element(
        "div",
        { class: "answers" },
        button(no, () => done(false)),
        button(yes, () => done(true), { kind }),
      ),
    );
    made.addEventListener("close", () => {
      resolve(false);
      made.remove();
    });
    document.body.append(made);
    made.showModal();
  });
}

/**
 * Show a dialog; Escape and a click outside close it.
 *
 * @param {string} title
 * @param {...unknown} children
 * @returns {HTMLDialogElement} call `close` to close it
 */
export function dialog(title, ...children) {
  const heading = element("h2", { id: fresh("dialog") }, title);
  const made = element("dialog", { class: "dialog", "aria-labelledby": heading.id });
  fill(
    made,
    element(
      "header",
      {},
      heading,
      button("Close", () => made.close(), { symbol: "close", only: true, kind: "quiet" }),
    ),
    element("div", { class: "inside" }, children),
  );
  made.addEventListener("click", (event) => event.target === made && made.close());
  made.addEventListener("close", () => made.remove());
  document.body.append(made);
  made.showModal();
  return made;
}
