// The form of a new job: collects what was typed, shows the server's errors beside their fields,
// and previews model and learning rate. What is valid is the server's to say.
import { open, toast } from "./common.js";
import { count, figure } from "./format.js";
import { Problem, post } from "./http.js";

const PREVIEW_MS = 300;
const form = document.querySelector("[data-job-form]");
const data = JSON.parse(document.querySelector("[data-form-data]").textContent);
const summary = form.querySelector("[data-error-summary]");
const newKey = () => crypto.randomUUID?.() ?? [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
// One key for each opening of the form: however often it is sent, it makes one job.
let key = newKey();

// --- reading and writing ----------------------------------------------------------------------

const controls = () => [...form.querySelectorAll("[data-path]")].filter((node) => !node.matches(":disabled"));

const READ = {
  boolean: (node) => node.checked,
  choice: (node) => node.value,
  text: (node) => (node.value.trim() === "" && node.hasAttribute("data-nullable") ? null : node.value.trim()),
  integer: number,
  number,
  list: (node) => words(node).map(numberOrText),
  words,
};

/** A number if it reads as one; else the text itself, for the server to object to. */
function numberOrText(text) {
  const plain = text.replace(",", ".");
  return plain !== "" && Number.isFinite(Number(plain)) ? Number(plain) : text;
}

function number(node) {
  const text = node.value.trim();
  return text === "" ? null : numberOrText(text);
}

function words(node) {
  return node.value.split(",").map((word) => word.trim()).filter((word) => word !== "");
}

function collect() {
  const body = {};
  for (const node of controls()) put(body, node.dataset.path.split("."), READ[node.dataset.control](node));
  body.preset = form.elements.preset.value || null;
  body.parent_id = data.parent_id;
  return body;
}

function put(target, path, value) {
  const last = path.pop();
  for (const name of path) target = target[name] ??= {};
  target[last] = value;
}

const at = (values, path) => path.split(".").reduce((value, name) => value?.[name], values);

function write(node, value) {
  if (node.dataset.control === "boolean") node.checked = Boolean(value);
  else if (Array.isArray(value)) node.value = value.join(", ");
  else node.value = value ?? "";
}

/** Fill in a spec: kinds first, for they decide which fields there are. */
function fill(spec) {
  for (const kindsFirst of [true, false]) {
    for (const node of controls()) {
      const path = node.dataset.path;
      if (!path.startsWith("spec.") || path.endsWith(".kind") !== kindsFirst) continue;
      const value = at({ spec }, path);
      if (value !== undefined) write(node, value);
      if (kindsFirst) showVariant(node);
    }
  }
  showDependents();
}

function showVariant(select) {
  const union = select.closest("[data-union]");
  for (const variant of union.querySelectorAll("[data-variant]")) {
    variant.hidden = variant.disabled = variant.dataset.variant !== select.value;
  }
}

function showDependents() {
  for (const field of form.querySelectorAll("[data-shown-when]")) {
    const other = form.querySelector(`[data-path="${field.dataset.shownWhen}"]`);
    field.hidden = other.value !== field.dataset.shownValue;
  }
}

// --- presets ----------------------------------------------------------------------------------

const note = form.querySelector("[data-preset-note]");
const undo = form.querySelector("[data-undo]");
let before = null;
let chosen = form.elements.preset.value;

function applyPreset(name) {
  before = { preset: chosen, spec: collect().spec };
  chosen = name;
  fill(data.presets[name]);
  clearErrors();
  note.textContent = "The preset has replaced the values below; name, tags and priority are as they were.";
  undo.hidden = false;
  preview();
}

undo.addEventListener("click", () => {
  fill(before.spec);
  chosen = before.preset;
  for (const radio of form.elements.preset) radio.checked = radio.value === chosen;
  note.textContent = "The values are back.";
  undo.hidden = true;
  preview();
});

// --- errors -----------------------------------------------------------------------------------

function clearErrors() {
  summary.hidden = true;
  for (const node of form.querySelectorAll("[data-error]")) node.hidden = true;
  for (const node of form.querySelectorAll(".has-error")) node.classList.remove("has-error");
  for (const node of form.querySelectorAll("[aria-invalid]")) clearError(node);
}

function clearError(node) {
  node.removeAttribute("aria-invalid");
  const field = node.closest(".field");
  field.classList.remove("has-error");
  field.querySelector(":scope > [data-error]").hidden = true;
  describe(node, false);
}

function describe(node, withError) {
  const ids = (node.getAttribute("aria-describedby") ?? "").split(" ").filter((id) => id && id !== `${node.id}-error`);
  if (withError) ids.unshift(`${node.id}-error`);
  node.setAttribute("aria-describedby", ids.join(" "));
}

/** The control that an error belongs to: its own field's, or that of the part it stands in. */
function controlOf(path) {
  for (let name = path; name; name = name.replace(/\.?[^.]*$/, "")) {
    const found = controls().find((node) => node.dataset.path === name || node.dataset.path === `${name}.kind`);
    if (found) return found;
  }
  return null;
}

function showErrors(problem) {
  clearErrors();
  const items = problem.errors.length ? inOrder(problem.errors).map(showError) : [errorItem(null, problem.message)];
  const many = problem.errors.length;
  summary.querySelector("[data-error-title]").textContent =
    many > 1 ? `${many} fields need another value` : many ? "One field needs another value" : "The job was not started";
  summary.querySelector("ul").replaceChildren(...items);
  summary.hidden = false;
  const first = form.querySelector("[aria-invalid]");
  (first ?? summary).focus({ preventScroll: true });
  (first?.closest(".field") ?? summary).scrollIntoView({ block: "center" });
}

/** Errors as their fields stand in the form, top to bottom. */
function inOrder(errors) {
  const places = controls();
  const place = ({ field }) => places.indexOf(controlOf(field));
  return errors.toSorted((a, b) => place(a) - place(b));
}

function showError({ field: path, rule }) {
  const node = controlOf(path);
  if (!node) return errorItem(null, path ? `${path}: ${rule}` : rule);
  const field = node.closest(".field");
  const box = field.querySelector(":scope > [data-error]");
  box.textContent = rule;
  box.hidden = false;
  field.classList.add("has-error");
  node.setAttribute("aria-invalid", "true");
  describe(node, true);
  for (let fold = node.closest("details"); fold; fold = fold.parentElement.closest("details")) fold.open = true;
  return errorItem(node, `${field.querySelector("label").textContent.trim()}: ${rule}`);
}

function errorItem(node, text) {
  const item = document.createElement("li");
  if (!node) {
    item.textContent = text;
    return item;
  }
  const link = document.createElement("a");
  link.href = `#${node.id}`;
  link.textContent = text;
  link.addEventListener("click", (event) => {
    event.preventDefault();
    node.focus();
  });
  item.append(link);
  return item;
}

// --- preview ----------------------------------------------------------------------------------

const state = form.querySelector("[data-state]");
const side = form.querySelector(".side-panel");
let asked = 0;
let waiting = null;

function preview() {
  clearTimeout(waiting);
  waiting = setTimeout(ask, PREVIEW_MS);
}

async function ask() {
  const turn = ++asked;
  try {
    const answer = await post("/api/v1/jobs/validate", collect());
    if (turn === asked) show(answer);
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    if (turn === asked) showStale(error);
  }
}

function show(answer) {
  side.classList.remove("has-stale");
  for (const node of side.querySelectorAll(".is-stale")) node.classList.remove("is-stale");
  state.className = "side-state";
  state.textContent = "";
  showLayers(answer.layers, answer.parameters);
  showRates(answer.learning_rates);
}

function showStale(problem) {
  for (const node of side.querySelectorAll(".side-layers, .rates")) node.classList.add("is-stale");
  state.className = "side-state bad";
  const [first] = problem.errors;
  const label = first && controlOf(first.field)?.closest(".field").querySelector("label").textContent.trim();
  state.textContent = first ? `${label ?? first.field}: ${first.rule}` : problem.message;
}

function showLayers(layers, parameters) {
  form.querySelector("[data-parameters]").textContent = `${count(parameters)} parameters`;
  form.querySelector("[data-layers]").replaceChildren(...layers.map((layer) => {
    const row = document.createElement("tr");
    for (const [text, className] of [[layer.kind, ""], [layer.output_shape.join(" × "), "mono muted"], [count(layer.parameters), "number"]]) {
      const cell = row.insertCell();
      cell.textContent = text;
      cell.className = className;
    }
    return row;
  }));
}

function showRates(rates) {
  const top = Math.max(...rates);
  const points = rates.length > 1 ? rates : [rates[0], rates[0]];
  const line = points.map((rate, index) => `${((300 * index) / (points.length - 1)).toFixed(2)},${(82 - 78 * (rate / top)).toFixed(2)}`);
  form.querySelector(".rates-line").setAttribute("d", `M${line.join("L")}`);
  form.querySelector(".rates-area").setAttribute("d", `M0,84L${line.join("L")}L300,84Z`);
  const [first, last] = [figure(rates[0], 4), figure(rates.at(-1), 4)];
  const same = first === last;
  form.querySelector("[data-rates-words]").textContent = same ? first : `${first} to ${last}`;
  form.querySelector("[data-rates] title").textContent = same ? `Learning rate ${first} in every epoch` : `Learning rate from ${first} in epoch 1 to ${last} in epoch ${rates.length}`;
  form.querySelector("[data-rates-end]").textContent = `epoch ${count(rates.length)}`;
}

// --- sending ----------------------------------------------------------------------------------

const submit = form.querySelector("[data-submit]");
let sending = false;

/** Back on the page by the browser's history: what is sent now is another job. */
function restart() {
  key = newKey();
  finish();
}

function finish() {
  sending = false;
  submit.removeAttribute("aria-disabled");
  submit.textContent = "Start training";
}

async function start() {
  if (sending) return;
  sending = true;
  submit.setAttribute("aria-disabled", "true");
  submit.textContent = "Starting…";
  try {
    open(await post("/api/v1/jobs", collect(), { "Idempotency-Key": key }));
  } catch (error) {
    finish();
    if (!(error instanceof Problem)) throw error;
    if (error.status === 422 || error.status === 400) showErrors(error);
    else toast(error.message, { bad: true });
  }
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  start();
});
form.addEventListener("input", (event) => {
  const node = event.target;
  if (node.name === "preset") return applyPreset(node.value);
  if (node.hasAttribute("aria-invalid")) clearError(node);
  if (node.dataset.path?.endsWith(".kind")) showVariant(node);
  showDependents();
  preview();
});
// A browser that comes back to the page brings the typed values along: show what belongs to them.
addEventListener("pageshow", (event) => {
  if (event.persisted) restart();
  for (const select of form.querySelectorAll('[data-path$=".kind"]')) showVariant(select);
  showDependents();
  chosen = form.elements.preset.value;
  ask();
});
