// Many pictures: a few requests one after the other, a table that sorts, and the answers as CSV or JSON.

import { element } from "./answer.js";
import { Problem, ask, seconds } from "./service.js";
import { percent, problem, verdict } from "./words.js";

const $ = (id) => document.getElementById(id);
const MOST_FILES = 32; // in one request: the table fills while the rest is read
const MOST_BYTES = 8_000_000;

let entries = []; // {file, filename, url, digit, confidence, verdict, reason, error, told}
let order = { by: null, descending: false };
let waiting = Promise.resolve();

export function readMany(files) {
  waiting = waiting.then(() => readAll(files));
  return waiting;
}

async function readAll(files) {
  const started = performance.now();
  $("many-progress").hidden = false;
  let done = 0;
  for (const part of parts(files)) {
    entries.push(...(await read(part)));
    done += part.length;
    Object.assign($("many-progress"), { max: files.length, value: done });
    show();
  }
  $("many-progress").hidden = true;
  const failed = entries.filter((entry) => entry.error).length;
  const took = ((performance.now() - started) / 1000).toFixed(1);
  $("many-said").textContent = `${entries.length - failed} read, ${failed} not; the last ${files.length} in ${took} s.`;
}

function parts(files) {
  const found = [];
  let bytes = Infinity;
  for (const file of files) {
    if (bytes + file.size > MOST_BYTES || found.at(-1).length === MOST_FILES) {
      found.push([]);
      bytes = 0;
    }
    found.at(-1).push(file);
    bytes += file.size;
  }
  return found;
}

// An entry for each file. What is too large together is asked in halves, and a busy service again when it said.
async function read(files) {
  const form = new FormData();
  for (const file of files) form.append("files", file, file.name);
  try {
    const { body } = await ask("predict/batch", { method: "POST", body: form });
    return body.predictions.map((prediction, index) => entry(files[index], prediction));
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    if (error.code === "too_large" && files.length > 1) {
      const half = files.length >> 1;
      return [...(await read(files.slice(0, half))), ...(await read(files.slice(half)))];
    }
    if (error.code === "overloaded") {
      await seconds(error.retryAfterS || 1);
      return read(files);
    }
    return files.map((file) => entry(file, { error: { code: error.code, detail: error.message } }));
  }
}

function entry(file, { digit = null, confidence = null, probabilities, verdict: said = null, reason = null, error = null }) {
  const made = { file, filename: file.name, url: URL.createObjectURL(file), digit, confidence, verdict: said, reason, error };
  made.told = error ? `${problem(error.code)} ${error.detail}` : title({ ...made, probabilities });
  return made;
}

function title(answer) {
  const ranking = answer.probabilities.map((probability, digit) => ({ probability, digit }));
  ranking.sort((a, b) => b.probability - a.probability);
  return verdict({ ...answer, ranking, models: {} })[0];
}

function show() {
  const sorted = order.by ? [...entries].sort(compare) : entries;
  $("many-table").tBodies[0].replaceChildren(...sorted.map(row));
  $("many-scroll").hidden = !entries.length;
  $("csv").disabled = $("json").disabled = $("forget").disabled = !entries.length;
}

// What has no value comes last, whichever way.
function compare(a, b) {
  const [x, y] = [a[order.by], b[order.by]];
  if (x === null || y === null) return (x === null) - (y === null);
  const sign = order.descending ? -1 : 1;
  return sign * (typeof x === "string" ? x.localeCompare(y, undefined, { numeric: true }) : x - y);
}

function row({ url, filename, digit, confidence, told, error }) {
  const picture = element("img", { src: url, alt: "", width: 56, height: 56, loading: "lazy" });
  picture.onerror = () => picture.replaceWith(element("span", { className: "no-picture", textContent: "–" }));
  const bar = element("span", { className: "bar" });
  bar.style.setProperty("--p", confidence ?? 0);
  const sure = confidence === null ? [] : [element("span", { className: "cell" }, bar, element("span", { className: "told", textContent: percent(confidence) }))];
  const cells = [
    element("td", {}, picture),
    element("th", { scope: "row", textContent: filename }),
    element("td", { className: "read", textContent: digit ?? "–" }),
  ];
  if (error) return element("tr", { className: "failed" }, ...cells, element("td", { colSpan: 2, textContent: told }));
  return element("tr", {}, ...cells, element("td", { className: "sure" }, ...sure), element("td", { textContent: told }));
}

$("many-table").tHead.onclick = ({ target }) => {
  const by = target.dataset.by;
  if (!by) return;
  order = { by, descending: order.by === by && !order.descending };
  for (const button of $("many-table").tHead.querySelectorAll("button")) {
    const direction = order.descending ? "descending" : "ascending";
    button.parentElement.ariaSort = button.dataset.by === by ? direction : "none";
  }
  show();
};

$("forget").onclick = () => {
  for (const { url } of entries) URL.revokeObjectURL(url);
  entries = [];
  $("many-said").textContent = "No picture read yet.";
  show();
};

const COLUMNS = ["filename", "digit", "confidence", "verdict", "reason"];
const plain = (entry) => ({ ...Object.fromEntries(COLUMNS.map((name) => [name, entry[name]])), error: entry.error });

$("json").onclick = () => save("digits.json", "application/json", JSON.stringify(entries.map(plain), null, 1));
$("csv").onclick = () => {
  const lines = entries.map(plain).map(({ error, ...values }) => [...Object.values(values), error?.code, error?.detail]);
  save("digits.csv", "text/csv", [[...COLUMNS, "error", "detail"], ...lines].map((line) => line.map(field).join(",") + "\r\n").join(""));
};

// RFC 4180; what a spreadsheet would take for a formula is made text.
function field(value) {
  const text = typeof value === "string" && /^[=+\-@\t\r]/.test(value) ? `'${value}` : `${value ?? ""}`;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

function save(name, type, content) {
  const link = element("a", { download: name, href: URL.createObjectURL(new Blob([content], { type })) });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
