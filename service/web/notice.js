// Tells what went wrong, over the page, and when asking again makes sense.

import { backAgain, key, seconds } from "./service.js";
import { problem } from "./words.js";

const $ = (id) => document.getElementById(id);
const aMoment = (error) => seconds(error.retryAfterS || 1);
const MENDING = {
  unauthorized: () => new Promise((given) => $("key-form").addEventListener("submit", given, { once: true })),
  unreachable: backAgain,
  overloaded: aMoment,
  not_ready: aMoment,
};
const mending = {}; // by code, what all wait for that met the same

export const passes = (error) => error.code in MENDING;

// Resolves when it makes sense to ask again, with true; at once with false where it makes none.
export async function mended(error) {
  if (!passes(error)) return false;
  await (mending[error.code] ??= MENDING[error.code](error).finally(() => delete mending[error.code]));
  return true;
}

// As `mended`, and meanwhile the problem is shown. `name` is that of the file that it is about.
export async function showProblem(error, { name = "", focus = true } = {}) {
  const about = Object.assign(document.createElement("bdi"), { textContent: name });
  $("problem-title").replaceChildren(...(name ? [about, ": "] : []), problem(error.code));
  $("problem-detail").textContent = error.message;
  $("key-form").hidden = error.code !== "unauthorized";
  $("problem").dataset.code = error.code;
  $("problem").hidden = false;
  if (error.code === "unauthorized" && focus) $("key").focus();
  const again = await mended(error);
  if (again && $("problem").dataset.code === error.code) hideProblem();
  return again;
}

export function hideProblem() {
  $("problem").hidden = true;
}

$("dismiss").onclick = hideProblem;
$("key-form").onsubmit = (event) => {
  event.preventDefault();
  key.set($("key").value);
};
