// The job page: curves, gauges, live progress, log, confusion matrix.
import { EpochChart } from "./charts.js";
import "./common.js";
import { showConfusion } from "./confusion.js";
import { count, duration, figure, loss as lossText, percent } from "./format.js";
import { GaugePanel } from "./gauges.js";
import { follow, throttled } from "./live.js";
import { LogView } from "./log.js";
import { setUp as setUpPreflight } from "./preflight.js";
import { get } from "./http.js";
import { fetchPage, swapRegions } from "./regions.js";
import { followRibbon } from "./ribbon.js";

const REFRESH_MS = 1200;
// What the server works out anew each time: why a job waits, and the ribbon of one that runs.
const LOOK_AGAIN_MS = { queued: 3000, running: 15000 };
const ROOM_FOR_ALL_EPOCHS = 40;
const OVER = ["succeeded", "failed", "cancelled"];
const data = JSON.parse(document.querySelector("[data-job-data]").textContent);
const announcer = document.querySelector("[data-announce]");
const api = `/api/v1/jobs/${data.id}`;
const epochs = new Map();
takeEpochs(data);
// What the server's rendering shows of a job beside its progress and its epochs.
const TOLD = ["status", "name", "tags", "priority", "queue", "cancel_requested_at", "pause_requested_at", "attempt", "first_step_at"];
const toldOf = (job) => JSON.stringify(TOLD.map((name) => job[name]));
let told = toldOf(data);
let { status, progress, starts } = data;

// --- the largest batch --------------------------------------------------------------------------

async function sameAgain() {
  const { name, spec } = await get(api);
  return { name, spec };
}

function offerBatch({ largest_batch: size }) {
  if (!size) return [];
  const button = document.createElement("button");
  button.type = "button";
  button.className = "button button-small";
  button.textContent = "Run again with it";
  Object.assign(button.dataset, { action: "retry", job: data.id, changes: JSON.stringify({ batch_size: size }) });
  return [button];
}

setUpPreflight(document.querySelector("[data-preflight]"), { body: sameAgain, offer: offerBatch });

// --- curves -----------------------------------------------------------------------------------

const chart = (name, options) => new EpochChart(document.querySelector(`[data-chart="${name}"]`), options);
const accuracy = chart("accuracy", {
  series: [
    { key: "train_accuracy", label: "Train", token: "train" },
    { key: "eval_accuracy", label: "Evaluation", token: "eval", best: "max" },
  ],
  format: percent,
  tick: (value) => `${Number((100 * value).toFixed(2))}\u202f%`,
  farEnd: "low",
  limits: [0, 1],
  emptyText: OVER.includes(status) ? "No epoch was finished." : "The curves appear here with the first steps of training.",
});
const loss = chart("loss", {
  series: [
    { key: "train_loss", label: "Train", token: "train" },
    { key: "eval_loss", label: "Evaluation", token: "eval" },
  ],
  format: lossText,
  farEnd: "high",
  limits: [0, Infinity],
});
const rate = chart("rate", {
  series: [{ key: "learning_rate", label: "By epoch", token: "rate" }],
  format: (value) => figure(value, 4),
  farEnd: null,
  limits: [0, Infinity],
});

const gauges = new GaugePanel(document.querySelector("[data-gauges]"));

/** Mark where later attempts went on. */
function markStarts() {
  accuracy.setMarks(starts.slice(1).map(([, done]) => done));
}

/** The page holds epochs as rows of plain values, to be small. */
function takeEpochs({ fields, epochs: found }) {
  for (const values of found) {
    const row = Object.fromEntries(fields.map((name, index) => [name, values[index]]));
    epochs.set(row.epoch, row);
  }
}

function liveEpoch() {
  if (status !== "running" || !progress || progress.epoch <= lastEpoch() || progress.train_accuracy == null) return null;
  const inside = progress.phase === "train" ? progress.step / Math.max(progress.steps, 1) : 1;
  return { at: progress.epoch - 1 + Math.min(Math.max(inside, 0.02), 0.999), values: progress };
}

const rows = () => [...epochs.values()].sort((a, b) => a.epoch - b.epoch);
const lastEpoch = () => rows().at(-1)?.epoch ?? 0;

