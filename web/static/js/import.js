// The form of an import: a name for the files, sending them, and what comes of it.
import { toast } from "./common.js";
import { collect, form } from "./fields.js";
import { files, packed, setUp, stopPacking } from "./files.js";
import { Problem, post } from "./http.js";
import { nameFrom } from "./names.js";
import { clearError, clearErrors, showErrors } from "./problems.js";
import { follow, forget, isAway, sendFile } from "./upload.js";

const state = form.querySelector("[data-state]");
const failure = form.querySelector("[data-failure]");
const submit = form.querySelector("[data-submit]");
const name = form.querySelector('[data-path="name"]');
// Names that there are, that come with Trainyard and that may not be; how many files may be sent.
const yard = JSON.parse(document.querySelector("[data-yard]").textContent);
// As `web.present` has it.
const FAILURES = { data: "The files could not be read", fetch: "The files could not be fetched" };

let named = Boolean(name.value); // whether a person has named the data set
let running = null; // {abort, path, sent}: sent once a worker may have it
let refused = null; // path of the import whose failure is shown

// --- its name ---------------------------------------------------------------------------------

const note = document.createElement("p");
note.className = "field-note";
note.setAttribute("role", "status");
name.closest(".field")?.append(note);

function propose() {
  if (named) return;
  name.value = known() ?? (files.length ? nameFrom(files[0].name, yard) : "");
  noteName();
}

/** Say at the field what becomes of a data set of this name that there is. */
function noteName() {
  const wanted = name.value.trim();
  if (yard.bundled.includes(wanted)) note.textContent = "It comes with Trainyard and stays as it is: choose another name.";
  else if (yard.datasets.includes(wanted)) note.textContent = "A data set of this name exists: this becomes its new version.";
  else note.textContent = "";
}

const known = () => form.querySelector('[name="known"]:checked')?.value || null;

// --- sending ----------------------------------------------------------------------------------

function show(words, share) {
  state.hidden = false;
  state.querySelector("[data-doing]").textContent = words;
  state.querySelector("[data-bar]").value = share;
  state.querySelector("[data-leave]").hidden = !running?.sent;
}

function finish() {
  running = null;
  state.hidden = true;
  submit.removeAttribute("aria-disabled");
}

async function start() {
  if (running) return;
  clearErrors();
  failure.hidden = true;
  const abort = new AbortController();
  running = { abort, path: null, sent: false };
  submit.setAttribute("aria-disabled", "true");
  try {
    if (!(await packed())) return finish(); // what is missing was told, or is not wanted
    abort.signal.throwIfAborted();
    requireFiles();
    show("Asking the server", 0);
    state.scrollIntoView({ block: "nearest" });
    if (refused) await forget(refused); // its failure was seen here
    refused = null;
    const begun = await post("/api/v1/datasets", { ...collect(), known: known() });
    running.path = `/api/v1/imports/${begun.id}`;
    await sendAll(running.path, [...files], abort.signal);
    running.sent = true;
    const over = await follow(running.path, show, abort.signal);
    if (over.status === "done") return arrive(over);
    refused = running.path;
    showFailure(over.failure);
    finish();
  } catch (error) {
    giveUp(error);
  }
}

function requireFiles() {
  const most = yard.most_files;
  let rule = null;
  if (!files.length && !known()) rule = "Choose files, or a public data set.";
  if (files.length > most) rule = `Choose at most ${most} files: these are ${files.length}. A folder goes as one.`;
  if (rule) throw new Problem(422, { errors: [{ field: "", rule }] });
}

/** End what was asked for: what may go well on a worker is left to it, unless a person stops it. */
function giveUp(error) {
  const { path, sent } = running;
  finish();
  const stopped = error.name === "AbortError";
  if (path && (stopped || !sent || isRefusal(error))) forget(path);
  if (stopped) return;
  if (!(error instanceof Problem)) throw error;
  if (isRefusal(error)) showErrors(error);
  else if (sent && isAway(error)) toast("The server has been away for a minute. If the import has started, it goes on:", { bad: true, link: { href: "/datasets", text: "see the data sets" } });
  else toast(error.message, { bad: true });
}

/** Whether the server objects to what was asked for, so that nobody reads it. */
const isRefusal = ({ status }) => status === 422 || status === 400;

async function sendAll(path, chosen, signal) {
  signal.throwIfAborted();
  const total = chosen.reduce((sum, { file }) => sum + file.size, 0);
  let before = 0;
  for (const one of chosen) {
    const words = `Sending ${one.name}`;
    show(words, total ? before / total : 0);
    await sendFile(path, one, (sent) => show(words, (before + sent) / total), signal);
    before += one.file.size;
  }
}

function arrive({ name: dataset, report }) {
  const words = []; // its notes stand on the page
  if (report.known) words.push("This content was there before; it is the newest version again.");
  if (report.others.length) words.push(`The same content as ${report.others.join(", ")}.`);
  if (words.length) sessionStorage.setItem("warning", words.join(" "));
  location.assign(`/datasets/${encodeURIComponent(dataset)}`);
}

function showFailure({ kind, evidence, suggestion, faults }) {
  const rows = faults.map((fault) => {
    const row = document.createElement("tr");
    for (const text of [fault.file, fault.row?.toLocaleString("en") ?? "–", fault.column ?? "–", fault.value ?? "–", fault.rule]) {
      row.insertCell().textContent = text;
    }
    row.cells[1].className = "number";
    return row;
  });
  failure.querySelector("h2 span").textContent = FAILURES[kind] ?? "The import could not be carried out";
  failure.querySelector(".faults").hidden = !rows.length;
  failure.querySelector("tbody").replaceChildren(...rows);
  const line = failure.querySelector("[data-evidence]");
  line.hidden = rows.length > 0;
  line.textContent = evidence;
  failure.querySelector("[data-suggestion]").textContent = suggestion;
  failure.hidden = false;
  failure.focus({ preventScroll: true });
  failure.scrollIntoView({ block: "center" });
}

// --- what a person does -----------------------------------------------------------------------

setUp({
  changed() {
    failure.hidden = true;
    propose();
  },
  packing: show,
  idle() {
    if (!running) state.hidden = true;
  },
});
form.querySelector("[data-stop]").addEventListener("click", () => {
  stopPacking();
  running?.abort.abort();
});
addEventListener("beforeunload", (event) => {
  if (running?.path && !running.sent) event.preventDefault(); // files are on their way
});
form.addEventListener("submit", (event) => {
  event.preventDefault();
  start();
});
form.addEventListener("input", (event) => {
  const node = event.target;
  if (node.hasAttribute("aria-invalid")) clearError(node);
  if (node === name) named = Boolean(name.value);
  if (node === name) noteName();
  if (node.name === "known") propose();
});
