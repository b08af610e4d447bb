// Updates a page from the server's own rendering of it, so that every row and figure is drawn in
// one place. Elements with data-region are exchanged when they differ.
import { tick } from "./times.js";

/** Fetch a page and return it as a document. */
export async function fetchPage(url) {
  const response = await fetch(url, { headers: { Accept: "text/html" } });
  if (!response.ok || response.redirected) throw new Error(`The server answered ${response.status}.`);
  return new DOMParser().parseFromString(await response.text(), "text/html");
}

/** Exchange the regions that differ; what has the focus keeps it. */
export function swapRegions(page) {
  for (const now of document.querySelectorAll("[data-region]")) {
    const next = page.querySelector(`[data-region="${now.dataset.region}"]`);
    if (next) exchange(now, next);
  }
  tick();
}

/** Put `next` in the place of `now`, unless nothing changed; what was folded out stays so. */
export function exchange(now, next) {
  const fresh = document.importNode(next, true);
  const fingerprint = (node) => node.outerHTML.replace(/(<time[^>]*>)[^<]*/g, "$1").replaceAll(' open=""', "");
  const print = fingerprint(fresh);
  if ((prints.get(now) ?? fingerprint(now)) === print) return now;
  const focus = focusPath(now);
  for (const fold of now.querySelectorAll("details[open][id]")) fresh.querySelector(`details[id="${fold.id}"]`)?.setAttribute("open", "");
  now.replaceWith(fresh);
  prints.set(fresh, print);
  focus?.(fresh);
  return fresh;
}

const prints = new WeakMap();

function focusPath(node) {
  const active = document.activeElement;
  if (!active || !node.contains(active)) return null;
  const index = focusable(node).indexOf(active);
  return (fresh) => focusable(fresh)[index]?.focus({ preventScroll: true });
}

function focusable(node) {
  return [...node.querySelectorAll("a[href], button, input, select, summary")];
}
