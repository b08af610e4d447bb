// Sending files to an import, one request each, and following it to its end.
import { Problem, get, post, send } from "./http.js";

const PAUSE_MS = 400;
const PATIENCE_MS = 60_000;
const ANSWER_MS = 15_000; // a connection that hangs is no answer either
const OVER = ["done", "failed"];

/** Send one file, {file, name, part}; `progress` hears the bytes sent so far. Resolves when the server has it. */
export function sendFile(path, { file, name, part }, progress, signal) {
  signal.throwIfAborted();
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest(); // unlike fetch, it tells how far it is
    const query = part ? `?part=${part}` : "";
    request.open("PUT", `${path}/files/${encodeURIComponent(name)}${query}`);
    request.setRequestHeader("Content-Type", "application/octet-stream");
    request.responseType = "json";
    request.upload.addEventListener("progress", (event) => progress(event.loaded));
    request.addEventListener("load", () => {
      if (request.status < 300) resolve(request.response);
      else reject(new Problem(request.status, request.response));
    });
    request.addEventListener("error", () => reject(new Problem(0, { detail: `${name} could not be sent: the connection broke, or the file has changed since it was chosen. Nothing was imported; try again.` })));
    request.addEventListener("abort", () => reject(new DOMException("Stopped.", "AbortError")));
    signal.addEventListener("abort", () => request.abort(), { once: true });
    request.send(file);
  });
}

/** Start an import whose files are sent; `show(words, share)` hears how far it is. */
export async function follow(path, show, signal) {
  let share = 0;
  const ask = (question) => patiently(question, (words) => show(words, share), signal);
  let answer = await ask((timely) => start(path, timely));
  while (!OVER.includes(answer.status)) {
    share = answer.progress?.share ?? 0;
    show(answer.waiting ?? answer.progress?.doing ?? "A worker has it", share);
    await pause();
    answer = await ask((timely) => get(path, timely));
  }
  return answer;
}

/** Start an import; one that has started already, by a request whose answer was lost, is as good. */
async function start(path, signal) {
  try {
    return await post(`${path}/start`, {}, {}, signal);
  } catch (error) {
    if (error.status !== 409) throw error;
    return get(path, signal);
  }
}

/** Ask again while the server is away for a moment: that is no reason to end what a worker reads. */
async function patiently(question, say, signal) {
  const givesUpAt = performance.now() + PATIENCE_MS;
  for (;;) {
    signal.throwIfAborted();
    try {
      const answer = await question(AbortSignal.any([signal, AbortSignal.timeout(ANSWER_MS)]));
      if (answer) return answer;
      throw new Problem(0, { detail: "The answer broke off." });
    } catch (error) {
      signal.throwIfAborted();
      if (!isAway(error) || performance.now() > givesUpAt) throw error;
      say("The server is away; looking again");
      await pause();
    }
  }
}

/** Whether a failure says nothing of what was asked for: no answer, a server in trouble, or too busy. */
export const isAway = (error) => error instanceof Problem && (error.status === 0 || error.status === 429 || error.status >= 500);

const pause = () => new Promise((resolve) => setTimeout(resolve, PAUSE_MS));

/** Nobody wants the import any more. */
export const forget = (path) => send("DELETE", path).catch(() => {});