function draw() {
  const running = !OVER.includes(status);
  const lastShown = running && data.epochs_total <= ROOM_FOR_ALL_EPOCHS ? data.epochs_total : null;
  const live = liveEpoch();
  for (const one of [accuracy, loss]) one.setData(rows(), { live, lastEpoch: lastShown });
  // The running epoch's rate is known, and holds for all of it.
  rate.setData(rows(), { live: live && { ...live, at: progress.epoch }, lastEpoch: lastShown });
}

// --- live progress ----------------------------------------------------------------------------

function sharedDone() {
  const live = liveEpoch();
  return Math.max(lastEpoch(), live ? live.at : 0);
}

function secondsLeft() {
  const recent = rows().slice(-5).map((row) => row.seconds);
  if (recent.length === 0) return null;
  const mean = recent.reduce((sum, value) => sum + value, 0) / recent.length;
  return mean * Math.max(0, data.epochs_total - sharedDone());
}

function phaseWords({ phase, step, steps }) {
  if (phase === "train") return `Training, step ${count(step)} of ${count(steps)}`;
  return phase === "evaluate" ? "Evaluating" : "Writing the artifacts";
}

function showProgress() {
  const line = document.querySelector(".progress-line");
  if (!line || !progress) return;
  line.querySelector("progress").value = sharedDone();
  write(line, "[data-epoch]", Math.min(progress.epoch, data.epochs_total));
  write(line, "[data-phase]", phaseWords(progress));
  write(line, "[data-speed]", progress.images_per_second ? `${count(progress.images_per_second)} images/s` : "");
  const left = secondsLeft();
  write(line, "[data-eta]", left == null || progress.phase === "finish" ? "" : `about ${duration(left)} left`);
}

function write(root, selector, text) {
  const node = root.querySelector(selector);
  if (node && node.textContent !== String(text)) node.textContent = text;
}

// --- what the stream brings -------------------------------------------------------------------

const refresh = async () => {
  const page = await fetchPage(location.pathname);
  const fresh = JSON.parse(page.querySelector("[data-job-data]").textContent);
  takeEpochs(fresh);
  gauges.setData(fresh.gauge_fields, fresh.gauges);
  starts = fresh.starts;
  markStarts();
  changeStatus(fresh.status);
  if (fresh.progress) progress = newer(progress, fresh.progress);
  swapRegions(page);
  draw();
  showProgress();
  showConfusion(page, api);
};
const ask = throttled(refresh, REFRESH_MS);

function newer(a, b) {
  if (!a) return b;
  return [b.epoch - a.epoch, b.step - a.step].find((difference) => difference !== 0) < 0 ? a : b;
}

function changeStatus(next) {
  if (next === status) return;
  status = next;
  announcer.textContent = `The job is ${status}.`;
}

const stream = follow(() => `${api}/stream?after=e${lastEpoch()}`, {
  job(job) {
    if (job.progress) progress = newer(progress, job.progress);
    if (toldOf(job) !== told) ask();
    told = toldOf(job);
    changeStatus(job.status);
    draw();
    showProgress();
  },
  epoch(row) {
    const known = epochs.has(row.epoch);
    epochs.set(row.epoch, row);
    if (known) return;
    announcer.textContent = `Epoch ${row.epoch}: evaluation accuracy ${percent(row.eval_accuracy)}.`;
    draw();
    ask();
  },
  progress(event) {
    progress = event;
    draw();
    showProgress();
  },
  gauge(point) { gauges.add(point); },
  log({ lines }) { log.append(lines); },
  end() {
    stream.stop();
    ask();
    log.load();
  },
}, async () => {
  await refresh();
  await log.load();
  if (OVER.includes(status)) stream.stop();
});

const log = new LogView(document.querySelector("[data-log]"), document.querySelector("[data-follow]"), `${api}/log`);
draw();
gauges.setData(data.gauge_fields, data.gauges);
markStarts();
followRibbon(accuracy, () => starts);
performance.mark("curves-drawn");
showProgress();
log.load();
showConfusion(document, api);
document.addEventListener("yard:changed", ask);

(function lookAgain() {
  setTimeout(() => {
    if (!document.hidden && status in LOOK_AGAIN_MS) ask();
    lookAgain();
  }, LOOK_AGAIN_MS[status] ?? LOOK_AGAIN_MS.running);
})();
