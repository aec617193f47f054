/* Models view: the table, details of one model, comparison of two. */

import { get, post, remove } from "../api.js";
import { button, element, fill, fresh } from "../dom.js";
import { listen } from "../events.js";
import { ask, failed, say, show } from "../message.js";
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
export function mount(root, { parameters, remember, server }) {
  let models = [];
  let shown = Number(parameters.get("model")) || null;
  let compared = (parameters.get("compare") ?? "")
    .split(",")
    .filter(Boolean)
    .map(Number)
    .slice(0, 2);
  let waiting = null;
  let turn = 0; // counts requests, so that a slow response cannot overtake a later one

  const table = new ModelTable({ compare, look, renamed: load });
  const none = element(
    "p",
    { class: "lead", hidden: true },
    "There is no model yet: the first one is being trained. ",
    element("a", { href: link("train") }, "Watch it"),
  );
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
  const stop = listen("models", () => {
    waiting ??= setTimeout(() => {
      waiting = null;
      load();
    }, 120);
  });
  load();

  async function load() {
    try {
      ({ models } = await get("models"));
    } catch (error) {
      return failed(error);
    }
    models.sort((a, b) => b.id - a.id);
    const known = (id) => models.some((model) => model.id === id);
    if (!known(shown)) shown = models.find(({ promoted }) => promoted)?.id ?? models[0]?.id ?? null;
    compared = compared.filter(known);
    none.hidden = models.length > 0;
    table.element.hidden = models.length === 0;
    back.disabled = tip.hidden = models.length < 2;
    showAll();
  }

  async function showAll() {
    table.show(models, shown, compared);
    turn += 1;
    const mine = turn;
    const wanted = compared.length === 2 ? compared : [];
    try {
      const [model, ...two] = await Promise.all(
        [shown, ...wanted].map((id) => id && get(`models/${id}`)),
      );
      if (mine !== turn) return;
      fill(
        place,
        model
          ? modelDetail(model, { promote: () => promoted(model), remove: () => removed(model) })
          : null,
      );
      fill(beside, two.length === 2 ? comparison(...two) : null);
      beside.hidden = two.length !== 2;
    } catch (error) {
      if (mine === turn) failed(error);
    }
  }

  async function look({ id }) {
    shown = id;
    remember({ model: id });
    await showAll();
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
    if (await promote(model)) load();
  }

  async function removed({ id, name }) {
    if (
      !(await ask(`Delete ${name}?`, {
        detail: "This deletes its weights and its report.",
        yes: "Delete",
        kind: "danger",
      }))
    )
      return;
    await done(async () => {
      await remove(`models/${id}`);
      shown = null;
      remember({ model: null });
      show(`${name} is deleted.`);
    });
  }

  async function rollBack() {
    const now = models.find((model) => model.promoted)?.name ?? server()?.promoted?.name;
    if (
      !(await ask("Roll back?", {
        detail: `The model promoted before ${now} is promoted again.`,
        yes: "Roll back",
      }))
    )
      return;
    await done(async () => {
      const { name } = await post("models/roll-back");
      show(`${name} is promoted again.`);
    });
  }

  async function upload() {
    const [chosen] = file.files;
    file.value = "";
    if (!chosen) return;
    await done(async () => {
      const { id, name } = await post("models", chosen, {
        query: { name: chosen.name.replace(/\.safetensors$/, "") },
      });
      shown = id;
      remember({ model: id });
      show(`${name} is uploaded.`);
    });
  }

  async function done(act) {
    try {
      await act();
      await load();
    } catch (error) {
      failed(error);
    }
  }

  return () => {
    stop();
    clearTimeout(waiting);
    turn += 1;
  };
}
