// Paints 28 x 28 levels, and over them where the network looked.

const SIDE = 28;
const FOR = [255, 180, 84];
const AGAINST = [111, 183, 255];

// `saliency` is signed; its largest value gets the full colour.
export function paint(canvas, pixels, saliency) {
  const image = new ImageData(SIDE, SIDE);
  const values = saliency?.flat() ?? [];
  const most = Math.max(...values.map(Math.abs), 1e-9);
  pixels.flat().forEach((level, at) => {
    const value = (values[at] ?? 0) / most;
    const colour = value < 0 ? AGAINST : FOR;
    const strength = Math.sqrt(Math.abs(value)) * 0.85;
    const grey = saliency ? level * 0.8 : level;
    image.data.set([...colour.map((part) => grey * (1 - strength) + part * strength * (0.25 + (0.75 * level) / 255)), 255], at * 4);
  });
  canvas.getContext("2d").putImageData(image, 0, 0);
}
