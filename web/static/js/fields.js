// The fields of the form: what is typed in them, and which of them there are.

export const form = document.querySelector("[data-form]");

/** The controls that count, top to bottom: not those of kinds that are not chosen. */
export const controls = () => [...form.querySelectorAll("[data-path]")].filter((node) => !node.matches(":disabled"));

/** What an error can stand at: the controls, and those inside a list. */
export const targets = () => [...form.querySelectorAll("[data-path], [data-part]")].filter((node) => !node.matches(":disabled"));

const READ = {
  boolean: (node) => node.checked,
  choice: (node) => node.value,
  text: (node) => (node.value.trim() === "" && node.hasAttribute("data-nullable") ? null : node.value.trim()),
  integer: (node) => number(node, withoutThousands),
  number: (node) => number(node, withPoint),
  list: (node) => words(node).map((word) => numberOrText(word)),
  words,
  pairs,
  layers: (node) => parsed(node.value),
};

const THOUSANDS = /^-?[1-9]\d{0,2}(,\d{3})+$/;
const withoutThousands = (text) => (THOUSANDS.test(text) ? text.replaceAll(",", "") : text);

/** 0,001 is 0.001. What could be thousands as well, such as 1,000, stays as it is, and is no number. */
const withPoint = (text) => (THOUSANDS.test(text) ? text : text.replace(",", "."));

/** A number if it reads as one; else the text itself, for the server to object to. */
function numberOrText(text, plain = text) {
  return Number.isFinite(Number(plain)) ? Number(plain) : text;
}

function number(node, plain) {
  const text = node.value.trim();
  return text === "" ? null : numberOrText(text, plain(text));
}

function words(node) {
  return node.value.split(",").map((word) => word.trim()).filter((word) => word !== "");
}

/** Names and values; what has no value stays text, for the server to object to. */
function pairs(node) {
  const found = words(node).map((word) => word.split(/=(.*)/s).map((part) => part.trim()));
  if (found.some(([name, value]) => !name || value === undefined)) return node.value;
  return Object.fromEntries(found.map(([name, value]) => [name, parsed(value)]));
}

/** JSON if it reads as such; else the text itself, for the server to object to. */
function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** What a control holds, as the API wants it. */
export const read = (node) => READ[node.dataset.control](node);

/** The submission that the form stands for. */
export function collect() {
  const body = {};
  for (const node of controls()) put(body, node.dataset.path.split("."), read(node));
  return body;
}

function put(target, path, value) {
  const last = path.pop();
  for (const name of path) target = target[name] ??= {};
  target[last] = value;
}

const at = (values, path) => path.split(".").reduce((value, name) => value?.[name], values);

/** A list as JSON, an item a line. */
const inLines = (items) => `[\n${items.map((item) => `  ${JSON.stringify(item)}`).join(",\n")}\n]`;

/** Fill in a control. */
export function write(node, value) {
  if (node.dataset.control === "boolean") node.checked = Boolean(value);
  else if (node.dataset.control === "layers") node.value = inLines(value);
  else if (node.dataset.control === "pairs") node.value = Object.entries(value).map(([name, part]) => `${name}=${typeof part === "string" ? part : JSON.stringify(part)}`).join(", ");
  else if (Array.isArray(value)) node.value = value.join(", ");
  else node.value = value ?? "";
}

/** Fill in a spec: kinds first, for they decide which fields there are. */
export function fill(spec) {
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

/** Show the fields of the kind that a select has chosen. */
export function showVariant(select) {
  const union = select.closest("[data-union]");
  for (const variant of union.querySelectorAll("[data-variant]")) {
    variant.hidden = variant.disabled = variant.dataset.variant !== select.value;
  }
}

/** Show the fields that depend on another's value only with that value. */
export function showDependents() {
  for (const field of form.querySelectorAll("[data-shown-when]")) {
    const other = form.querySelector(`[data-path="${field.dataset.shownWhen}"]`);
    field.hidden = other.value !== field.dataset.shownValue;
  }
}
