// Many pictures: a few requests one after the other, a table that sorts, and the answers as CSV or JSON.

import { element } from "./answer.js";
import { mended, passes, showProblem } from "./notice.js";
import { Problem, ask, readable } from "./service.js";
import { percent, problem, verdict } from "./words.js";

const $ = (id) => document.getElementById(id);
const MOST_FILES = 32; // in one request: the table fills while the rest is read
const MOST_BYTES = 8_000_000;
const MOST_TRIES = 100; // of a service that is busy, away or wants another key

let entries = []; // {filename, url, digit, confidence, probabilities, verdict, reason, error, told}
let order = { by: null, descending: false };
let waiting = Promise.resolve();

export function readMany(files) {
  waiting = waiting.then(() => readAll(files));
  return waiting;
}

async function readAll(files) {
  const started = performance.now();
  const progress = $("many-progress");
  Object.assign(progress, { hidden: false, max: files.length, value: 0 });
  for (const part of parts(files)) {
    $("many-said").textContent = `Reading ${files.length} pictures.`;
    entries.push(...(await readSome(part)));
    progress.value += part.length;
    show();
  }
  progress.hidden = true;
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

// An entry for each file, also for folders and what has gone from the disk: they must not spoil the others' request.
async function readSome(files) {
  const able = await Promise.all(files.map(readable));
  const answers = await read(files.filter((_, index) => able[index]));
  return files.map((file, index) => (able[index] ? answers.shift() : entry(file, { error: { code: "unreadable", detail: "" } })));
}

// An entry for each file. What is too large together is asked in halves; what a key or a moment mends is asked again.
async function read(files, tries = MOST_TRIES) {
  if (!files.length) return [];
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
    const wait = error.code === "overloaded" ? mended : showProblem; // busy is what many files make it
    if (tries && passes(error) && (await wait(error))) return read(files, tries - 1);
    return files.map((file) => entry(file, { error: { code: error.code, detail: error.message } }));
  }
}

function entry(file, { digit = null, confidence = null, probabilities = null, verdict: said = null, reason = null, error = null }) {
  const made = { filename: file.name, url: error?.code === "unreadable" ? null : URL.createObjectURL(file), digit, confidence, probabilities, verdict: said, reason, error };
  made.told = error ? `${problem(error.code)} ${error.detail}` : title(made);
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

// Roles are given since a phone shows the row as a card, and a table that is laid out otherwise may lose them.
const td = (name, properties, ...children) => element("td", { role: "cell", className: name, ...properties }, ...children);

function row({ url, filename, digit, confidence, told, error }) {
  const cells = [
    td("picture", {}, url ? thumbnail(url) : noPicture()),
    element("th", { role: "rowheader", scope: "row", dir: "auto", textContent: filename }),
    td("read", { textContent: digit ?? "–" }),
  ];
  if (error) cells.push(td("words", { colSpan: 2, textContent: told }));
  else cells.push(td("sure", {}, ...sureness(confidence)), td("words", { textContent: told }));
  return element("tr", { role: "row", className: error ? "failed" : "" }, ...cells);
}

const noPicture = () => element("span", { className: "no-picture", textContent: "–" });

function thumbnail(url) {
  const picture = element("img", { src: url, alt: "", width: 56, height: 56, loading: "lazy" });
  picture.onerror = () => picture.replaceWith(noPicture());
  return picture;
}

function sureness(confidence) {
  if (confidence === null) return [];
  const bar = element("span", { className: "bar" });
  bar.style.setProperty("--p", confidence);
  return [element("span", { className: "cell" }, bar, element("span", { className: "told", textContent: percent(confidence) }))];
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

// The columns of `digits predict --csv`, and the code of the error beside what it says.
const FIELDS = ["filename", "digit", "confidence", "verdict", "reason"];
const COLUMNS = [...FIELDS, ...[...Array(10).keys()].map((digit) => `p${digit}`), "error", "detail"];
const plain = (entry) => Object.fromEntries([...FIELDS, "probabilities", "error"].map((name) => [name, entry[name]]));
const line = (entry) => [...FIELDS.map((name) => entry[name]), ...(entry.probabilities ?? Array(10).fill(null)), entry.error?.code, entry.error?.detail];

$("json").onclick = () => save("digits.json", "application/json", JSON.stringify(entries.map(plain), null, 1));
$("csv").onclick = () => {
  const lines = [COLUMNS, ...entries.map(line)];
  save("digits.csv", "text/csv", lines.map((values) => values.map(field).join(",") + "\r\n").join(""));
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
