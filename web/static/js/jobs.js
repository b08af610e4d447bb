// The list of jobs: filters without reloading, live rows that never jump under the pointer.
import "./common.js";
import { percent } from "./format.js";
import { follow, throttled } from "./live.js";
import { exchange, fetchPage, swapRegions } from "./regions.js";
import { tick } from "./times.js";

const FILTERS = ["q", "model", "dataset"];
const TYPING_MS = 250;
const REFRESH_MS = 1500;
// Why a job waits changes without a change of the job.
const LOOK_AGAIN_MS = 5000;
const form = document.querySelector("[data-filters]");
const list = document.querySelector("[data-list]");
const announcer = document.querySelector("[data-announce]");
let navigations = 0;

// --- going somewhere: tabs, filters, sorting, pages -------------------------------------------

async function navigate(url, { replace = false, remember = true } = {}) {
  const turn = ++navigations;
  if (remember) history[replace ? "replaceState" : "pushState"](null, "", url);
  list.setAttribute("aria-busy", "true");
  try {
    const page = await fetchPage(url);
    if (turn !== navigations) return;
    showList(page);
    announcer.textContent = `${list.querySelectorAll("tr[data-job]").length} jobs are shown.`;
  } catch {
    location.assign(url);
  } finally {
    list.removeAttribute("aria-busy");
  }
}

function showList(page) {
  swapRegions(page);
  list.replaceChildren(...document.importNode(page.querySelector("[data-list]"), true).childNodes);
  tick();
}

function filteredUrl() {
  const url = new URL(location.href);
  const values = new FormData(form);
  for (const name of FILTERS) {
    const value = (values.get(name) ?? "").trim();
    if (value) url.searchParams.set(name, value);
    else if (form.elements.namedItem(name)) url.searchParams.delete(name);
  }
  url.searchParams.delete("cursor");
  return url.pathname + url.search;
}

function showFilters() {
  const values = new URL(location.href).searchParams;
  for (const name of FILTERS) {
    const control = form.elements.namedItem(name);
    if (control) control.value = values.get(name) ?? "";
  }
}

let typing = null;
form.addEventListener("input", (event) => {
  clearTimeout(typing);
  const search = event.target.name === "q";
  typing = setTimeout(() => navigate(filteredUrl(), { replace: search }), search ? TYPING_MS : 0);
});
form.addEventListener("submit", (event) => {
  event.preventDefault();
  clearTimeout(typing);
  navigate(filteredUrl(), { replace: true });
});
document.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-navigate]");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
  event.preventDefault();
  navigate(link.getAttribute("href")).then(showFilters);
});
addEventListener("popstate", () => {
  showFilters();
  navigate(location.href, { remember: false });
});

// --- live rows --------------------------------------------------------------------------------

const rowOf = (root, id) => root.querySelector(`tr[data-job="${id}"]`);
const idsOf = (root) => [...root.querySelectorAll("tr[data-job]")].map((row) => row.dataset.job);

/** Whether rows may move: nobody points at them, works in them, or reads further down. */
function isCalm() {
  const rows = list.querySelector("[data-rows]");
  const pointed = matchMedia("(hover: hover)").matches && rows.matches(":hover");
  return !pointed && !rows.contains(document.activeElement) && scrollY < 160;
}

async function refresh() {
  const turn = navigations;
  const page = await fetchPage(location.href);
  if (turn === navigations) reconcile(page);
}

function reconcile(page) {
  const rows = list.querySelector("[data-rows]");
  const next = page.querySelector("[data-rows]");
  if (!rows || !next) {
    if (Boolean(rows) !== Boolean(next)) showList(page);
    else swapRegions(page);
    return;
  }
  for (const row of next.querySelectorAll("tr[data-job]")) {
    const now = rowOf(rows, row.dataset.job);
    if (now) exchange(now, row);
  }
  if (idsOf(rows).join() === idsOf(next).join()) offerFresh(0);
  else if (isCalm()) reorder(rows, next);
  else offerFresh(idsOf(next).filter((id) => !rowOf(rows, id)).length || -1);
  swapRegions(page);
}

function reorder(rows, next) {
  const ordered = [...next.querySelectorAll("tr[data-job]")].map((row) => {
    const now = rowOf(rows, row.dataset.job);
    if (now) return now;
    const fresh = document.importNode(row, true);
    fresh.classList.add("is-new");
    return fresh;
  });
  rows.replaceChildren(...ordered);
  offerFresh(0);
}

function offerFresh(jobs) {
  const button = list.querySelector("[data-fresh]");
  button.hidden = jobs === 0;
  button.textContent = jobs > 0 ? `Show ${jobs} new job${jobs > 1 ? "s" : ""}` : "Update the order";
}

list.addEventListener("click", (event) => {
  if (!event.target.closest("[data-fresh]")) return;
  scrollTo({ top: 0 });
  navigate(location.href, { remember: false });
});
list.addEventListener("pointerleave", () => {
  const button = list.querySelector("[data-fresh]");
  if (button && !button.hidden) ask();
});

function onJob(job) {
  const row = rowOf(list, job.id);
  const done = row?.querySelector(".epochs-words b")?.textContent;
  const asked = job.cancel_requested_at ? "cancel" : job.pause_requested_at ? "pause" : "";
  const same = row?.dataset.status === job.status && row.dataset.asked === asked && done === String(job.epochs_done);
  if (same) showProgress(row, job);
  if (same && job.status === "running") return;
  if (row && row.dataset.status !== job.status) announce(job);
  ask();
}

function showProgress(row, { status, epochs_done: done, progress }) {
  if (status !== "running" || !progress || progress.epoch <= done) return;
  const inside = progress.phase === "train" ? progress.step / Math.max(progress.steps, 1) : 1;
  row.querySelector("[data-progress]").value = done + Math.min(inside, 1);
}

function announce(job) {
  const best = job.best_eval_accuracy == null ? "" : `, best accuracy ${percent(job.best_eval_accuracy)}`;
  announcer.textContent = `${job.name} is ${job.status}${best}.`;
}

const ask = throttled(refresh, REFRESH_MS);
// `sync`: anything may have changed; `gone`: a job was deleted.
follow("/api/v1/stream", { job: onJob, sync: ask, gone: ask }, refresh);
document.addEventListener("yard:changed", ask);
setInterval(() => {
  if (!document.hidden && list.querySelector('tr[data-status="queued"]')) ask();
}, LOOK_AGAIN_MS);
