// The editor of a list of layers: a row for each, with its fields, in step with the text area that
// holds the list as JSON and is what is sent.
import { form, read, write } from "./fields.js";
import { count } from "./format.js";

const editor = form.querySelector("[data-layer-editor]");
const text = editor.querySelector("textarea");
const list = editor.querySelector("[data-layer-rows]");
const said = editor.querySelector("[data-layer-said]");

const rows = () => [...list.children];
const inputs = (row) => [...row.querySelectorAll("[data-name]")];
const title = (row) => row.querySelector(".layer-kind").selectedOptions[0].textContent;

/** Draw the rows of the list that the text area holds; a text that is no list changes nothing. */
export function drawLayers() {
  const layers = read(text);
  if (!Array.isArray(layers) || !layers.every((layer) => templateOf(layer?.kind))) return;
  list.replaceChildren(...layers.map(makeRow));
  number();
}

/** Show each layer's output beside it, as the server has worked it out. */
export function showShapes(layers) {
  list.classList.remove("is-stale");
  if (read(text).length !== rows().length) drawLayers(); // typed as text, and not yet left
  // An answer to what was there a moment ago may lack rows, or have more.
  for (const [index, row] of rows().slice(0, layers.length).entries()) {
    const { output_shape: shape, parameters } = layers[index];
    const size = document.createElement("b");
    size.textContent = shape.join(" × ");
    row.querySelector("[data-layer-shape]").replaceChildren(size, parameters ? `${count(parameters)} parameters` : "no parameters");
    setFault(row, "");
  }
}

/** Show the server's objections to single layers, each at its row. */
export function showFaults(errors) {
  list.classList.add("is-stale");
  for (const [index, row] of rows().entries()) {
    const own = `${text.dataset.path}.${index}`;
    setFault(row, errors.filter(({ field }) => `${field}.`.startsWith(`${own}.`)).map(({ rule }) => rule).join(" "));
  }
}

function setFault(row, rule) {
  const box = row.querySelector("[data-error]");
  box.textContent = rule;
  box.hidden = !rule;
  row.classList.toggle("has-error", Boolean(rule));
  if (!rule) for (const node of inputs(row)) node.removeAttribute("aria-invalid");
}

const templateOf = (kind) => editor.querySelector(`template[data-layer-kind="${CSS.escape(String(kind))}"]`);

function makeRow(layer) {
  const row = templateOf(layer.kind).content.firstElementChild.cloneNode(true);
  for (const node of inputs(row)) {
    if (node.dataset.name in layer) write(node, layer[node.dataset.name]);
  }
  return row;
}

/** The layer that a row stands for. */
function layerOf(row) {
  return Object.fromEntries(inputs(row).map((node) => [node.dataset.name, read(node)]));
}

/** Give every row its place, and its controls the names by which errors and people find them. */
function number() {
  const all = rows();
  for (const [index, row] of all.entries()) {
    const place = index + 1;
    const name = `${title(row)}, layer ${place}`;
    row.querySelector(".layer-place").textContent = place;
    for (const node of inputs(row)) {
      node.id = `layer-${place}-${node.dataset.name}`;
      node.dataset.part = `${text.dataset.path}.${index}.${node.dataset.name}`;
      node.dataset.label = `${name}, ${node.dataset.title}`;
    }
    row.querySelector("[data-error]").id = `layer-${place}-error`;
    const tools = { up: ["Move up", index > 0], down: ["Move down", place < all.length], copy: ["Repeat", true], remove: ["Remove", all.length > 1] };
    for (const [tool, [words, possible]] of Object.entries(tools)) {
      const button = row.querySelector(`[data-tool="${tool}"]`);
      button.title = words;
      button.setAttribute("aria-label", `${words}: ${name}`);
      button.setAttribute("aria-disabled", String(!possible));
    }
  }
}

/** Write the rows into the text area, as if somebody had typed them. */
function store() {
  number();
  write(text, rows().map(layerOf));
  text.dispatchEvent(new Event("input", { bubbles: true }));
}

function move(row, steps) {
  const all = rows();
  const place = all.indexOf(row) + steps;
  if (place < 0 || place >= all.length) return;
  const focused = document.activeElement;
  list.insertBefore(row, steps < 0 ? all[place] : all[place].nextSibling);
  focused.focus();
  store();
  said.textContent = `${title(row)} is now layer ${place + 1} of ${all.length}.`;
}

const TOOLS = {
  up: (row) => move(row, -1),
  down: (row) => move(row, 1),
  copy(row) {
    const copy = makeRow(layerOf(row));
    row.after(copy);
    store();
    copy.querySelector('[data-tool="copy"]').focus();
    said.textContent = `${title(row)} stands there twice.`;
  },
  remove(row) {
    const next = row.nextElementSibling ?? row.previousElementSibling;
    const name = title(row);
    row.remove();
    store();
    next.querySelector('[data-tool="remove"]').focus();
    said.textContent = `${name} is removed; ${rows().length} layers are left.`;
  },
};

function add(kind) {
  const row = makeRow({ kind });
  list.append(row);
  store();
  row.querySelector(".layer-kind").focus();
  said.textContent = `${title(row)} is layer ${rows().length}.`;
}

/** Put another kind in a row's place; fields that both have keep their values. */
function change(row) {
  const other = makeRow(layerOf(row));
  row.replaceWith(other);
  store();
  other.querySelector(".layer-kind").focus();
}

editor.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button || button.getAttribute("aria-disabled") === "true") return;
  if (button.dataset.add) add(button.dataset.add);
  if (button.dataset.tool) TOOLS[button.dataset.tool](button.closest(".layer"));
});
editor.addEventListener("input", (event) => {
  if (event.target === text) return;
  event.stopPropagation();
  if (event.target.dataset.name === "kind") change(event.target.closest(".layer"));
  else store();
});
text.addEventListener("change", () => {
  drawLayers();
  text.dispatchEvent(new Event("input", { bubbles: true })); // new rows have no shapes yet
});
editor.addEventListener("keydown", (event) => {
  const steps = { ArrowUp: -1, ArrowDown: 1 }[event.key];
  const row = event.target.closest(".layer");
  if (!event.altKey || !steps || !row) return;
  event.preventDefault();
  move(row, steps);
});
