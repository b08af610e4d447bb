// The form of an import: files by drop or choice, what they are for, sending, and what comes of it.
import { toast } from "./common.js";
import { collect, form } from "./fields.js";
import { fileSize } from "./format.js";
import { Problem, post } from "./http.js";
import { clearError, clearErrors, showErrors } from "./problems.js";
import { follow, forget, isAway, sendFile } from "./upload.js";
import { filesBelow, zip } from "./zip.js";

const input = form.querySelector("[data-files]");
const list = form.querySelector("[data-sent]");
const state = form.querySelector("[data-state]");
const failure = form.querySelector("[data-failure]");
const submit = form.querySelector("[data-submit]");
const name = form.querySelector('[data-path="name"]');
const WORDS = { train: /(^|[^a-z])train(ing)?([^a-z]|$)/i, test: /(^|[^a-z])(test(ing)?|t10k)([^a-z]|$)/i };

let files = []; // {file, part}
let named = Boolean(name.value); // whether a person has named the data set
let running = null; // {abort, path, sent}: sent once a worker may have it

// --- the files --------------------------------------------------------------------------------

const partOf = (file) => Object.keys(WORDS).find((part) => WORDS[part].test(file.name)) ?? "";

function add(chosen) {
  const fresh = [...chosen].filter((file) => !files.some((other) => other.file.name === file.name));
  files.push(...fresh.map((file) => ({ file, part: partOf(file) })));
  form.querySelector("#files-error").hidden = true;
  failure.hidden = true;
  if (!named && files.length) name.value = nameFrom(files[0].file.name);
  draw();
}

/** A data set's name from a file's: `Flowers_train.csv.gz` is `flowers`. */
function nameFrom(text) {
  const bare = text.toLowerCase().replace(/\..*$/, "").replace(/(^|[-_ ])(train|training|test|t10k|images?|labels?|idx\d|ubyte)(?=[-_ ]|$)/g, "");
  return bare.replace(/[^a-z0-9]+/g, "_").replace(/^_+|_+$/g, "").slice(0, 63) || "dataset";
}

function draw() {
  list.replaceChildren(...files.map(({ file, part }, index) => {
    const item = document.createElement("li");
    const label = document.createElement("span");
    label.className = "wrap-anywhere";
    label.textContent = file.name;
    const size = document.createElement("span");
    size.className = "muted number";
    size.textContent = fileSize(file.size);
    const select = document.createElement("select");
    select.setAttribute("aria-label", `What ${file.name} is for`);
    for (const [value, words] of [["", "As the file says"], ["train", "Training"], ["test", "Testing"]]) select.add(new Option(words, value, false, value === part));
    select.addEventListener("change", () => (files[index].part = select.value));
    const remove = document.createElement("button");
    remove.type = "button";
    remove.className = "button button-small";
    remove.textContent = "Remove";
    remove.setAttribute("aria-label", `Remove ${file.name}`);
    remove.addEventListener("click", () => {
      files.splice(index, 1);
      draw();
    });
    item.append(label, size, select, remove);
    return item;
  }));
}

input.addEventListener("change", () => {
  add(input.files);
  input.value = ""; // the same file can be chosen again
});

const drop = form.querySelector("[data-drop]");
for (const kind of ["dragenter", "dragover"]) {
  drop.addEventListener(kind, (event) => {
    event.preventDefault();
    drop.classList.add("is-over");
  });
}
for (const kind of ["dragleave", "drop"]) drop.addEventListener(kind, () => drop.classList.remove("is-over"));
drop.addEventListener("drop", (event) => {
  event.preventDefault();
  const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  const folders = entries.filter((entry) => entry.isDirectory);
  add([...event.dataTransfer.files].filter((file) => !folders.some((folder) => folder.name === file.name)));
  for (const folder of folders) addFolder(folder.name, filesBelow(folder));
});

const folderInput = form.querySelector("[data-folder]");
folderInput.addEventListener("change", () => {
  const chosen = [...folderInput.files].map((file) => {
    const [, ...path] = file.webkitRelativePath.split("/");
    return { path: path.join("/"), file };
  });
  if (chosen.length) addFolder(folderInput.files[0].webkitRelativePath.split("/")[0], chosen);
  folderInput.value = "";
});

