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

export const address = (path) => new URL(path, document.baseURI).href;

// The answer with the time it took and the service's own timings, in milliseconds. Throws `Problem`.
export async function ask(path, options = {}) {
  const headers = { Accept: "application/json", ...options.headers };
  if (key.get()) headers["X-API-Key"] = key.get();
  const started = performance.now();
  let response, text;
  try {
    response = await fetch(address(path), { ...options, headers, signal: AbortSignal.timeout(TIMEOUT_MS) });
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

// Does `work` for what is asked, one at a time; of what came meanwhile only the newest.
export class Newest {
  #work;
  #next;
  #busy = false;

  constructor(work) {
    this.#work = work;
  }

  async ask(item) {
    this.#next = { item };
    if (this.#busy) return;
    this.#busy = true;
    while (this.#next) {
      const { item: newest } = this.#next;
      this.#next = undefined;
      await this.#work(newest);
    }
    this.#busy = false;
  }

  // Whether something newer waits than what is being worked on.
  get outdated() {
    return this.#next !== undefined;
  }
}
