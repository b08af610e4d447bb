// The tail of a job's log, followed while one does not read further up.
const MAX_LINES = 2000;

export class LogView {
  /**
   * @param {HTMLElement} box that shows the lines.
   * @param {HTMLInputElement} toggle whether to follow.
   * @param {string} url of the whole log, as text.
   */
  constructor(box, toggle, url) {
    this.box = box;
    this.toggle = toggle;
    this.url = url;
    this.lines = [];
    this.loads = new Set(); // of each that is on its way: the lines that have come meanwhile
    toggle.addEventListener("change", () => this.#scroll());
    box.addEventListener("wheel", (event) => { if (event.deltaY < 0) toggle.checked = false; }, { passive: true });
  }

  /** Fetch what has been written so far. */
  async load() {
    const meanwhile = [];
    this.loads.add(meanwhile);
    try {
      const response = await fetch(`${this.url}?tail=${MAX_LINES}`);
      if (!response.ok) return;
      const text = (await response.text()).trimEnd();
      this.lines = joined(text ? text.split("\n") : [], meanwhile);
      this.#show();
    } finally {
      this.loads.delete(meanwhile);
    }
  }

  append(lines) {
    for (const target of [this.lines, ...this.loads]) target.push(...lines);
    this.#show();
  }

  #show() {
    this.lines.splice(0, Math.max(0, this.lines.length - MAX_LINES));
    this.box.textContent = this.lines.join("\n");
    this.#scroll();
  }

  #scroll() {
    if (this.toggle.checked) this.box.scrollTop = this.box.scrollHeight;
  }
}

/** Put lines after others, once those that are in both. */
function joined(lines, later) {
  for (let both = Math.min(lines.length, later.length); both > 0; both -= 1) {
    if (later.slice(0, both).every((line, at) => line === lines[lines.length - both + at])) return [...lines, ...later.slice(both)];
  }
  return [...lines, ...later];
}
