/* HTTP client: one function per method; errors are Problems. */

const BASE = new URL("/api/", location.origin);

/**
 * An error response of the server, as an RFC 9457 problem document.
 *
 * `status` is 0 without a response; `name` is the last part of the type, such as
 * "no-model"; `fields` is the whole document.
 */
export class Problem extends Error {
  /**
   * @param {number} status
   * @param {string} name
   * @param {string} detail
   * @param {Record<string, unknown>} [fields]
   */
  constructor(status, name, detail, fields = {}) {
    super(detail);
    this.name = name;
    this.status = status;
    this.fields = fields;
  }
}

/**
 * Return the URL of a resource, for links, downloads and frames.
 *
 * @param {string} path below /api/, without a leading slash
 * @param {Record<string, unknown>} [query] `null`, `undefined` and "" are left out
 * @returns {string}
 */
export function address(path, query = {}) {
  const url = new URL(path, BASE);
  for (const [name, value] of Object.entries(query)) {
    if (value !== null && value !== undefined && value !== "")
      url.searchParams.set(name, String(value));
  }
  return url.pathname + url.search;
}

/**
 * @param {string} path
 * @param {Record<string, unknown>} [query]
 * @param {{signal?: AbortSignal}} [options]
 * @returns {Promise<any>} the response's JSON, or its text
 */
export function get(path, query, options) {
  return request("GET", path, { query, ...options });
}

/**
 * @param {string} path
 * @param {unknown} [body] sent as JSON; a Blob or bytes as they are
 * @param {{query?: Record<string, unknown>, signal?: AbortSignal, key?: string}} [options]
 *   `key`: makes a creation repeatable, see `create` in requests.js
 * @returns {Promise<any>}
 */
export function post(path, body = {}, options) {
  return request("POST", path, { body, ...options });
}

/**
 * @param {string} path
 * @param {unknown} body
 * @returns {Promise<any>}
 */
export function patch(path, body) {
  return request("PATCH", path, { body });
}

/**
 * Delete what may be deleted already.
 *
 * @param {string} path
 * @returns {Promise<any>}
 */
export async function remove(path) {
  try {
    return await request("DELETE", path, {});
  } catch (error) {
    if (error.status !== 404) throw error;
    return null;
  }
}

/**
 * Return whether an error means that a request was aborted.
 *
 * @param {unknown} error
 * @returns {boolean}
 */
export function aborted(error) {
  return error instanceof DOMException && error.name === "AbortError";
}

async function request(method, path, { query, body, signal, key }) {
  const raw = body instanceof Blob || ArrayBuffer.isView(body) || body instanceof ArrayBuffer;
  const headers = { Accept: "application/json", ...(key ? { "Idempotency-Key": key } : {}) };
  if (body !== undefined)
    headers["Content-Type"] = raw ? body.type || "application/octet-stream" : "application/json";
  try {
    const answer = await fetch(address(path, query), {
      method,
      signal,
      headers,
      body: raw || body === undefined ? body : JSON.stringify(body),
      credentials: "same-origin",
    });
    if (!answer.ok) throw await problemOf(answer);
    if (answer.status === 204) return null;
    return await (/json/.test(answer.headers.get("Content-Type")) ? answer.json() : answer.text());
  } catch (error) {
    if (error instanceof Problem || aborted(error)) throw error;
    const detail = "The studio's server does not answer. Is it still running?";
    throw new Problem(0, "unreachable", detail); // or its answer was cut off
  }
}

async function problemOf(answer) {
  const fields = await answer.json().catch(() => ({}));
  const name =
    String(fields.type ?? "")
      .split(/[/#:]/)
      .pop() || "problem";
  const detail =
    fields.detail || fields.title || `The server answers with an error, number ${answer.status}.`;
  return new Problem(answer.status, name, String(detail), fields);
}
