// Joins the parts of the page: where pictures come from, what is asked, what is shown.

import { showAnswer, showNothing, showSaliency } from "./answer.js";
import { copy, curlLine } from "./curl.js";
import { readMany } from "./many.js";
import { showModels } from "./models.js";
import { hideProblem, showProblem } from "./notice.js";
import { Pad } from "./pad.js";
import { nextSample } from "./samples.js";
import { Newest, Problem, ask, key, post, readable } from "./service.js";

const $ = (id) => document.getElementById(id);
const ASK = "confidence?receipt=true";
const LIVE_EVERY_MS = 60; // while a stroke goes on; its end is asked at once

const pad = new Pad($("pad"));
let current = null; // the file that is shown instead of a drawing, and its true digit if that is known
let lastAsked = 0;

const asking = new Newest(async (final, superseded) => {
  lastAsked = performance.now();
  $("answer").ariaBusy = true;
  try {
    if (!current && pad.empty) return;
    const file = current?.file ?? (await pad.png());
    const answer = await ask(ASK, post(file));
    if (!current && pad.empty) return;
    hideProblem();
    showAnswer(answer, final);
    showTruth(answer.body.digit);
    if (final) await explain(file, superseded);
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    if (!superseded.aborted) fail(error, { name: current?.file.name, focus: final });
  } finally {
    $("answer").ariaBusy = superseded.aborted;
  }
});

// What may take longer than the answer itself gives way to the next stroke.
async function explain(file, superseded) {
  await showCurl(file);
  if (superseded.aborted) return;
  const { body } = await ask("saliency?receipt=true", { ...post(file), signal: superseded });
  if (!pad.empty || current) showSaliency(body);
}

async function fail(error, about) {
  showNothing();
  if (await showProblem(error, about)) asking.ask(true);
}

async function showCurl(file) {
  const line = await curlLine(ASK, file);
  $("curl").textContent = line;
  const unnamed = !line.includes("-d ");
  $("curl-note").hidden = !unnamed && !key.get();
  $("curl-note").textContent = [unnamed && "Run it in the picture's folder.", key.get() && "Put your key into DIGITS_API_KEY first."].filter(Boolean).join(" ");
}

function showTruth(digit) {
  const truth = current?.truth;
  $("truth").hidden = truth === undefined;
  if (truth === undefined) return;
  $("truth").textContent = digit === truth ? `True digit ${truth}: read right` : `True digit ${truth}: misread`;
}

async function show(file, truth) {
  current = { file, truth };
  const picture = await createImageBitmap(file).catch(() => null); // the service reads more kinds than a browser shows
  if (current?.file !== file) return;
  pad.show(picture);
  tools();
  asking.ask(true);
}

function tools() {
  const nothing = pad.empty && !current;
  $("pad-hint").hidden = !nothing;
  $("undo").disabled = $("clear").disabled = nothing;
}

pad.addEventListener("change", ({ detail: { final } }) => {
  current = null;
  $("truth").hidden = true;
  tools();
  if (pad.empty) {
    showNothing();
    hideProblem();
  } else if (final || performance.now() - lastAsked > LIVE_EVERY_MS) {
    asking.ask(final);
  }
});

// One picture is read at once, several in the list, and in the list whatever comes while it is shown.
async function take(files) {
  if (!files.length) return;
  if (files.length > 1 || !$("many-view").hidden) {
    location.hash = "#many";
    readMany(files);
  } else {
    location.hash = "#draw";
    if (await readable(files[0])) show(files[0]);
    else showProblem(new Problem("unreadable", ""), { name: files[0].name });
  }
}

const VIEWS = { draw: "Draw a digit", many: "Many pictures", models: "Models" };

function view() {
  const name = location.hash.slice(1);
  if (location.hash && !(name in VIEWS)) return; // a place on the page, such as the skip link's
  const shown = name || "draw";
  for (const each of Object.keys(VIEWS)) {
    $(`${each}-view`).hidden = each !== shown;
    document.querySelector(`nav a[href="#${each}"]`).ariaCurrent = each === shown ? "page" : null;
  }
  document.title = `${VIEWS[shown]} · digit-service`;
  if (shown === "models") showModels();
}

addEventListener("hashchange", () => {
  hideProblem();
  view();
  scrollTo(0, 0);
});

$("undo").onclick = () => pad.undo();
$("clear").onclick = () => pad.clear();
$("pen").oninput = () => (pad.penWidth = Number($("pen").value));
$("choose").onclick = () => $("files").click();
$("photograph").onclick = () => $("camera").click();
$("random").onclick = () => nextSample().then(({ file, truth }) => show(file, truth), fail);
$("choose-many").onclick = () => $("many-files").click();
for (const input of [$("files"), $("camera"), $("many-files")]) {
  input.onchange = () => {
    take([...input.files]);
    input.value = ""; // so that the same file can be chosen again
  };
}

$("copy").onclick = async () => {
  await copy($("curl"));
  $("copy").textContent = "Copied";
  setTimeout(() => ($("copy").textContent = "Copy"), 1500);
};

document.addEventListener("keydown", (event) => {
  if ((event.ctrlKey || event.metaKey) && event.key === "z" && event.target.tagName !== "INPUT") {
    event.preventDefault();
    pad.undo();
  }
});

document.addEventListener("paste", (event) => {
  const files = [...event.clipboardData.files].map((file) => new File([file], "", { type: file.type })); // on no disk
  if (files.length) event.preventDefault();
  take(files);
});

document.addEventListener("dragover", (event) => {
  event.preventDefault();
  $("drop").hidden = !event.dataTransfer.types.includes("Files");
});
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) $("drop").hidden = true;
});
document.addEventListener("drop", (event) => {
  event.preventDefault();
  $("drop").hidden = true;
  take([...event.dataTransfer.files]);
});

showNothing();
view();
