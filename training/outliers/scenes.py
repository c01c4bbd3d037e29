"""Photo-like scenes: sky, hills, a sun, houses, trees, grain and light. Held out of every fit."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

from training.outliers.placing import Images, as_predicted

SIDE = 112
PLACED_SHARE = 0.7


def draw(n: int, rng: np.random.Generator) -> Images:
    """`n` scenes: most as the service places such a photo, the others shrunk to 28 x 28."""
    scenes = [_scene(rng) for _ in range(n)]
    placed = rng.random(n) < PLACED_SHARE
    images = [as_predicted([scene])[0] if keep else _small(scene) for scene, keep in zip(scenes, placed, strict=True)]
    return np.stack(images)


def _small(scene: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    return np.asarray(Image.fromarray(scene).resize((28, 28), Image.Resampling.BOX))


def _scene(rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    top, horizon = rng.uniform(60, 250), rng.uniform(0.3, 0.7) * SIDE
    sky = np.linspace(top, top * rng.uniform(0.5, 1.1), SIDE)[:, None] * np.ones(SIDE)
    sheet = Image.fromarray(np.clip(sky, 0, 255).astype(np.uint8))
    pen = ImageDraw.Draw(sheet)
    if rng.random() < 0.4:
        x, y, radius = rng.uniform(0, SIDE), rng.uniform(0, horizon), rng.uniform(4, 16)
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=int(rng.uniform(150, 255)))
    for layer in range(int(rng.integers(1, 4))):
        _hills(pen, horizon + 12 * layer, rng)
    for _ in range(int(rng.integers(0, 6))):
        (_building if rng.random() < 0.5 else _tree)(pen, rng.uniform(0, SIDE), horizon + rng.uniform(0, 40), rng)
    blurred = np.asarray(sheet.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 2))), np.float32)
    grain = rng.normal(0, 1, (SIDE // 4, SIDE // 4)).astype(np.float32)
    rough = np.asarray(Image.fromarray(grain).resize((SIDE, SIDE), Image.Resampling.BICUBIC))
    return np.clip(blurred + rng.uniform(2, 18) * rough + rng.normal(0, 4, blurred.shape), 0, 255).astype(np.uint8)


def _hills(pen: ImageDraw.ImageDraw, height: float, rng: np.random.Generator) -> None:
    x = np.linspace(0, SIDE, 20)
    y = height + np.cumsum(rng.normal(0, 4, 20))
    pen.polygon([*zip(x.tolist(), y.tolist(), strict=True), (SIDE, SIDE), (0, SIDE)], fill=int(rng.uniform(20, 200)))


def _building(pen: ImageDraw.ImageDraw, x: float, foot: float, rng: np.random.Generator) -> None:
    width, height = rng.uniform(10, 35), rng.uniform(15, 70)
    pen.rectangle((x, foot - height, x + width, foot), fill=int(rng.uniform(10, 240)))
    window = int(rng.uniform(0, 255))
    for down in np.arange(4, height - 6, 10):
        for across in np.arange(3, width - 5, 8):
            pen.rectangle((x + across, foot - height + down, x + across + 4, foot - height + down + 5), fill=window)


def _tree(pen: ImageDraw.ImageDraw, x: float, foot: float, rng: np.random.Generator) -> None:
    height, radius = rng.uniform(12, 40), rng.uniform(6, 18)
    pen.rectangle((x - 2, foot - height, x + 2, foot), fill=int(rng.uniform(10, 90)))
    for _ in range(6):
        y, z = foot - height + rng.normal(0, radius / 2), x + rng.normal(0, radius / 2)
        pen.ellipse(
            (z - radius / 1.5, y - radius / 1.5, z + radius / 1.5, y + radius / 1.5), fill=int(rng.uniform(20, 150))
        )
