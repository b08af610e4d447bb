// The page of a data set: another draw of samples, samples of one class, deletion.
import { confirm, toast } from "./common.js";
import { Problem, get, send } from "./http.js";

const box = document.querySelector("[data-samples]");
const shots = box.querySelector("[data-shots]");
const [part, kind] = [box.querySelector("[data-part]"), box.querySelector("[data-class]")];
let turn = 0; // a slow answer must not replace a later one

function shot({ image, class_name: name, row }) {
  const [figure, picture, caption] = ["figure", "img", "figcaption"].map((tag) => document.createElement(tag));
  figure.className = "shot";
  figure.title = `${part.value}, row ${row.toLocaleString("en")}`;
  Object.assign(picture, { src: image, alt: "", loading: "lazy", decoding: "async" });
  caption.textContent = name;
  figure.append(picture, caption);
  return figure;
}

async function draw() {
  const own = ++turn;
  const query = new URLSearchParams({ part: part.value, count: 48, seed: Math.floor(Math.random() * 2 ** 48), version: box.dataset.version });
  if (kind.value) query.set("label", kind.value);
  try {
    const { items } = await get(`/api/v1/datasets/${box.dataset.name}/samples?${query}`);
    if (own !== turn) return;
    shots.replaceChildren(...items.map(shot));
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    toast(error.message, { bad: true });
  }
}

box.querySelector("[data-draw]").addEventListener("click", draw);
part.addEventListener("change", draw);
kind.addEventListener("change", draw);

async function remove(button) {
  const { delete: name, images } = button.dataset;
  const sure = await confirm({
    title: `Delete ${name}?`,
    text: `Its ${images} images go, and its other versions. Jobs that are over keep their results.`,
    yes: "Delete the data set",
    no: "Keep it",
  });
  if (!sure) return;
  try {
    await send("DELETE", `/api/v1/datasets/${name}`);
    location.href = "/datasets";
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    toast(error.message, { bad: true });
  }
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-show-class], [data-delete]");
  if (!button) return;
  if (button.dataset.delete) {
    remove(button);
    return;
  }
  kind.value = button.dataset.showClass;
  draw();
  box.scrollIntoView({ behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth", block: "nearest" });
});
