// The models view: what GET /models tells, a card for each version.

import { element, facts } from "./answer.js";
import { ask } from "./service.js";
import { percent } from "./words.js";

const STATES = { READY: "ready", LOADING: "loading", FAILED: "failed", UNAVAILABLE: "not loaded" };

export async function showModels() {
  const { body } = await ask("models");
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
  if (version.report) shown.append(element("a", { className: "button", href: version.report.slice(1), textContent: "Training report" }));
  shown.append(element("details", {}, element("summary", { textContent: "The whole card" }), element("pre", { className: "curl", tabIndex: 0, textContent: JSON.stringify(made, null, 1) })));
  return shown;
}

function rows(version, made) {
  const metrics = made.metrics ?? {};
  return [
    ["Test accuracy", "images that no training saw", version.test_accuracy && percent4(version.test_accuracy)],
    ["Calibration error", "how far its probabilities are off, on average", metrics.expected_calibration_error && percent4(metrics.expected_calibration_error)],
    ["Calibrated by", "", version.calibration?.method && `${version.calibration.method} ${version.calibration.temperature?.toFixed(3) ?? ""}`],
    ["Runs on", "as the runtime reports it", version.provider],
    ["Micro-batch", "most images in one run", version.max_batch_size || null],
    ["Parameters", "", made.parameters?.toLocaleString("en")],
    ["Trained", "", version.trained_at && new Date(version.trained_at).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" })],
    ["SHA-256", "of model.onnx", version.sha256 && `${version.sha256.slice(0, 12)}…`],
  ].filter(([, , value]) => value);
}

const percent4 = (share) => `${(share * 100).toFixed(2)} %`;
