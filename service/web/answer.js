// Shows an answer of /confidence: digit, verdict, bars, what the network saw, how sure, how long.

import { paint } from "./pixels.js";
import { TIMINGS, percent, step, verdict } from "./words.js";

const $ = (id) => document.getElementById(id);
const DIGITS = [...Array(10).keys()];
const FIRST_MODELS = { cnn: null, dense: null };

export function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

export function showNothing() {
  $("answer").dataset.verdict = "none";
  $("digit").textContent = "?";
  $("arc").setAttribute("stroke-dasharray", "0 100");
  $("verdict").textContent = "Nothing to read yet";
  $("verdict-detail").textContent = "Any way of writing 0 to 9 will do.";
  $("set").hidden = $("why").hidden = true;
  $("spoken").textContent = $("curl").textContent = "";
  bars(FIRST_MODELS, null);
}

// `final` is false while a stroke goes on: then nothing is read out.
export function showAnswer({ body, timings, took }, final) {
  const [title, detail] = verdict(body);
  $("answer").dataset.verdict = body.verdict ?? "digit";
  $("digit").textContent = body.digit ?? "–";
  $("arc").setAttribute("stroke-dasharray", `${body.confidence * 100} 100`);
  $("verdict").textContent = title;
  $("verdict-detail").textContent = detail;
  if (final) $("spoken").textContent = `${title}. ${detail}`;
  predictionSet(body.prediction_set);
  bars(body.models, body.digit);
  if (body.receipt) receipt(body.receipt);
  if (!final) $("looked-card").hidden = true;
  facts($("facts"), sureness(body));
  duration(timings, took);
  $("why").hidden = false;
}

function predictionSet(set) {
  $("set").hidden = !set;
  if (!set) return;
  const chips = set.digits.map((digit) => element("span", { className: "chip", textContent: digit }));
  const coverage = `${Math.round(set.coverage * 1000) / 10} %`;
  $("set").replaceChildren(`${coverage} prediction set `, ...(chips.length ? chips : ["none of the ten"]));
}

function bars(models, digit) {
  const names = Object.keys(models);
  const head = element("tr", {}, element("th", { scope: "col", textContent: "Digit" }));
  head.append(...names.map((name) => element("th", { scope: "col", textContent: name })));
  const rows = DIGITS.map((each) => {
    const row = element("tr", { className: each === digit ? "best" : "" }, element("th", { scope: "row", textContent: each }));
    row.append(...names.map((name) => cell(models[name]?.probabilities[each])));
    return row;
  });
  const table = $("bars");
  if (table.rows.length && table.rows[0].textContent === head.textContent) update(table, rows);
  else table.replaceChildren(element("caption", { textContent: "Probability of each digit, by network" }), element("thead", {}, head), element("tbody", {}, ...rows));
}

function cell(probability) {
  const bar = element("span", { className: "bar" });
  bar.style.setProperty("--p", probability ?? 0);
  const told = probability === undefined ? "" : percent(probability);
  return element("td", {}, element("span", { className: "cell" }, bar, element("span", { className: "told", textContent: told })));
}

// The same table with other figures: bars that stay can move.
function update(table, rows) {
  rows.forEach((row, index) => {
    const shown = table.tBodies[0].rows[index];
    shown.className = row.className;
    [...row.cells].forEach((from, column) => {
      if (!column) return;
      const to = shown.cells[column];
      to.querySelector(".bar").style.setProperty("--p", from.querySelector(".bar").style.getPropertyValue("--p"));
      to.querySelector(".told").textContent = from.textContent;
    });
  });
}

function receipt({ pixels, steps, warnings }) {
  paint($("seen"), pixels);
  const items = steps.map((name) => element("li", { textContent: step(name) }));
  items.push(...warnings.map((name) => element("li", { className: "warning", textContent: step(name) })));
  $("steps").replaceChildren(...items);
}

// An answer of /saliency over the pixels that it is about.
export function showSaliency({ digit, saliency, images, receipt: { pixels } }) {
  paint($("looked"), pixels, saliency);
  $("looked-note").replaceChildren(
    element("span", { className: "key for", textContent: `makes it more of a ${digit}` }),
    element("span", { className: "key against", textContent: "speaks against it" }),
    element("small", { textContent: `Found by hiding each part in turn: ${images} images.` }),
  );
  $("looked-card").hidden = false;
}

function sureness({ confidence, margin, entropy, agreement, out_of_distribution_score: strange }) {
  return [
    ["Probability", "of the likeliest digit", percent(confidence)],
    ["Margin", "over the second", margin?.toFixed(4)],
    ["Entropy", "0 is certain, 2.3 is a guess", entropy && `${entropy.toFixed(3)} nats`],
    ["Strangeness", "against the digits learned", strange?.toFixed(3)],
    ["Networks", "", agreement ? "agree" : "disagree"],
  ].filter(([, , value]) => value !== undefined && value !== null);
}

export function facts(list, rows) {
  list.replaceChildren(
    ...rows.map(([name, meaning, value]) =>
      element("div", {}, element("dt", {}, name, element("small", { textContent: meaning })), element("dd", { textContent: value })),
    ),
  );
}

function duration(timings, took) {
  const inside = timings.reduce((sum, [, ms]) => sum + ms, 0);
  const parts = [...timings, ["rest", Math.max(took - inside, 0)]];
  $("lane").replaceChildren(
    ...parts.map(([name, ms]) => {
      const part = element("span", { className: `part ${name}` });
      part.style.flexGrow = ms;
      return part;
    }),
  );
  const rows = parts.map(([name, ms]) => [TIMINGS[name] ?? name, "", milliseconds(ms)]);
  facts($("timings"), [...rows, ["Altogether", "", milliseconds(took)]]);
  [...$("timings").children].forEach((row, index) => row.classList.add(parts[index]?.[0] ?? "sum"));
}

const milliseconds = (ms) => `${ms < 10 ? ms.toFixed(2) : ms.toFixed(0)} ms`;
