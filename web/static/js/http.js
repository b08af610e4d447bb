// Talking to the API. A failure is thrown as a Problem that carries what the server said.

export class Problem extends Error {
  constructor(status, body) {
    super(body?.detail || body?.title || `The server answered ${status}.`);
    this.status = status;
    this.errors = body?.errors ?? [];
  }
}

/** Ask; what `signal` ends counts as unanswered. */
export async function send(method, path, body, headers = {}, signal = undefined) {
  let response;
  try {
    response = await fetch(path, {
      method,
      headers: { "Content-Type": "application/json", Accept: "application/json", "X-Requested-With": "trainyard-page", ...headers },
      body: body === undefined ? undefined : JSON.stringify(body),
      keepalive: method === "DELETE", // also when the page is being left
      signal,
    });
  } catch {
    throw new Problem(0, { detail: "The server cannot be reached. Nothing was changed; try again." });
  }
  const answer = await response.json().catch(() => null);
  if (response.status === 401) {
    throw new Problem(401, { detail: "You are signed out. Sign in in another tab, then try again." });
  }
  if (!response.ok) throw new Problem(response.status, answer);
  return answer;
}

export const get = (path, signal) => send("GET", path, undefined, {}, signal);
export const post = (path, body, headers, signal) => send("POST", path, body, headers, signal);