/** A folder goes as one zip. */
async function addFolder(folder, found) {
  const below = (await found).filter(({ path }) => !path.split("/").some((part) => part.startsWith(".")));
  try {
    const content = await zip(below, (share) => show(`Packing ${folder}`, share));
    add([new File([content], `${folder}.zip`)]);
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    toast(error.message, { bad: true });
  } finally {
    if (!running) state.hidden = true;
  }
}

// --- sending ----------------------------------------------------------------------------------

function show(words, share) {
  state.hidden = false;
  state.querySelector("[data-doing]").textContent = words;
  state.querySelector("[data-bar]").value = share;
}

function finish() {
  running = null;
  state.hidden = true;
  submit.removeAttribute("aria-disabled");
}

const known = () => form.querySelector('[name="known"]:checked')?.value ?? null;

async function start() {
  if (running) return;
  clearErrors();
  failure.hidden = true;
  const abort = new AbortController();
  running = { abort, path: null, sent: false };
  submit.setAttribute("aria-disabled", "true");
  try {
    if (!files.length && !known()) throw new Problem(422, { errors: [{ field: "", rule: "Choose files, or a public data set." }] });
    show("Asking the server", 0);
    state.scrollIntoView({ block: "nearest" });
    const begun = await post("/api/v1/datasets", { ...collect(), known: known() });
    running.path = `/api/v1/imports/${begun.id}`;
    abort.signal.throwIfAborted();
    await sendAll(running.path, abort.signal);
    running.sent = true;
    const over = await follow(running.path, show, abort.signal);
    if (over.status === "done") return arrive(over);
    showFailure(over.failure);
    finish();
  } catch (error) {
    giveUp(error);
  }
}

/** End what was asked for: what may go well on a worker is left to it, unless a person stops it. */
function giveUp(error) {
  const { path, sent } = running;
  finish();
  const stopped = error.name === "AbortError";
  if (path && (stopped || !sent || isRefusal(error))) forget(path);
  if (stopped) return;
  if (!(error instanceof Problem)) throw error;
  if (error.status === 422 || error.status === 400) showErrors(error);
  else if (sent && isAway(error)) toast("The server has been away for a minute. If the import has started, it goes on:", { bad: true, link: { href: "/datasets", text: "see the data sets" } });
  else toast(error.message, { bad: true });
}

/** Whether the server would not start the import, so that nobody reads it. */
const isRefusal = ({ status }) => status === 422 || status === 400;

async function sendAll(path, signal) {
  const total = files.reduce((sum, { file }) => sum + file.size, 0);
  let before = 0;
  for (const { file, part } of files) {
    const words = `Sending ${file.name}`;
    show(words, total ? before / total : 0);
    await sendFile(path, file, part, (sent) => show(words, (before + sent) / total), signal);
    before += file.size;
  }
}

function arrive({ name: dataset, report }) {
  const words = []; // its notes stand on the page
  if (report.known) words.push("This content was there before; it is the newest version again.");
  if (report.others.length) words.push(`The same content as ${report.others.join(", ")}.`);
  if (words.length) sessionStorage.setItem("warning", words.join(" "));
  location.assign(`/datasets/${encodeURIComponent(dataset)}`);
}

function showFailure({ evidence, suggestion, faults }) {
  const rows = faults.map((fault) => {
    const row = document.createElement("tr");
    for (const text of [fault.file, fault.row?.toLocaleString("en") ?? "–", fault.column ?? "–", fault.value ?? "–", fault.rule]) {
      row.insertCell().textContent = text;
    }
    return row;
  });
  failure.querySelector("[data-faults]").hidden = !rows.length;
  failure.querySelector("tbody").replaceChildren(...rows);
  const line = failure.querySelector("[data-evidence]");
  line.hidden = rows.length > 0;
  line.textContent = evidence;
  failure.querySelector("[data-suggestion]").textContent = suggestion;
  failure.hidden = false;
  failure.focus({ preventScroll: true });
  failure.scrollIntoView({ block: "center" });
}

form.querySelector("[data-stop]").addEventListener("click", () => running?.abort.abort());
addEventListener("beforeunload", (event) => {
  if (running && !state.hidden && !running.path) return;
  if (running && state.querySelector("[data-doing]").textContent.startsWith("Sending")) event.preventDefault();
});
form.addEventListener("submit", (event) => {
  event.preventDefault();
  start();
});
form.addEventListener("input", (event) => {
  const node = event.target;
  if (node.hasAttribute("aria-invalid")) clearError(node);
  if (node === name) named = Boolean(name.value);
  if (node.name !== "known" || named) return;
  name.value = node.value;
});
