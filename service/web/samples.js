// Test digits of MNIST that came with the page, each once before any comes again.

const LABELS = "105171323834754723926480492758246675990161367389845960205018";
const COLUMNS = 10;
const SIDE = 28;

let sheet = null;
let order = [];

// A PNG file of the next one and its true digit.
export async function nextSample() {
  sheet ??= await load();
  if (!order.length) order = shuffled([...LABELS].keys());
  const index = order.pop();
  const canvas = new OffscreenCanvas(SIDE, SIDE);
  const [x, y] = [index % COLUMNS, Math.floor(index / COLUMNS)];
  canvas.getContext("2d", { alpha: false }).drawImage(sheet, -SIDE * x, -SIDE * y);
  return { file: await canvas.convertToBlob({ type: "image/png" }), truth: Number(LABELS[index]) };
}

async function load() {
  const image = new Image();
  image.src = new URL("samples.png", import.meta.url);
  await image.decode();
  return image;
}

const shuffled = (items) =>
  [...items].map((item) => [Math.random(), item]).sort(([a], [b]) => a - b).map(([, item]) => item);
