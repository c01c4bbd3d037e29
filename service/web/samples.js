// Test digits of MNIST that came with the page, each once before any comes again.

import { greyPng } from "./png.js";
import { Problem } from "./service.js";

const SIDE = 28;
const EACH = 10; // row n of the sheet holds ten pictures of the digit n

let sheet = null;
let order = [];

// A PNG file of the next one and its true digit.
export async function nextSample() {
  sheet ??= await load();
  if (!order.length) order = shuffled([...Array(10 * EACH).keys()]);
  const index = order.pop();
  const [x, truth] = [index % EACH, Math.floor(index / EACH)];
  const context = new OffscreenCanvas(SIDE, SIDE).getContext("2d", { alpha: false, willReadFrequently: true });
  context.drawImage(sheet, -SIDE * x, -SIDE * truth);
  return { file: await greyPng(context), truth };
}

async function load() {
  const image = new Image();
  image.src = new URL("samples.png", import.meta.url);
  await image.decode().catch(() => {
    throw new Problem("unreachable", "");
  });
  return image;
}

const shuffled = (items) => items.map((item) => [Math.random(), item]).sort(([a], [b]) => a - b).map(([, item]) => item);
