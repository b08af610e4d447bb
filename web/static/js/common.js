// What every page does: theme, ticking times, job actions, copying, messages.
import { Problem, post } from "./http.js";
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

const ACTIONS = {
  async cancel({ job, name, status }) {
    const running = status === "running";
    const sure = await confirm({
      title: `Cancel ${name}?`,
      text: running
        ? "Training stops at the next step. The epochs that are done stay recorded."
        : "The job leaves the queue before it starts.",
      yes: "Cancel the job",
      no: running ? "Keep training" : "Keep waiting",
    });
    if (!sure) return;
    const changed = await post(`/api/v1/jobs/${job}/cancel`);
    toast(changed.status === "cancelled" ? `${name} is cancelled.` : `${name} is being cancelled.`);
  },
  async retry({ job }) {
    open(await post(`/api/v1/jobs/${job}/retry`));
  },
  async start({ preset }) {
    open(await post("/api/v1/jobs", { preset }));
  },
};

async function act(button) {
  if (button.getAttribute("aria-disabled") === "true") return;
  button.setAttribute("aria-disabled", "true");
  try {
    await ACTIONS[button.dataset.action](button.dataset);
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
keepTicking();

// What the page before had to say of the job that this page shows.
const warning = sessionStorage.getItem("warning");
if (warning) {
  sessionStorage.removeItem("warning");
  toast(warning);
}
