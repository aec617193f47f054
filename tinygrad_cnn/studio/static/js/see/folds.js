/* Folds: sections that open and close; the link remembers which are open. */

import { element } from "../dom.js";

/**
 * Return the sections of a page, which share the parameter `open` of the link.
 *
 * @param {string | null} parameter the names of the open sections; `null` for the default
 * @param {string[]} usual the sections that are open by default
 * @param {(changes: Record<string, unknown>) => void} remember
 * @returns {{fold: (name: string, title: string, ...content: unknown[]) => HTMLDetailsElement,
 *   isOpen: (name: string) => boolean, set: (name: string, isOpen: boolean) => void}} `fold` makes a
 *   section
 */
export function folds(parameter, usual, remember) {
  const open = new Set(parameter === null ? usual : parameter.split(","));
  const before = [...usual].sort().join();

  function set(name, isOpen) {
    if (open.has(name) === isOpen) return;
    open.delete("none");
    if (isOpen) open.add(name);
    else open.delete(name);
    const now = [...open].sort().join();
    remember({ open: now === before ? null : now || "none" });
  }

  function fold(name, title, ...content) {
    const section = element(
      "details",
      { class: "fold", open: open.has(name), ontoggle: () => set(name, section.open) },
      element("summary", {}, element("h2", {}, title)),
      content,
    );
    return section;
  }

  return { fold, isOpen: (name) => open.has(name), set };
}
