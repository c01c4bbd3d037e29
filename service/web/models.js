// The models view: what GET /models tells, a card for each version.

import { element, facts } from "./answer.js";
import { showProblem } from "./notice.js";
import { ask } from "./service.js";
import { percent } from "./words.js";

const STATES = { READY: "ready", LOADING: "loading", FAILED: "failed", UNAVAILABLE: "not loaded" };

export async function showModels() {
  let body;
  try {
    ({ body } = await ask("models"));
  } catch (error) {
    if (await showProblem(error)) showModels();
    return;
  }
  const cards = body.models.flatMap((model) => model.versions.map((version) => card(model, version)));
  document.getElementById("models").replaceChildren(...cards);
}

function card(model, version) {
  const { card: made } = version;
  const heading = element("h2", {}, `${model.name} ${version.version} `, element("span", { className: `state ${version.state}`, textContent: STATES[version.state] }));
  if (model.default) heading.append(element("span", { className: "state", textContent: "answers by default" }));
  const list = element("dl", { className: "facts" });
  facts(list, rows(version, made));
  const shown = element("article", { className: "card" }, heading);
  if (version.reason) shown.append(element("p", { className: "quiet", textContent: version.reason }));
  shown.append(list);
  if (made.history?.loss?.length > 1) shown.append(lossCurve(made.history));
  shown.append(report(model, version));
  shown.append(element("details", {}, element("summary", { textContent: "The whole card" }), element("pre", { className: "curl", tabIndex: 0, textContent: JSON.stringify(made, null, 1) })));
  return shown;
}

function report(model, version) {
  if (version.report) return element("a", { className: "button", href: version.report.slice(1), textContent: "Training report" });
  return element("p", { className: "quiet" }, "No report yet: ", element("code", { textContent: `digits report ${model.name} --version ${version.version}` }), " writes it.");
}

function rows(version, made) {
  const metrics = made.metrics ?? {};
  return [
    ["Test accuracy", "images that no training saw", version.test_accuracy && percent4(version.test_accuracy)],
    ["Test loss", "of the calibrated probabilities", metrics.test_loss?.toFixed(4)],
    ["Calibration error", "how far its probabilities are off, on average", metrics.expected_calibration_error && percent4(metrics.expected_calibration_error)],
    ["Calibrated by", "", version.calibration?.method && `${version.calibration.method} ${version.calibration.temperature?.toFixed(3) ?? ""}`],
    ["Runs on", "as the runtime reports it", version.provider],
    ["Micro-batch", "most images in one run", version.max_batch_size || null],
    ["Structure", parameters(made), structure(made.recipe)],
    ["Trained", made.recipe?.epochs ? `${made.recipe.epochs} epochs of ${made.data?.train?.toLocaleString("en")} images` : "", version.trained_at && new Date(version.trained_at).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" })],
    ["SHA-256", "of model.onnx", version.sha256 && `${version.sha256.slice(0, 12)}…`],
  ].filter(([, , value]) => value);
}

// The layers with weights, from the pixels to the ten digits: filters of convolutions, then units, such as "784 → 512 → 10".
function structure(recipe) {
  const network = recipe?.network;
  if (!network) return null;
  const filters = network.convolutions?.map((layer) => layer.filters) ?? [];
  return [filters.length ? "28²" : "784", ...filters, ...(network.units ?? []), "10"].join(" → ");
}

function parameters({ parameters: count, recipe }) {
  const convolutions = recipe?.network?.convolutions?.length;
  return [convolutions && `${convolutions} convolutions`, count && `${count.toLocaleString("en")} parameters`].filter(Boolean).join(", ");
}

const log = (value) => Math.log(Math.max(value, 1e-9));

// Training and validation loss over the epochs, on a logarithmic scale: it falls by powers.
function lossCurve({ loss, val_loss: validation = [] }) {
  const values = [...loss, ...validation].map(log);
  const [least, most] = [Math.min(...values), Math.max(...values)];
  const line = (losses, name) => {
    const points = losses.map((value, epoch) => [(300 * epoch) / (losses.length - 1), 58 - (56 * (log(value) - least)) / (most - least || 1)]);
    return drawn("polyline", { class: name, points: points.map((point) => point.map((at) => at.toFixed(1)).join()).join(" ") });
  };
  const ends = (losses) => `${losses[0].toFixed(3)} to ${losses.at(-1).toFixed(3)}`;
  const said = `Loss over ${loss.length} epochs: training ${ends(loss)}` + (validation.length ? `, validation ${ends(validation)}` : "");
  const chart = drawn("svg", { class: "curve", viewBox: "0 0 300 60", preserveAspectRatio: "none", role: "img", "aria-label": said });
  chart.append(line(loss, "training"), ...(validation.length > 1 ? [line(validation, "validation")] : []));
  const legend = [element("span", { className: "training", textContent: "training" }), element("span", { className: "validation", textContent: "validation" })];
  return element("figure", {}, element("figcaption", {}, `Loss, ${loss.length} epochs`, ...legend), chart);
}

function drawn(tag, attributes) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

const percent4 = (share) => `${(share * 100).toFixed(2)} %`;
