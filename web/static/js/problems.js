// The server's objections: beside their fields, and summed up at the top.
import { form, targets } from "./fields.js";

const summary = form.querySelector("[data-error-summary]");

export function clearErrors() {
  summary.hidden = true;
  for (const node of form.querySelectorAll("[data-error]")) node.hidden = true;
  for (const node of form.querySelectorAll(".has-error")) node.classList.remove("has-error");
  for (const node of form.querySelectorAll("[aria-invalid]")) clearError(node);
}

export function clearError(node) {
  node.removeAttribute("aria-invalid");
  const field = node.closest(".field");
  field.classList.remove("has-error");
  field.querySelector(":scope > [data-error]").hidden = true;
  describe(node, false);
}

function describe(node, withError) {
  const error = node.closest(".field").querySelector(":scope > [data-error]").id;
  const ids = (node.getAttribute("aria-describedby") ?? "").split(" ").filter((id) => id && id !== error);
  if (withError) ids.unshift(error);
  node.setAttribute("aria-describedby", ids.join(" "));
}

/** The control that an error belongs to: its own field's, or that of the part it stands in. */
export function controlOf(path) {
  for (let name = path; name; name = name.replace(/\.?[^.]*$/, "")) {
    const found = targets().find(({ dataset: { path: own, part } }) => [own, part].some((known) => known === name || known === `${name}.kind`));
    if (found) return found;
  }
  return null;
}

/** What people call a control. */
export function labelOf(node) {
  return node.dataset.label ?? node.closest(".field").querySelector("label").textContent.trim();
}

/** Show a problem, and bring its first field into view. */
export function showErrors(problem) {
  clearErrors();
  const items = problem.errors.length ? inOrder(problem.errors).map(showError) : [errorItem(null, problem.message)];
  const many = problem.errors.length;
  summary.querySelector("[data-error-title]").textContent =
    many > 1 ? `${many} fields need another value` : many ? "One field needs another value" : summary.dataset.refused;
  summary.querySelector("ul").replaceChildren(...items);
  summary.hidden = false;
  const first = form.querySelector("[aria-invalid]");
  (first ?? summary).focus({ preventScroll: true });
  (first?.closest(".field") ?? summary).scrollIntoView({ block: "center" });
}

/** Errors as their fields stand in the form, top to bottom. */
function inOrder(errors) {
  const places = targets();
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
  return errorItem(node, `${labelOf(node)}: ${rule}`);
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
