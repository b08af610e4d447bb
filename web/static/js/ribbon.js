// The ribbon of attempts: what an attempt was, in words, and its stretch of the curve.
// The ribbon is exchanged while the job runs, so everything listens from above it.

/**
 * Show an attempt's tip and its part of the curves while it is pointed at or has the focus.
 * @param {{setSpan: (span: [number, number] | null) => void}} chart above the ribbon.
 * @param {() => [number, number][]} starts of attempts: number, epochs done by then.
 */
export function followRibbon(chart, starts) {
  const root = document.querySelector('[data-chart="accuracy"]');
  const segmentOf = (node) => node?.closest("[data-attempt]") ?? null;
  const show = (event) => point(segmentOf(event.target) ?? segmentOf(document.activeElement));
  const leave = () => point(segmentOf(document.activeElement));

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

/** Put the tip under the bar, so that it covers nothing of the curve; above it if there is no room. */
function place(segment) {
  const ribbon = segment.closest(".ribbon");
  const tip = ribbon.querySelector(`#ribbon-tip-${segment.dataset.attempt}`);
  tip.hidden = false;
  const [box, frame] = [segment.getBoundingClientRect(), ribbon.getBoundingClientRect()];
  const middle = box.left + box.width / 2 - frame.left - tip.offsetWidth / 2;
  const left = Math.max(0, Math.min(middle, frame.width - tip.offsetWidth));
  const bar = ribbon.querySelector(".ribbon-bar").getBoundingClientRect();
  const under = bar.bottom + 6 + tip.offsetHeight < innerHeight;
  const top = (under ? bar.bottom + 6 : bar.top - 2 - tip.offsetHeight) - frame.top;
  tip.style.transform = `translate(${left}px, ${top}px)`;
}
