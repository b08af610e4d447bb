// The panel beside the form: layers and learning rate of the job as it is typed.
import { form } from "./fields.js";
import { count, figure, fileSize } from "./format.js";
import { Problem, post } from "./http.js";
import { showFaults, showShapes } from "./layers.js";
import { controlOf, labelOf } from "./problems.js";

const WAIT_MS = 300;
const state = form.querySelector("[data-state]");
const side = form.querySelector(".side-panel");
let asked = 0;
let waiting = null;

/** Ask the server soon, once typing pauses, what `collect()` would become. */
export function preview(collect, waitMs = WAIT_MS) {
  clearTimeout(waiting);
  waiting = setTimeout(ask, waitMs, collect);
}

async function ask(collect) {
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
  for (const node of side.querySelectorAll(".is-stale")) node.classList.remove("is-stale");
  state.className = "side-state";
  state.textContent = "";
  showLayers(answer.layers, answer.parameters);
  showMemory(answer.memory);
  if (answer.spec.model.kind === "layers") showShapes(answer.layers);
  showRates(answer);
}

function showStale(problem) {
  for (const node of side.querySelectorAll(".side-layers, .rates")) node.classList.add("is-stale");
  state.className = "side-state bad";
  const [first] = problem.errors;
  const node = first && controlOf(first.field);
  state.textContent = first ? `${node ? labelOf(node) : first.field}: ${first.rule}` : problem.message;
  showFaults(problem.errors);
}

function showLayers(layers, parameters) {
  form.querySelector("[data-parameters]").textContent = parameters === null ? "" : `${count(parameters)} parameters`;
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

function showMemory(memory) {
  form.querySelector("[data-memory]").textContent = memory
    ? `At least ${fileSize(memory.total_bytes)} of memory to train, ${fileSize(memory.activations_bytes)} of it for the batch.`
    : "Its layers are known when it starts: the code is the worker's.";
}

function showRates({ learning_rates: rates, learning_rate_curve: curve, spec }) {
  const top = Math.max(...curve);
  const points = curve.length > 1 ? curve : [curve[0], curve[0]];
  const line = points.map((rate, index) => `${((300 * index) / (points.length - 1)).toFixed(2)},${(82 - 78 * (rate / top)).toFixed(2)}`);
  form.querySelector(".rates-line").setAttribute("d", `M${line.join("L")}`);
  form.querySelector(".rates-area").setAttribute("d", `M0,84L${line.join("L")}L300,84Z`);
  const words = rateWords(curve, top, spec.schedule);
  form.querySelector("[data-rates-words]").textContent = words;
  form.querySelector("[data-rates] title").textContent = `Learning rate over ${count(rates.length)} epochs: ${words}`;
  form.querySelector("[data-rates-end]").textContent = `epoch ${count(rates.length)}`;
}

function rateWords(curve, top, schedule) {
  const [first, last, peak] = [curve[0], curve.at(-1), top].map((rate) => figure(rate, 4));
  if (schedule.kind === "plateau") return `${first}, × ${figure(schedule.factor, 3)} when stuck`;
  if (first === last && first === peak) return first;
  return peak === first || peak === last ? `${first} to ${last}` : `${first} → ${peak} → ${last}`;
}
