// The ribbon of attempts: what an attempt was, in words, and its stretch of the curve.
// The ribbon is exchanged while the job runs, so everything listens from above it.

/**
 * Show an attempt's tip and its part of the curves while it is pointed at or has the focus.
 * @param {{setSpan: (span: [number, number] | null) => void}} chart above the ribbon.
 * @param {() => [number, number][]} starts of attempts: number, epochs done by then.
 */
export function followRibbon(chart, starts) {
  const root = document.querySelector('[data-chart="accuracy"]');
  const show = (event) => point(event.target.closest?.("[data-attempt]"));
  const leave = () => point(document.activeElement?.closest?.("[data-attempt]"));

  function point(segment) {
    for (const tip of root.querySelectorAll(".ribbon-tip")) tip.hidden = true;
    chart.setSpan(segment ? stretch(Number(segment.dataset.attempt), starts()) : null);
    if (segment) place(segment);
  }

  root.addEventListener("pointerover", show);
  root.addEventListener("focusin", show);
  root.addEventListener("pointerleave", leave);
  root.addEventListener("focusout", () => point(null));
  root.addEventListener("keydown", (event) => { if (event.key === "Escape") point(null); });
}

/** The epochs that an attempt's work stands in: up to where the next one began. */
export function stretch(number, starts) {
  const index = starts.findIndex(([found]) => found === number);
  if (index < 0) return null;
  return [starts[index][1], starts[index + 1]?.[1] ?? Infinity];
}

function place(segment) {
  const ribbon = segment.closest(".ribbon");
  const tip = ribbon.querySelector(`#ribbon-tip-${segment.dataset.attempt}`);
  tip.hidden = false;
  const [box, frame] = [segment.getBoundingClientRect(), ribbon.getBoundingClientRect()];
  const middle = box.left + box.width / 2 - frame.left - tip.offsetWidth / 2;
  const left = Math.max(0, Math.min(middle, frame.width - tip.offsetWidth));
  const top = ribbon.querySelector(".ribbon-bar").getBoundingClientRect().top - frame.top - tip.offsetHeight - 2;
  tip.style.transform = `translate(${left}px, ${top}px)`;
}
