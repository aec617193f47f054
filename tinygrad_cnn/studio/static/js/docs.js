/* HTTP API reference, generated from the server's OpenAPI document. */

import { element } from "./dom.js";

const METHODS = ["get", "post", "patch", "put", "delete"];

/**
 * Format an OpenAPI schema as a short type, such as `{input: string, model: integer | null}`.
 *
 * @param {any} schema
 * @param {any} description the complete document, to resolve references
 * @param {number} depth number of levels of objects to expand
 * @returns {string}
 */
export function typeOf(schema, description, depth = 2) {
  if (!schema) return "";
  if (schema.$ref) {
    const name = schema.$ref.split("/").pop();
    return depth > 0 ? typeOf(description.components.schemas[name], description, depth) : name;
  }
  const options = schema.anyOf ?? schema.oneOf;
  if (options) return options.map((option) => typeOf(option, description, depth)).join(" | ");
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
  if ("const" in schema) return JSON.stringify(schema.const);
  if (schema.type === "array") return `[${typeOf(schema.items, description, depth) || "any"}, …]`;
  if (schema.properties) {
    const required = new Set(schema.required ?? []);
    const indent = "  ".repeat(3 - depth);
    const fields = Object.entries(schema.properties).map(
      ([name, field]) =>
        `${indent}${name}${required.has(name) ? "" : "?"}: ${typeOf(field, description, depth - 1)}`,
    );
    return `{\n${fields.join(",\n")}\n${indent.slice(2)}}`;
  }
  return schema.format === "binary" ? "bytes" : (schema.type ?? "any");
}

function table(caption, names, rows) {
  if (!rows.length) return null;
  return element(
    "table",
    {},
    element("caption", {}, caption),
    element("thead", {}, element("tr", {}, names.map((name) => element("th", { scope: "col" }, name)))),
    element("tbody", {}, rows.map((row) => element("tr", {}, row.map((cell) => element("td", {}, cell))))),
  );
}

function content(title, contents, description) {
  return Object.entries(contents ?? {}).map(([mediaType, { schema }]) => [
    element("p", {}, `${title}: ${mediaType}`),
    element("pre", { tabindex: "0" }, typeOf(schema, description) || "any"),
  ]);
}

function operation(method, path, described, description) {
  const answers = Object.entries(described.responses ?? {});
  const good = answers.filter(([status]) => status < "400");
  return element(
    "details",
    {},
    element(
      "summary",
      {},
      element("span", { class: "method" }, method.toUpperCase()),
      element("code", { class: "path" }, path),
      element("span", { class: "what" }, described.summary ?? ""),
    ),
    element(
      "div",
      {},
      element("p", {}, described.description ?? ""),
      table(
        "Parameters",
        ["Name", "In", "Type", "Default"],
        (described.parameters ?? []).map(({ name, in: where, required, schema }) => [
          element("code", {}, name),
          where,
          typeOf(schema, description),
          required ? "required" : JSON.stringify(schema?.default ?? null),
        ]),
      ),
      content("Body", described.requestBody?.content, description),
      good.map(([status, answer]) => content(`Response ${status}`, answer.content, description)),
      table(
        "Problems",
        ["Status", "When"],
        answers.filter(([status]) => status >= "400").map(([status, answer]) => [status, answer.description]),
      ),
    ),
  );
}

function sections(description) {
  const groups = new Map();
  for (const [path, methods] of Object.entries(description.paths)) {
    for (const method of METHODS.filter((name) => name in methods)) {
      const tag = methods[method].tags?.[0] ?? "other";
      groups.set(tag, [...(groups.get(tag) ?? []), operation(method, path, methods[method], description)]);
    }
  }
  return [...groups].map(([tag, operations]) => element("section", {}, element("h2", {}, tag), operations));
}

const problems = (description) =>
  element(
    "section",
    { id: "problems" },
    element("h2", {}, "Problems"),
    table(
      "By name, the last part of a problem's type",
      ["Name", "Status", "Title"],
      Object.entries(description["x-problems"]).map(([name, { status, title }]) => [
        element("code", { id: name }, name),
        String(status),
        title,
      ]),
    ),
  );

const view = document.getElementById("view");
try {
  const answer = await fetch("/openapi.json");
  const description = await answer.json();
  view.append(
    element("p", {}, description.info.description),
    element("p", {}, element("a", { href: "/openapi.json" }, "openapi.json")),
    ...sections(description),
    problems(description),
  );
  if (location.hash) document.getElementById(location.hash.slice(1))?.scrollIntoView();
} catch {
  view.append(element("p", { role: "alert" }, "The server does not answer."));
}
