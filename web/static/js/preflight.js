// A pre-flight: a worker tries a few steps of a job, and tells what training it would take.
import { toast } from "./common.js";
import { count, duration, fileSize } from "./format.js";
import { Problem, get, post, send } from "./http.js";

const PAUSE_MS = 400;
const OVER = ["done", "failed"];
// A batch that trains so much more images a second is worth a word.
const NOTICEABLY = 1.1;

/**
 * Let the button in a box try out the submission that `body()` returns, or promises, then.
 *
 * The box holds [data-preflight-start], and [data-preflight-out] for what comes of it.
 * `offer(report)` may return elements to show beneath the largest batch; `refused(problem)` shows
 * broken rules.
 */
export function setUp(box, { body, offer, refused }) {
  const button = box.querySelector("[data-preflight-start]");
  const out = box.querySelector("[data-preflight-out]");
  const words = button.textContent;
  let turn = 0; // goes on with every start and stop: who sees another one is too late
  let asked = null;

  async function start() {
    const own = ++turn;
    button.textContent = "Stop";
    out.classList.remove("is-outdated");
    showProgress(out, "Asking for a slot", 0);
    try {
      await follow(own, await post("/api/v1/preflights", await body()));
    } catch (error) {
      const wanted = own === turn;
      if (wanted) finish();
      if (!(error instanceof Problem)) throw error;
      if (!wanted) return;
      if (error.status === 422 && refused) refused(error);
      else toast(error.message, { bad: true });
    }
  }

  async function follow(own, answer) {
    const path = `/api/v1/preflights/${answer.id}`;
    if (own !== turn) return forget(path);
    asked = path;
    while (!OVER.includes(answer.status)) {
      showProgress(out, answer.progress?.doing ?? answer.waiting ?? "A worker takes it", answer.progress?.share ?? 0);
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
      if (own !== turn) return;
      answer = await get(path);
      if (own !== turn) return;
    }
    finish();
    if (answer.failure) showFailure(out, answer.failure);
    else showReport(out, answer, offer?.(answer.report) ?? []);
  }

  function finish() {
    turn += 1;
    asked = null;
    button.textContent = words;
    out.replaceChildren();
  }

  /** Nobody waits for the answer any more. */
  function stop() {
    if (asked) forget(asked);
    finish();
  }

  const running = () => button.textContent !== words;
  button.addEventListener("click", () => (running() ? stop() : start()));
  addEventListener("pagehide", () => running() && stop());
}

/** What is not forgotten now is so tomorrow. */
function forget(path) {
  send("DELETE", path).catch(() => {});
}

/** What was found out was so for other values. */
export function outdate(box) {
  const out = box.querySelector("[data-preflight-out]");
  if (out.querySelector("dl, .preflight-failure")) out.classList.add("is-outdated");
}

function element(tag, className, ...children) {
  const node = document.createElement(tag);
  node.className = className;
  node.append(...children);
  return node;
}

function showProgress(out, doing, share) {
  if (!out.querySelector(".preflight-doing")) {
    const bar = element("progress", "status-running");
    bar.max = 1;
    out.replaceChildren(element("p", "preflight-doing muted"), bar);
    bar.setAttribute("aria-label", "Progress of the pre-flight");
  }
  const line = out.querySelector(".preflight-doing");
  if (line.textContent !== doing) line.textContent = doing;
  out.querySelector("progress").value = share;
}

function showFailure(out, failure) {
  out.replaceChildren(element("p", "preflight-failure bad wrap-anywhere", failure.evidence), element("p", "help", failure.suggestion));
}

function showReport(out, { spec, report, worker }, offers) {
  const rows = [];
  if (report.fits) {
    rows.push(["An epoch", duration(report.epoch_seconds)]);
    if (spec.epochs > 1) rows.push([`All ${count(spec.epochs)} epochs`, `${duration(report.prepare_seconds + spec.epochs * report.epoch_seconds)} at most`]);
    rows.push(["Memory", `${fileSize(report.memory_bytes)} of ${fileSize(report.memory_limit_bytes)}`, meter(report)]);
  } else {
    rows.push(["Memory", `Batches of ${count(spec.batch_size)} do not fit into ${fileSize(report.memory_limit_bytes)}`]);
  }
  rows.push(["Largest batch", largest(report), ...offers]);
  const list = element("dl", "preflight-facts");
  for (const [name, ...values] of rows) list.append(element("dt", "muted", name), element("dd", "number", ...values));
  const notes = [faster(spec, report), diverged(report)].filter(Boolean);
  out.replaceChildren(list, ...notes, element("p", "help", `Tried on ${worker}: ${report.device}, ${report.precision}.`));
}

function meter({ memory_bytes: used, memory_limit_bytes: limit }) {
  const bar = element("progress", used > 0.9 * limit ? "status-failed" : "status-succeeded");
  bar.max = limit;
  bar.value = used;
  bar.setAttribute("aria-label", "Memory used, of what the job could take");
  return bar;
}

function largest({ largest_batch: batch, largest_batch_by: by }) {
  if (!batch) return "not even one image";
  return by === "data" ? `${count(batch)}, all images` : `${count(batch)} images`;
}

function faster(spec, { probes }) {
  const own = probes.find((probe) => probe.batch_size === spec.batch_size);
  const best = probes.reduce((first, other) => (other.images_per_second > first.images_per_second ? other : first), probes[0]);
  if (!own || best.images_per_second < NOTICEABLY * own.images_per_second) return null;
  const times = (best.images_per_second / own.images_per_second).toFixed(1);
  return element("p", "help", `Batches of ${count(best.batch_size)} train ${times} times as many images a second.`);
}

function diverged({ diverged_at: step }) {
  return step === null ? null : element("p", "preflight-failure bad", `The loss was not a finite number at step ${count(step)}: lower the learning rate.`);
}
