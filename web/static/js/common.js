// What every page does: theme, ticking times, job actions, copying, messages.
import { Problem, post, send } from "./http.js";
import { keepTicking } from "./times.js";

/** Show a message for a while; a bad one stays until it is closed. */
export function toast(text, { bad = false, link = null } = {}) {
  const box = document.createElement("div");
  box.className = bad ? "toast toast-bad" : "toast";
  if (bad) box.setAttribute("role", "alert");
  const words = document.createElement("p");
  words.textContent = text;
  if (link) {
    const anchor = document.createElement("a");
    anchor.href = link.href;
    anchor.textContent = link.text;
    words.append(" ", anchor);
  }
  const close = document.createElement("button");
  close.type = "button";
  close.className = "button button-small";
  close.textContent = "Close";
  close.addEventListener("click", () => box.remove());
  box.append(words, close);
  document.querySelector("[data-toasts]").append(box);
  if (!bad) setTimeout(() => box.remove(), 8000);
}

/** Ask in the page; resolves to whether the answer was yes. */
export function confirm({ title, text, yes, no }) {
  const dialog = document.querySelector("[data-confirm]");
  dialog.querySelector("[data-confirm-title]").textContent = title;
  dialog.querySelector("[data-confirm-text]").textContent = text;
  dialog.querySelector("[data-confirm-yes]").textContent = yes;
  dialog.querySelector("[data-confirm-no]").textContent = no;
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}

/** Go to a job that was just submitted. */
export function open(job) {
  if (job.warning) sessionStorage.setItem("warning", job.warning);
  location.assign(`/jobs/${job.id}`);
}

const CANCEL_WORDS = {
  running: { text: "Training stops at the next step. The epochs that are done stay recorded.", no: "Keep training" },
  queued: { text: "The job leaves the queue before it starts.", no: "Keep waiting" },
  paused: { text: "It does not go on. The epochs that are done stay recorded.", no: "Keep it paused" },
};
const DRAIN_WORDS = { 0: "It runs no job now.", 1: "Its job is saved and goes back into the queue." };

// What buttons do: called with the button's data and its words.
const ACTIONS = {
  async cancel({ job, name, status }) {
    const sure = await confirm({ title: `Cancel ${name}?`, yes: "Cancel the job", ...CANCEL_WORDS[status] });
    if (!sure) return;
    const changed = await post(`/api/v1/jobs/${job}/cancel`);
    toast(changed.status === "cancelled" ? `${name} is cancelled.` : `${name} is being cancelled.`);
  },
  async pause({ job, name }) {
    const changed = await post(`/api/v1/jobs/${job}/pause`);
    toast(changed.status === "paused" ? `${name} is paused.` : `${name} saves a checkpoint, then it is paused.`);
  },
  async resume({ job, name }) {
    const changed = await post(`/api/v1/jobs/${job}/resume`);
    toast(changed.status === "queued" ? `${name} waits for a slot again.` : `${name} goes on training.`);
  },
  async move({ job, name, to }) {
    await post(`/api/v1/jobs/${job}/move`, { to });
    toast(to === "front" ? `${name} starts next.` : `${name} is now the last in its queue.`);
  },
  async retry({ job, changes }) {
    open(await post(`/api/v1/jobs/${job}/retry`, changes && { spec: JSON.parse(changes) }));
  },
  async remedy({ method, path, body }, words) {
    await send(method, path, body && JSON.parse(body));
    toast(`Done: ${words}.`);
  },
  async drain({ worker, jobs }) {
    const sure = await confirm({
      title: `Drain ${worker}?`,
      text: `${DRAIN_WORDS[jobs] ?? `Its ${jobs} jobs are saved and go back into the queue.`} It takes no more until you tell it to.`,
      yes: "Drain the worker",
      no: "Leave it as it is",
    });
    if (!sure) return;
    await post(`/api/v1/workers/${encodeURIComponent(worker)}/drain`, {});
    toast(`${worker} drains.`);
  },
  async undrain({ worker }) {
    await send("DELETE", `/api/v1/workers/${encodeURIComponent(worker)}/drain`);
    toast(`${worker} takes jobs again.`);
  },
  async stopImport({ import: number, name }) {
    const sure = await confirm({ title: `Stop the import of ${name}?`, text: "The files that were sent are deleted, and nothing is kept of them.", yes: "Stop the import", no: "Let it go on" });
    if (!sure) return;
    await send("DELETE", `/api/v1/imports/${number}`);
    toast(`The import of ${name} is stopped.`);
  },
  async dismissImport({ import: number }) {
    await send("DELETE", `/api/v1/imports/${number}`);
  },
  async start({ preset }) {
    open(await post("/api/v1/jobs", { preset }));
  },
};

function act(button) {
  return once(button, () => ACTIONS[button.dataset.action](button.dataset, button.textContent.trim()));
}

/** Set a waiting job's priority. */
function prioritise(form) {
  return once(form.querySelector("button"), async () => {
    const priority = Number(form.elements.priority.value);
    await send("PATCH", `/api/v1/jobs/${form.dataset.priority}`, { priority });
    toast(`${form.dataset.name} has priority ${priority}.`);
  });
}

/** Do a button's work unless it is being done; say what went wrong. */
async function once(button, work) {
  if (button.getAttribute("aria-disabled") === "true") return;
  button.setAttribute("aria-disabled", "true");
  try {
    await work();
    document.dispatchEvent(new CustomEvent("yard:changed"));
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    toast(error.message, { bad: true });
  } finally {
    button.removeAttribute("aria-disabled");
  }
}

async function copy(button) {
  await navigator.clipboard.writeText(button.dataset.copy);
  toast("Copied.");
}

function toggleTheme() {
  const root = document.documentElement;
  const dark = root.dataset.theme
    ? root.dataset.theme === "dark"
    : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
  try {
    localStorage.setItem("theme", root.dataset.theme);
  } catch { /* it holds for this page */ }
  document.dispatchEvent(new CustomEvent("yard:theme"));
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  if (button.dataset.action) act(button);
  if (button.dataset.copy) copy(button);
  if (button.matches("[data-theme-toggle]")) toggleTheme();
});
document.addEventListener("submit", (event) => {
  if (!event.target.matches("[data-priority]")) return;
  event.preventDefault();
  prioritise(event.target);
});
keepTicking();

// What the page before had to say of the job that this page shows.
const warning = sessionStorage.getItem("warning");
if (warning) {
  sessionStorage.removeItem("warning");
  toast(warning);
}
