/* URL state: the view and its parameters, in the hash of the URL. */

/**
 * Parse the hash: `#/see?layer=conv1` is the view "see" with its parameters.
 *
 * @returns {{view: string, parameters: URLSearchParams}}
 */
export function read() {
  const [path, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  return { view: path, parameters: new URLSearchParams(query) };
}

/**
 * Return the link of a view.
 *
 * @param {string} view draw, see, train, teach or models
 * @param {Record<string, unknown>} [parameters] `null`, `undefined` and "" are omitted
 * @returns {string}
 */
export function link(view, parameters = {}) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    if (value !== null && value !== undefined && value !== "") query.set(name, String(value));
  }
  const text = query.toString().replaceAll("%2C", ",");
  return `#/${view}${text ? `?${text}` : ""}`;
}

/**
 * Go to a view, with an entry in the browser's history.
 *
 * @param {string} view
 * @param {Record<string, unknown>} [parameters]
 */
export function go(view, parameters = {}) {
  location.hash = link(view, parameters);
}

/**
 * Change parameters of the current view, so that the URL restores it.
 *
 * Neither adds a history entry nor redraws; `null` removes a parameter.
 *
 * @param {Record<string, unknown>} changes
 */
export function remember(changes) {
  const { view, parameters } = read();
  const all = { ...Object.fromEntries(parameters), ...changes };
  history.replaceState(history.state, "", link(view, all));
}

/**
 * Encode an input for a link: base64 with - and _ and no padding.
 *
 * @param {string} input base64
 * @returns {string}
 */
export function toLink(input) {
  return input.replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
}

/**
 * Decode an input of a link to the server's base64; `null` if it is invalid.
 *
 * @param {string | null} text
 * @returns {string | null}
 */
export function fromLink(text) {
  const found = /^[\w-]{1046}$|^[\w-]{4096}$/.exec(text ?? ""); // 784 bytes, or 3,072
  if (!found) return null;
  const [plain] = found;
  return plain.replaceAll("-", "+").replaceAll("_", "/").padEnd(4 * Math.ceil(plain.length / 4), "=");
}
