// How figures read; the twin of web/present.py for what changes while a page is open.
const UNITS = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];

export function duration(seconds) {
  if (seconds == null || !Number.isFinite(seconds)) return "–";
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  const index = UNITS.findIndex(([, size]) => whole >= size);
  const [unit, size] = UNITS[index];
  const first = `${Math.floor(whole / size)} ${unit}`;
  if (unit === "s") return first;
  const [below, belowSize] = UNITS[index + 1];
  const part = Math.floor((whole % size) / belowSize);
  return part ? `${first} ${part} ${below}` : first;
}

export function ago(seconds) {
  for (const [unit, size] of UNITS.slice(0, 3)) {
    if (seconds >= size) return `${Math.floor(seconds / size)} ${unit} ago`;
  }
  return seconds < 10 ? "just now" : `${Math.floor(seconds)} s ago`;
}

export function percent(value, digits = 2) {
  return value == null ? "–" : `${(100 * value).toFixed(digits)}\u202f%`;
}

export function figure(value, digits = 6) {
  if (value == null) return "–";
  const text = Number(value).toPrecision(digits);
  if (Math.abs(value) >= 1e-4 || value === 0) return String(Number(text));
  return Math.abs(value) >= 1e-7 ? Number(text).toFixed(10).replace(/0+$/, "") : String(Number(text));
}

export function loss(value) {
  if (value == null) return "–";
  const rounded = Number(Number(value).toPrecision(4));
  if (rounded === 0 || (rounded >= 1e-4 && rounded < 1e6)) return String(rounded);
  return rounded.toExponential().replace("e+", "e");
}

export function fileSize(bytes) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let value = bytes;
  while (value >= 1024 && units.length > 1) {
    value /= 1024;
    units.shift();
  }
  return `${value % 1 > 0 && value < 100 ? value.toFixed(1) : value.toFixed(0)} ${units[0]}`;
}

export function count(value) {
  return value == null ? "–" : Math.round(value).toLocaleString("en-US");
}
