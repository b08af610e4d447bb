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
    toggle.addEventListener("change", () => this.#scroll());
    box.addEventListener("wheel", (event) => { if (event.deltaY < 0) toggle.checked = false; }, { passive: true });
  }

  /** Fetch what has been written so far. */
  async load() {
    const response = await fetch(`${this.url}?tail=${MAX_LINES}`);
    if (!response.ok) return;
    const text = (await response.text()).trimEnd();
    this.lines = text ? text.split("\n") : [];
    this.#show();
  }

  append(lines) {
    this.lines.push(...lines);
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
