// What the service says, in plain words.

export function percent(p) {
  if (p >= 0.9995) return ">99.9 %";
  return `${(p * 100).toFixed(1)} %`;
}

const either = (digits) => (digits.length < 2 ? `${digits}` : `${digits.slice(0, -1).join(", ")} or ${digits.at(-1)}`);

const NO_DIGIT = {
  blank: ["Nothing there", "The picture is blank, or too faint to tell its ink from its paper."],
  out_of_distribution: ["Not a digit", "It looks like nothing that the networks learned to read."],
  several_marks: ["More than one mark", "Send one digit at a time."],
};
const DOUBT = {
  several_marks: "There are several marks in the picture.",
  out_of_distribution: "It looks little like the digits that the networks learned from.",
  blank: "There is hardly anything in the picture.",
};

// A title and a sentence for the verdict of an answer of /confidence.
export function verdict(answer) {
  const { digit, reason } = answer;
  if (answer.verdict === "not_a_digit") return NO_DIGIT[reason] ?? ["Not a digit", "The networks do not take this for a digit."];
  const sure = `${percent(answer.confidence)} sure`;
  if (answer.verdict !== "uncertain") return [`It is a ${digit}`, `${sure}. ${agreement(answer)}`];
  return [`Could be ${either(candidates(answer))}`, `Most likely ${digit}, ${sure}. ${DOUBT[reason] ?? agreement(answer)}`];
}

// The digits still in question: the prediction set where it helps, else the two likeliest.
function candidates(answer) {
  const set = answer.prediction_set?.digits ?? [];
  return set.length > 1 && set.length < 4 ? set : answer.ranking.slice(0, 2).map((one) => one.digit);
}

function agreement({ agreement: agreed, models }) {
  const names = Object.keys(models);
  if (names.length < 2) return "";
  if (agreed) return names.length === 2 ? "Both networks agree." : "All networks agree.";
  return names.map((name) => `${name} says ${models[name].digit ?? "no digit"}`).join(", ") + ".";
}

const STEPS = {
  already_mnist: "Taken as it is: it has MNIST's form already",
  alpha_as_ink: "The ink was in the transparency",
  alpha_flattened: "Transparency put on white",
  blank: "No ink found",
  centred: "Moved: centre of mass to the middle",
  cropped: "Cut out, scaled to 20 × 20",
  denoised: "Noise smoothed",
  first_frame: "First frame of an animation",
  inverted: "Dark ink turned light",
  light_flattened: "Uneven light flattened",
  lines_removed: "Ruled lines removed",
  box_removed: "The box around it removed",
  low_contrast: "Very little contrast",
  page_edge_removed: "The paper's edge removed",
  page_found: "The sheet of paper found",
  scaled_from_float: "Scaled to 256 levels",
  several_marks: "Several marks: the likeliest one taken",
  touches_border: "The digit touches the border",
};

export function step(name) {
  if (name.startsWith("exif_")) return `Turned as the camera noted (${name.slice(5).replaceAll("_", " ")})`;
  return STEPS[name] ?? name.replaceAll("_", " ");
}

const PROBLEMS = {
  unreachable: "The service does not answer. It will be asked again as soon as it is back.",
  unauthorized: "The service wants an API key.",
  too_large: "That is too large for the service.",
  unreadable: "The file cannot be read. If it is a folder, drop what is in it.",
  invalid_image: "That is not a picture the service can read.",
  unsupported_media_type: "That is not a picture the service can read.",
  overloaded: "The service is busy. It will be asked again in a moment.",
  not_ready: "The service is not ready yet. It will be asked again in a moment.",
  deadline_exceeded: "The service was too busy to answer in time.",
  too_slow: "The upload was too slow.",
};

export const problem = (code) => PROBLEMS[code] ?? "The service could not answer.";

export const TIMINGS = { decode: "Reading the picture", queue: "Waiting for its turn", infer: "The networks", rest: "Transport and browser" };
