/* Python export: a script that rebuilds and trains a model. */

import { get } from "../api.js";
import { button, element, isolated } from "../dom.js";
import { dialog, say } from "../message.js";
import { load } from "../requests.js";

const loading = load(({ id }, signal) => get(`models/${id}/script`, {}, { signal }), showText);

/** @param {{id: number, name: string}} model */
export function showPython({ id, name }) {
  loading.want({ id, name });
}

function showText(text, { name }) {
  const code = element(
    "pre",
    { tabindex: "0", role: "group", "aria-label": "Python" },
    element("code", {}, text),
  );
  const copy = button("Copy", () => copied(text, code, copy), { symbol: "code" });
  dialog(
    `Python of ${isolated(name)}`,
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
