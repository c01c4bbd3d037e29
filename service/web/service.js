// Asks the service: the key, errors as one kind of exception, and one request at a time of which the newest wins.

const KEY = "digit-service key";
const TIMEOUT_MS = 30_000;

export const key = {
  get: () => sessionStorage.getItem(KEY),
  set: (value) => sessionStorage.setItem(KEY, value),
};

// What went wrong, by the `code` of the problem document; "unreachable" where no answer came.
export class Problem extends Error {
  constructor(code, detail, retryAfterS = 0) {
    super(detail);
    this.code = code;
    this.retryAfterS = retryAfterS;
  }
}

export const post = (file) => ({ method: "POST", body: file, headers: { "Content-Type": "application/octet-stream" } });

// Whether a file can be read: not a folder, and still there.
export const readable = (file) => file.slice(0, 1).arrayBuffer().then(() => true, () => false);

export const address = (path) => new URL(path, document.baseURI).href;

// The answer with the time it took and the service's own timings, in milliseconds. Throws `Problem`.
export async function ask(path, options = {}) {
  const headers = { Accept: "application/json", ...options.headers };
  if (key.get()) headers["X-API-Key"] = key.get();
  const started = performance.now();
  let response, text;
  try {
    const signals = [AbortSignal.timeout(TIMEOUT_MS), options.signal].filter(Boolean);
    response = await fetch(address(path), { ...options, headers, signal: AbortSignal.any(signals) });
    text = await response.text();
  } catch {
    throw new Problem("unreachable", "");
  }
  const took = performance.now() - started;
  const body = parsed(text);
  if (!response.ok || body === null) {
    throw new Problem(body?.code ?? "unexpected", body?.detail ?? `The answer was ${response.status}.`, Number(response.headers.get("Retry-After")));
  }
  return { body, took, timings: timings(response.headers.get("Server-Timing") ?? "") };
}

export const seconds = (count) => new Promise((resolve) => setTimeout(resolve, 1000 * count));

// Resolves when the service is ready again.
export async function backAgain() {
  for (;;) {
    await seconds(1);
    try {
      if ((await fetch(address("health/ready"), { signal: AbortSignal.timeout(5000) })).ok) return;
    } catch {
      // not yet
    }
  }
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

// "decode;dur=0.3, queue;dur=0.1" -> [["decode", 0.3], ["queue", 0.1]]
function timings(header) {
  return [...header.matchAll(/([\w-]+);dur=([\d.]+)/g)].map(([, name, ms]) => [name, Number(ms)]);
}

// Does `work` for what is asked, one at a time; of what came meanwhile only the newest. `work` is told by a signal
// when something newer waits.
export class Newest {
  #work;
  #next;
  #superseding = null;

  constructor(work) {
    this.#work = work;
  }

  async ask(item) {
    this.#next = { item };
    this.#superseding?.abort();
    if (this.#superseding) return;
    while (this.#next) {
      const { item: newest } = this.#next;
      this.#next = undefined;
      this.#superseding = new AbortController();
      await this.#work(newest, this.#superseding.signal);
    }
    this.#superseding = null;
  }
}
