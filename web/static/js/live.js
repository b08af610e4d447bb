// Live updates: server-sent events, and polling while these cannot be had.
//
// A hidden page holds no stream: browsers allow six connections to a host, and tabs left open
// would use them up.

const POLL_MS = 4000;
const STREAM_AGAIN_MS = 30000;

/**
 * Follow a stream.
 * @param {string | (() => string)} url of the stream.
 * @param {Record<string, (data: any) => void>} handlers by event name.
 * @param {() => Promise<unknown>} refresh fetches what a poll needs, or what was missed.
 * @returns {{stop: () => void}}
 */
export function follow(url, handlers, refresh) {
  let source = null;
  let timer = null;
  let stopped = false;
  let missed = false;

  function open() {
    if (stopped || document.hidden || source) return;
    source = new EventSource(typeof url === "function" ? url() : url);
    source.onopen = () => {
      performance.mark("stream-open");
      stopPolling();
      if (missed) refresh();
      missed = false;
    };
    source.onerror = () => {
      missed = true;
      const dead = source.readyState === EventSource.CLOSED;
      if (dead) close();
      poll();
      if (dead) setTimeout(open, STREAM_AGAIN_MS);
    };
    for (const [name, handle] of Object.entries(handlers)) {
      source.addEventListener(name, (event) => handle(event.data ? JSON.parse(event.data) : null));
    }
  }

  function close() {
    source?.close();
    source = null;
  }

  function poll() {
    if (timer || stopped) return;
    timer = setTimeout(async () => {
      try {
        if (!document.hidden) await refresh();
      } catch {
        // The next poll tries again.
      } finally {
        timer = null;
        if (source?.readyState !== EventSource.OPEN && !document.hidden) poll();
      }
    }, POLL_MS);
  }

  function stopPolling() {
    clearTimeout(timer);
    timer = null;
  }

  function onVisibility() {
    if (stopped) return;
    if (document.hidden) {
      close();
      stopPolling();
      missed = true;
    } else {
      refresh().catch(() => {});
      missed = false;
      open();
    }
  }

  document.addEventListener("visibilitychange", onVisibility);
  open();
  return {
    stop() {
      stopped = true;
      close();
      stopPolling();
      document.removeEventListener("visibilitychange", onVisibility);
    },
  };
}

/** Run `work` soon, but never twice at once nor more often than every `pauseMs`. */
export function throttled(work, pauseMs) {
  let timer = null;
  let running = false;
  let again = false;
  let last = 0;

  async function run() {
    timer = null;
    running = true;
    try {
      await work();
    } catch {
      // What failed is fetched by the next call.
    } finally {
      running = false;
      last = Date.now();
      if (again) {
        again = false;
        ask();
      }
    }
  }

  function ask() {
    if (running) again = true;
    else if (!timer) timer = setTimeout(run, Math.max(0, last + pauseMs - Date.now()));
  }
  return ask;
}
