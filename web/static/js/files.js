// The files of an import: chosen or dropped, and what they are for. A folder goes as one zip.
import { toast } from "./common.js";
import { form } from "./fields.js";
import { fileSize } from "./format.js";
import { Problem } from "./http.js";
import { free, partOf } from "./names.js";
import { filesBelow, zip } from "./zip.js";

const list = form.querySelector("[data-sent]");

export let files = []; // {file, name, part}

let heard = null; // {changed(), packing(words, share), idle()}
let folders = Promise.resolve(true); // whether those that were packed last are in the list
let waiting = 0; // folders that are not packed yet
let abort = new AbortController();

/** Let files be chosen and dropped; `changed` hears of new ones, `packing` and `idle` of folders. */
export function setUp(listener) {
  heard = listener;
  listen();
}

/** Wait for folders that are being packed; false if one of them cannot be, or shall not. */
export const packed = () => (waiting ? folders : Promise.resolve(true));

/** Pack no more. */
export function stopPacking() {
  abort.abort();
  abort = new AbortController();
}

function add(chosen) {
  const renamed = [];
  for (const file of chosen) {
    // A number, not the folder's name: a name says whether its images are for training.
    const name = free(file.name, files.map((other) => other.name), (bare, number) => `${number}-${bare}`);
    if (name !== file.name) renamed.push(name);
    files.push({ file, name, part: partOf(name) });
  }
  if (renamed.length) toast(`The list has files of these names: sent as ${renamed.join(", ")}.`);
  heard.changed();
  draw();
}

function remove(one) {
  files = files.filter((other) => other !== one);
  draw();
}

function draw() {
  list.replaceChildren(...files.map((one) => {
    const item = document.createElement("li");
    const label = document.createElement("span");
    label.className = "wrap-anywhere";
    label.textContent = one.name;
    const size = document.createElement("span");
    size.className = "muted number";
    size.textContent = fileSize(one.file.size);
    const select = document.createElement("select");
    select.setAttribute("aria-label", `What ${one.name} is for`);
    for (const [value, words] of [["", "As the file says"], ["train", "Training"], ["test", "Testing"]]) select.add(new Option(words, value, false, value === one.part));
    select.addEventListener("change", () => (one.part = select.value));
    const button = document.createElement("button");
    button.type = "button";
    button.className = "button button-small";
    button.textContent = "Remove";
    button.setAttribute("aria-label", `Remove ${one.name}`);
    button.addEventListener("click", () => remove(one));
    item.append(label, size, select, button);
    return item;
  }));
}

// --- folders ----------------------------------------------------------------------------------

/** Pack a folder when those before it are packed; `find` gives what is in it. */
function addFolder(folder, find) {
  const { signal } = abort;
  const before = waiting ? folders : true;
  waiting += 1;
  folders = pack(folder, find, before, signal);
}

async function pack(folder, find, before, signal) {
  let good = await before;
  try {
    signal.throwIfAborted();
    heard.packing(`Packing ${folder}`, 0);
    const below = (await find()).filter(({ path }) => !path.split("/").some((part) => part.startsWith(".")));
    if (!below.length) throw new Problem(0, { detail: `There are no files in ${folder}.` });
    const content = await zip(below, (share) => heard.packing(`Packing ${folder}`, share), signal);
    add([new File([content], `${folder}.zip`)]);
  } catch (error) {
    good = false;
    tell(error, folder);
  } finally {
    waiting -= 1;
    if (!waiting) heard.idle();
  }
  return good;
}

function tell(error, folder) {
  if (error.name === "AbortError") return;
  if (error instanceof Problem) toast(error.message, { bad: true });
  else toast(`The folder ${folder} cannot be read: ${error.message}`, { bad: true });
}

// --- choosing and dropping --------------------------------------------------------------------

function listen() {
  const input = form.querySelector("[data-files]");
  input.addEventListener("change", () => {
    add(input.files);
    input.value = ""; // the same file can be chosen again
  });
  const folderInput = form.querySelector("[data-folder]");
  folderInput.addEventListener("change", () => {
    const chosen = [...folderInput.files].map((file) => {
      const [folder, ...path] = file.webkitRelativePath.split("/");
      return { folder, path: path.join("/"), file };
    });
    if (chosen.length) addFolder(chosen[0].folder, () => chosen);
    folderInput.value = "";
  });
  const drop = form.querySelector("[data-drop]");
  for (const kind of ["dragenter", "dragover"]) {
    drop.addEventListener(kind, (event) => {
      event.preventDefault();
      drop.classList.add("is-over");
    });
  }
  for (const kind of ["dragleave", "drop"]) drop.addEventListener(kind, () => drop.classList.remove("is-over"));
  drop.addEventListener("drop", take);
}

function take(event) {
  event.preventDefault();
  const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  const dropped = entries.filter((entry) => entry.isDirectory);
  add([...event.dataTransfer.files].filter((file) => !dropped.some((folder) => folder.name === file.name)));
  for (const folder of dropped) addFolder(folder.name, () => filesBelow(folder));
}
