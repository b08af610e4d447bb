// The form of a new job: presets, sending, and what the other modules do when something is typed.
// What is valid is the server's to say.
import { open, toast } from "./common.js";
import { collect as collectFields, fill, form, showDependents, showVariant, write } from "./fields.js";
import { Problem, post } from "./http.js";
import { drawLayers } from "./layers.js";
import { outdate, setUp as setUpPreflight } from "./preflight.js";
import { preview as previewSoon } from "./preview.js";
import { clearError, clearErrors, showErrors } from "./problems.js";

const data = JSON.parse(document.querySelector("[data-form-data]").textContent);
const newKey = () => crypto.randomUUID?.() ?? [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
// One key for each opening of the form: however often it is sent, it makes one job.
let key = newKey();

function collect() {
  return { ...collectFields(), preset: form.elements.preset.value || null, parent_id: data.parent_id };
}

const trial = form.querySelector("[data-preflight]");

function preview(waitMs) {
  outdate(trial);
  previewSoon(collect, waitMs);
}

// --- presets ----------------------------------------------------------------------------------

const note = form.querySelector("[data-preset-note]");
const undo = form.querySelector("[data-undo]");
let before = null;
let chosen = form.elements.preset.value;

function fillAll(spec) {
  fill(spec);
  drawLayers();
}

function applyPreset(name) {
  before = { preset: chosen, spec: collect().spec };
  chosen = name;
  fillAll(data.presets[name]);
  clearErrors();
  note.textContent = "The preset has replaced the values below; name, tags and priority are as they were.";
  undo.hidden = false;
  preview();
}

undo.addEventListener("click", () => {
  fillAll(before.spec);
  chosen = before.preset;
  for (const radio of form.elements.preset) radio.checked = radio.value === chosen;
  note.textContent = "The values are back.";
  undo.hidden = true;
  preview();
});

// --- trying it out ----------------------------------------------------------------------------

function useBatch(size) {
  const node = form.querySelector('[data-path="spec.batch_size"]');
  write(node, size);
  node.dispatchEvent(new Event("input", { bubbles: true }));
  node.focus();
}

/** A way out for who asks for too much; the largest batch is not the best one to learn with. */
function offerBatch({ fits, largest_batch: size }) {
  if (fits || !size) return [];
  const button = document.createElement("button");
  button.type = "button";
  button.className = "button button-small";
  button.textContent = "Use it";
  button.addEventListener("click", () => useBatch(size));
  return [button];
}

setUpPreflight(trial, { body: collect, offer: offerBatch, refused: showErrors });

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
  if (node.dataset.path === "spec.dataset.name") write(form.querySelector('[data-path="spec.dataset.version"]'), null);
  showDependents();
  preview();
});
// A browser that comes back to the page brings the typed values along: show what belongs to them.
addEventListener("pageshow", (event) => {
  if (event.persisted) restart();
  for (const select of form.querySelectorAll('[data-path$=".kind"]')) showVariant(select);
  showDependents();
  drawLayers();
  chosen = form.elements.preset.value;
  preview(0);
});
