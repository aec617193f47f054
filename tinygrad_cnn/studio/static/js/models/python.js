/* Python export: a script that rebuilds and trains a model. */

import { address } from "../api.js";
import { button, element } from "../dom.js";
import { dialog, failed, say } from "../message.js";

/** @param {{id: number, name: string}} model */
export async function showPython({ id, name }) {
  let text;
  try {
    const answer = await fetch(address(`models/${id}/script`), { credentials: "same-origin" });
    if (!answer.ok)
      throw new Error(`The script of ${name} could not be loaded: ${answer.status} ${answer.statusText}`);
    text = await answer.text();
  } catch (error) {
    return failed(error);
  }
  const code = element(
    "pre",
    { tabindex: "0", role: "group", "aria-label": "Python" },
    element("code", {}, text),
  );
  const copy = button("Copy", () => copied(text, code, copy), { symbol: "code" });
  dialog(
    `Python of ${name}`,
    element(
      "div",
      { class: "python" },
      element("p", { class: "hint" }, "Reproduces this model without the studio."),
      copy,
      code,
    ),
  );
}

async function copied(text, code, copy) {
  const words = copy.querySelector("span");
  try {
    await navigator.clipboard.writeText(text);
    words.textContent = "Copied";
    say("Copied");
  } catch {
    getSelection().selectAllChildren(code); // no clipboard without https: select the text instead
    words.textContent = "Selected: press Ctrl+C";
  }
}
