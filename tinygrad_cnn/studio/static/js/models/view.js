/* Models view: the table, details of one model, comparison of two. */

import { get, post, remove } from "../api.js";
import { button, element, fill, fresh, isolated } from "../dom.js";
import { listen } from "../events.js";
import { ask, say, show } from "../message.js";
import { create, load, write } from "../requests.js";
import { showCell } from "./cell.js";
import { comparison } from "./compare.js";
import { modelDetail } from "./detail.js";
import { promote } from "./promote.js";
import { ModelTable } from "./table.js";
import { link } from "../state.js";

/**
 * @param {HTMLElement} root
 * @param {import("../main.js").Context} context
 * @returns {() => void} unmounts the view
 */
export function mount(root, { parameters, remember, server, watch }) {
  let models = [];
  let shown = Number(parameters.get("model")) || null;
  let cell = parameters.get("cell"); // of the confusion matrix
  let compared = (parameters.get("compare") ?? "")
    .split(",")
    .filter(Boolean)
    .map(Number)
    .slice(0, 2);

  const loading = load((_, signal) => get("models", {}, { signal }), listed);
  const details = load(
    (ids, signal) =>
      Promise.all(ids.map((id) => id && get(`models/${id}`, {}, { signal }))),
    detailed,
  );
  const table = new ModelTable({ compare, look, renamed: () => loading.want() });
  const none = element("p", { class: "lead", hidden: true });
  const tip = element("p", { class: "hint tip", hidden: true }, "Select two to compare them.");
  const beside = element("div", { class: "beside", hidden: true });
  const place = element("div", { class: "place" });
  const file = element("input", {
    type: "file",
    id: fresh("upload"),
    accept: ".safetensors",
    class: "unseen",
    tabindex: "-1",
    "aria-label": "A model's weights",
    onchange: upload,
  });
  const back = button("Roll back", rollBack, { symbol: "undo" });
  root.append(
    element(
      "header",
      { class: "head" },
      element("h1", {}, "Models"),
      element(
        "div",
        { class: "others" },
        back,
        button("Upload", () => file.click(), { symbol: "upload" }),
        file,
      ),
    ),
    none,
    table.element,
    tip,
    beside,
    place,
  );
  const stops = [listen(["model", "reset"], () => loading.want()), watch(showNone)];
  showNone(server());
  loading.want();

  function listed(answer) {
    ({ models } = answer);
    const known = (id) => models.some((model) => model.id === id);
    if (!known(shown)) shown = models.find(({ promoted }) => promoted)?.id ?? models[0]?.id ?? null;
    compared = compared.filter(known);
    none.hidden = models.length > 0;
    table.element.hidden = models.length === 0;
    back.disabled = tip.hidden = models.length < 2;
    showAll();
  }

  function showNone(state) {
    const training = Boolean(state?.training);
    fill(
      none,
      `There is no model yet${training ? ": one is being trained" : ""}. `,
      element("a", { href: link("train") }, training ? "Watch it" : "Train one"),
    );
  }

  function showAll() {
    table.show(models, shown, compared);
    return details.want([shown, ...(compared.length === 2 ? compared : [])]);
  }

  function detailed([model, ...two]) {
    fill(
      place,
      model
        ? modelDetail(model, { promote: () => promoted(model), remove: () => removed(model) })
        : null,
    );
    const [, label, predicted] = cell?.match(/^(\d)-(\d)$/) ?? [];
    if (model && label) showCell(model, Number(label), Number(predicted));
    cell = null; // of the link: only once
    fill(beside, two.length === 2 ? comparison(...two) : null);
    beside.hidden = two.length !== 2;
  }

  async function look({ id }) {
    shown = id;
    remember({ model: id });
    if (!(await showAll())) return;
    const heading = place.querySelector("h2");
    heading?.focus({ preventScroll: true });
    heading?.scrollIntoView({ block: "nearest" });
  }

  function compare(model, chosen) {
    compared = chosen
      ? [...compared, model.id].slice(-2)
      : compared.filter((id) => id !== model.id);
    remember({ compare: compared.join(",") });
    showAll();
    if (compared.length === 2) say("Two models are compared below the table");
  }

  async function promoted(model) {
    if (await promote(model)) loading.want();
  }

  async function removed({ id, name }) {
    if (
      !(await ask(`Delete ${isolated(name)}?`, {
        detail: "This deletes its weights and its report.",
        yes: "Delete",
        kind: "danger",
      }))
    )
      return;
    write(`model ${id}`, () => remove(`models/${id}`), {
      answered: () => {
        if (shown === id) {
          shown = null;
          remember({ model: null });
        }
        show(`${isolated(name)} is deleted.`);
        loading.want();
      },
    });
  }

  async function rollBack() {
    const now = models.find((model) => model.promoted)?.name ?? server()?.promoted?.name;
    if (
      !(await ask("Roll back?", {
        detail: `The model promoted before ${isolated(now)} is promoted again.`,
        yes: "Roll back",
      }))
    )
      return;
    write("the promotion", () => post("models/roll-back"), {
      answered: ({ name }) => {
        show(`${isolated(name)} is promoted again.`);
        loading.want();
      },
    });
  }

  function upload() {
    const [chosen] = file.files;
    file.value = "";
    if (!chosen) return;
    const query = { name: chosen.name.replace(/\.safetensors$/, "") };
    write("the uploads", () => create("models", chosen, { query }), {
      answered: ({ id, name }) => {
        shown = id;
        remember({ model: id });
        show(`${isolated(name)} is uploaded.`);
        loading.want();
      },
    });
  }

  return () => {
    stops.forEach((stop) => stop());
    loading.stop();
    details.stop();
  };
}
