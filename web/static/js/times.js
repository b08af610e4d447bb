// Keeps ages and running times true while the page stays open.
import { ago, duration } from "./format.js";

export function tick(root = document) {
  const now = Date.now();
  for (const node of root.querySelectorAll("time[data-ago]")) {
    write(node, ago(Math.max(0, (now - Date.parse(node.dateTime)) / 1000)));
  }
  for (const node of root.querySelectorAll("time[data-running]")) {
    write(node, duration(Math.max(0, (now - Date.parse(node.dateTime)) / 1000)));
  }
  for (const node of root.querySelectorAll("time[data-moment]")) {
    write(node, new Date(node.dateTime).toLocaleString());
  }
  for (const node of root.querySelectorAll("time[data-clock]")) {
    write(node, new Date(node.dateTime).toLocaleTimeString());
  }
}

function write(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export function keepTicking() {
  tick();
  setInterval(() => { if (!document.hidden) tick(); }, 1000);
}
