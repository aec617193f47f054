/* Forms for runs: fields with the server's ranges, entries that survive, refusals at the field. */

import { button, element, field, fresh } from "../dom.js";
import { failed } from "../message.js";

const FIELD_OF = { optimizer_options: "options", schedule_options: "options" };

/**
 * Return a text input.
 *
 * @param {string} name
 * @param {Record<string, unknown>} [attributes]
 * @returns {HTMLInputElement}
 */
export function textInput(name, attributes = {}) {
  return element("input", { name, type: "text", autocomplete: "off", ...attributes });
}

/**
 * Return the field of a number of a request.
 *
 * @param {string} name
 * @param {Record<string, {label: string, bounds: Record<string, number>, whole: boolean}>} numbers
 *   the server's declarations
 * @param {string} [hint]
 * @returns {HTMLElement}
 */
export function numberField(name, numbers, hint) {
  const { label, bounds, whole } = numbers[name];
  const control = textInput(name, {
    type: "number",
    inputmode: whole ? "numeric" : "decimal",
    min: bounds.ge ?? bounds.gt,
    max: bounds.le ?? bounds.lt,
    step: whole ? 1 : "any",
  });
  return field(label, control, hint);
}

/**
 * Return text as a number, or unchanged for the server to refuse.
 *
 * @param {string} text
 * @returns {number | string}
 */
export function numeric(text) {
  return text.trim() !== "" && Number.isFinite(Number(text)) ? Number(text) : text;
}

/** The entries of a form: those of the user stay, the others follow defaults. */
export class Entries {
  /**
   * @param {HTMLFormElement} form
   * @param {string} name  of the entries in this tab's storage
   */
  constructor(form, name) {
    this.form = form;
    this.key = `entries of ${name}`;
    this.entered = recalled(this.key);
    this.defaults = {};
    this.resets = new Map();
    form.noValidate = true; // the server checks, with one set of words
    form.addEventListener("input", ({ target }) => this.#enter(target));
    form.addEventListener("change", ({ target: { name, value } }) => value || this.#forget(name));
    for (const [field, value] of Object.entries(this.entered)) this.#set(field, value);
  }

  /**
   * Set the fields that the user has not changed; next to the others, offer the default.
   *
   * @param {Record<string, unknown>} defaults  by field
   */
  follow(defaults) {
    Object.assign(this.defaults, defaults);
    for (const [field, value] of Object.entries(defaults)) {
      this.#set(field, this.entered[field] ?? written(value), written(value));
      this.#offer(field);
    }
  }

  /** The values of the form as text, by field. */
  get values() {
    return Object.fromEntries(
      [...new FormData(this.form)].map(([name, text]) => [name, String(text).trim()]),
    );
  }

  /** Remove the refusals. */
  accept() {
    this.form.querySelectorAll("[aria-invalid]").forEach((control) => this.#accept(control));
  }

  /**
   * Show the server's refusal at the fields that it names, or as a notice.
   *
   * @param {Error & {fields?: {errors?: {where: string, reason: string}[]}}} error
   */
  refuse(error) {
    const found = (error.fields?.errors ?? []).map(({ where, reason }) => {
      const [, name, entry] = where.split(".");
      const control = this.form.elements.namedItem(FIELD_OF[name] ?? name);
      const place = /^\d+$/.test(entry) ? `entry ${Number(entry) + 1}: ` : "";
      return { control, words: sentence(place + reason.replace(/^\w+: /, "")) };
    });
    if (!found.length || found.some(({ control }) => !control)) return failed(error);
    found.forEach(({ control, words }) => this.#refuse(control, words));
    found[0].control.focus();
  }

  #enter({ name, value }) {
    if (!name) return;
    this.entered[name] = value;
    keep(this.key, this.entered);
    this.#offer(name);
  }

  #forget(name) {
    if (!(name in this.defaults)) return;
    delete this.entered[name];
    keep(this.key, this.entered);
    this.follow({ [name]: this.defaults[name] });
  }

  #set(name, value, otherwise = "") {
    const control = this.form.elements.namedItem(name);
    if (!control || control.value === value) return;
    control.value = value;
    if (control.value !== value) control.value = otherwise; // a choice that is no longer offered
  }

  #offer(name) {
    const control = this.form.elements.namedItem(name);
    if (control?.tagName !== "INPUT" || !(name in this.defaults)) return;
    const label = control.parentElement.querySelector("label");
    if (!this.resets.has(name)) {
      const take = () => (this.#forget(name), control.focus());
      label.id ||= fresh("label");
      const options = { symbol: "undo", kind: "quiet reset", "aria-describedby": label.id };
      const reset = button("", take, options);
      this.resets.set(name, reset);
      label.after(reset);
    }
    const usual = written(this.defaults[name]);
    const reset = this.resets.get(name);
    reset.hidden = !(name in this.entered) || control.value === usual;
    reset.querySelector("span").textContent = usual;
    reset.setAttribute("aria-label", `Default ${usual}`);
    reset.title = `Default ${usual}`;
  }

  #refuse(control, words) {
    const id = fresh("refusal");
    control.after(element("p", { class: "refusal", id }, words));
    control.setAttribute("aria-invalid", "true");
    control.setAttribute("aria-errormessage", id);
    const described = control.getAttribute("aria-describedby");
    control.setAttribute("aria-describedby", [described, id].filter(Boolean).join(" "));
    control.addEventListener("input", () => this.#accept(control), { once: true });
  }

  #accept(control) {
    const id = control.getAttribute("aria-errormessage");
    if (!id) return;
    document.getElementById(id)?.remove();
    control.removeAttribute("aria-invalid");
    control.removeAttribute("aria-errormessage");
    const described = control.getAttribute("aria-describedby").split(" ");
    const rest = described.filter((other) => other !== id);
    if (rest.length) control.setAttribute("aria-describedby", rest.join(" "));
    else control.removeAttribute("aria-describedby");
  }
}

/** Return a default as the text of its field. */
function written(value) {
  return Array.isArray(value) ? value.join(", ") : String(value ?? "");
}

function sentence(words) {
  return `${words.charAt(0).toUpperCase()}${words.slice(1)}.`;
}

function recalled(key) {
  try {
    return JSON.parse(sessionStorage.getItem(key)) ?? {};
  } catch {
    return {}; // no storage, or not ours
  }
}

function keep(key, entered) {
  try {
    sessionStorage.setItem(key, JSON.stringify(entered));
  } catch {
    // no storage: the entries last as long as the view
  }
}
