// Sending files to an import, one request each, and following it to its end.
import { Problem, get, post, send } from "./http.js";

const PAUSE_MS = 400;
const OVER = ["done", "failed"];

/** Send one file; `progress` hears the bytes sent so far. Resolves when the server has it. */
export function sendFile(path, file, part, progress, signal) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest(); // unlike fetch, it tells how far it is
    const query = part ? `?part=${part}` : "";
    request.open("PUT", `${path}/files/${encodeURIComponent(file.name)}${query}`);
    request.setRequestHeader("Content-Type", "application/octet-stream");
    request.responseType = "json";
    request.upload.addEventListener("progress", (event) => progress(event.loaded));
    request.addEventListener("load", () => {
      if (request.status < 300) resolve(request.response);
      else reject(new Problem(request.status, request.response));
    });
    request.addEventListener("error", () => reject(new Problem(0, { detail: "The connection broke while a file was sent. Nothing was imported; try again." })));
    request.addEventListener("abort", () => reject(new DOMException("Stopped.", "AbortError")));
    signal.addEventListener("abort", () => request.abort(), { once: true });
    request.send(file);
  });
}

/** Start an import whose files are sent; `show(words, share)` hears how far it is. */
export async function follow(path, show, signal) {
  let answer = await post(`${path}/start`, {});
  while (!OVER.includes(answer.status)) {
    show(answer.progress?.doing ?? "A worker takes it", answer.progress?.share ?? 0);
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    signal.throwIfAborted();
    answer = await get(path);
    signal.throwIfAborted();
  }
  return answer;
}

/** Nobody wants the import any more. */
export const forget = (path) => send("DELETE", path).catch(() => {});
