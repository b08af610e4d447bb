// Workers and data sets: the server's rendering, fetched anew every few seconds.
import "./common.js";
import { fetchPage, swapRegions } from "./regions.js";

const POLL_MS = 3000;

const refresh = async () => swapRegions(await fetchPage(location.href));

async function poll() {
  try {
    if (!document.hidden) await refresh();
  } catch {
    // The next poll tries again.
  } finally {
    setTimeout(poll, POLL_MS);
  }
}
setTimeout(poll, POLL_MS);
document.addEventListener("yard:changed", () => refresh().catch(() => {}));
