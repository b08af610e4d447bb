// Workers and data sets: the server's rendering, fetched anew every few seconds.
import "./common.js";
import { fetchPage, swapRegions } from "./regions.js";

const POLL_MS = 3000;

async function poll() {
  try {
    if (!document.hidden) swapRegions(await fetchPage(location.href));
  } catch {
    // The next poll tries again.
  } finally {
    setTimeout(poll, POLL_MS);
  }
}
setTimeout(poll, POLL_MS);
