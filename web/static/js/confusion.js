// The confusion matrix as a heat map; the table itself is its own text alternative.
import { count, percent } from "./format.js";

let shown = false;

/** Show the matrix once the page lists it among the artifacts. */
export async function showConfusion(page, api) {
  const listed = page.querySelector('[data-region="artifacts"] a[href$="/confusion_matrix.json"]');
  if (shown || !listed) return;
  shown = true;
  const response = await fetch(`${api}/artifacts/confusion_matrix.json`);
  if (!response.ok) return;
  const { classes, matrix } = await response.json();
  const section = document.querySelector("[data-confusion]");
  section.querySelector(".confusion-body").replaceChildren(table(classes, matrix), words(classes, matrix));
  section.hidden = false;
}

function table(classes, matrix) {
  const node = element("table", "confusion");
  node.append(element("caption", "visually-hidden", "Rows: the right class. Columns: what the model said. Cells: images."));
  const head = node.createTHead().insertRow();
  head.append(element("td", "corner", ""), ...classes.map((name) => scope(element("th", "", name), "col")));
  const worst = Math.max(1, ...matrix.flatMap((row, right) => row.filter((_, said) => said !== right)));
  const body = node.createTBody();
  matrix.forEach((row, right) => {
    const total = row.reduce((sum, value) => sum + value, 0) || 1;
    const line = body.insertRow();
    line.append(scope(element("th", "", classes[right]), "row"));
    row.forEach((value, said) => line.append(cell(value, { hit: said === right, worst, total, right: classes[right], said: classes[said] })));
  });
  return node;
}

function cell(value, { hit, worst, total, right, said }) {
  const node = element("td", hit ? "hit" : "miss", count(value));
  // Mistakes are few: their own scale, on a root, keeps the rare ones visible.
  const share = hit ? value / total : Math.sqrt(value / worst) * 0.8;
  node.style.setProperty("--heat", Math.round((hit ? 0.15 + 0.85 * share : share) * 100) * (value > 0));
  node.classList.toggle("strong", value > 0 && share > 0.6);
  node.classList.toggle("zero", value === 0);
  node.title = hit
    ? `${count(value)} of ${count(total)} images of ${right} recognised (${percent(value / total, 1)})`
    : `${count(value)} images of ${right} taken for ${said}`;
  return node;
}

function words(classes, matrix) {
  let worst = { value: 0 };
  matrix.forEach((row, right) => row.forEach((value, said) => {
    if (right !== said && value > worst.value) worst = { value, right, said };
  }));
  const text = worst.value
    ? `Rows are the right class, columns what the model said. Most often confused: ${classes[worst.right]} taken for ${classes[worst.said]}, ${count(worst.value)} times.`
    : "Rows are the right class, columns what the model said. No mistakes.";
  return element("p", "confusion-legend", text);
}

function scope(node, value) {
  node.scope = value;
  return node;
}

function element(name, className, text) {
  const node = document.createElement(name);
  if (className) node.className = className;
  node.textContent = text;
  return node;
}
