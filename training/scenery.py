"""What is around a photographed digit: paper, its lines and boxes, dust, a desk, light, shadows, and the camera.

Planes are (height, width), brightness or coverage, 0..1.
"""

from __future__ import annotations

import mahotas
import numpy as np
from PIL import Image

from training.ink import Plane, blurred

Frame = tuple[int, int]  # height, width in px


def texture(frame: Frame, rng: np.random.Generator, grain: float) -> Plane:
    """Noise of mean 0 and standard deviation 1 with spots of about `grain` px."""
    coarse = tuple(max(2, round(side / grain) + 1) for side in frame)
    spots = rng.normal(0, 1, coarse).astype(np.float32)
    plane = np.asarray(Image.fromarray(spots).resize(frame[::-1], Image.Resampling.BICUBIC))
    texture: Plane = (plane / max(float(plane.std()), 1e-6)).astype(np.float32)
    return texture


def light(frame: Frame, rng: np.random.Generator, unevenness: float) -> Plane:
    """Brightness about 1 that falls to 1 - `unevenness` across the frame and towards its corners."""
    rows, columns = np.meshgrid(np.linspace(-1, 1, frame[0]), np.linspace(-1, 1, frame[1]), indexing="ij")
    angle = rng.uniform(0, 2 * np.pi)
    ramp = (rows * np.sin(angle) + columns * np.cos(angle)) / np.sqrt(2)
    vignette = (rows**2 + columns**2) / 2
    share = rng.uniform(0.0, 1.0)
    light: Plane = (1 - unevenness * (share * (ramp + 1) / 2 + (1 - share) * vignette)).astype(np.float32)
    return light


def shadow(frame: Frame, rng: np.random.Generator) -> Plane:
    """The shadow of a hand or a phone: a half-plane or a disc, 25 to 55 % darker, with a soft edge."""
    rows, columns = np.meshgrid(np.linspace(-1, 1, frame[0]), np.linspace(-1, 1, frame[1]), indexing="ij")
    angle = rng.uniform(0, 2 * np.pi)
    if rng.random() < 0.6:
        depth = rows * np.sin(angle) + columns * np.cos(angle) - rng.uniform(-0.3, 0.5)
    else:
        depth = rng.uniform(0.5, 0.9) - np.hypot(rows - np.sin(angle), columns - np.cos(angle))
    edge = rng.uniform(0.03, 0.2)
    shade = rng.uniform(0.25, 0.55) / (1 + np.exp(-np.clip(depth / edge, -30, 30)))
    light: Plane = (1 - shade).astype(np.float32)
    return light


def lines(frame: Frame, rng: np.random.Generator, *, squared: bool) -> Plane:
    """Ruled or squared paper: coverage 0..1 of thin parallel lines, a little askew."""
    rows, columns = np.indices(frame, dtype=np.float32)
    pitch = rng.uniform(0.10, 0.22) * min(frame)
    if not squared:
        pitch *= 1.6
    width = max(1.0, rng.uniform(0.004, 0.009) * min(frame))
    askew = np.deg2rad(rng.uniform(-3, 3))
    across = [rows * np.cos(askew) + columns * np.sin(askew)]
    if squared:
        across.append(columns * np.cos(askew) - rows * np.sin(askew))
    cover = np.zeros(frame, np.float32)
    for position in across:
        offset = np.abs((position + rng.uniform(0, pitch)) % pitch - pitch / 2)
        cover = np.maximum(cover, np.clip(width / 2 + 0.5 - offset, 0, 1))
    return cover


def dusty(plane: Plane, rng: np.random.Generator, specks: int) -> Plane:
    """Dark specks, 0.3 to 1.2 % of the frame across."""
    plane = plane.copy()
    height, width = plane.shape
    for _ in range(specks):
        radius = rng.uniform(0.0015, 0.006) * min(plane.shape) + 0.4
        y, x = rng.uniform(0, height), rng.uniform(0, width)
        top, left = max(0, int(y - radius - 1)), max(0, int(x - radius - 1))
        patch = plane[top : int(y + radius + 2), left : int(x + radius + 2)]
        rows, columns = np.indices(patch.shape)
        patch *= 1 - rng.uniform(0.3, 0.8) * np.clip(radius + 0.5 - np.hypot(rows + top - y, columns + left - x), 0, 1)
    return plane


def camera(brightness: Plane, rng: np.random.Generator, *, blur: float, noise: float) -> Plane:
    """Blurred by `blur` px of deviation, with noise of deviation `noise`, cut off at 0 and 1."""
    if blur > 0:
        brightness = blurred(brightness, blur)
    return np.clip(brightness + noise * rng.normal(0, 1, brightness.shape).astype(np.float32), 0, 1)


def box(ink: Plane, rng: np.random.Generator) -> Plane:
    """Coverage 0..1 by the outline of a box that holds the ink, a little askew."""
    top, bottom, left, right = mahotas.bbox(ink > 0.5)
    if not bottom:
        return np.zeros_like(ink)
    middle, half = ((top + bottom - 1) / 2, (left + right - 1) / 2), (max(bottom - top, right - left) - 1) / 2
    askew = np.deg2rad(rng.uniform(-2.5, 2.5))
    rows, columns = np.indices(ink.shape, dtype=np.float32)
    rows, columns = rows - middle[0], columns - middle[1]
    down, across = rows * np.cos(askew) + columns * np.sin(askew), columns * np.cos(askew) - rows * np.sin(askew)
    height, width = (half * rng.uniform(1.25, 1.7) for _ in range(2))
    beyond = np.maximum(np.abs(down) - height, np.abs(across) - width)  # from the outline, negative within
    pen = max(1.0, rng.uniform(0.004, 0.012) * min(ink.shape))
    outline: Plane = np.clip(pen / 2 + 0.5 - np.abs(beyond), 0, 1).astype(np.float32)
    return outline


def desk(scene: Plane, rng: np.random.Generator) -> Plane:
    """The page ends: one to four sides of the frame show a dark desk or a scanner's black lid."""
    scene = scene.copy()
    dark = rng.uniform(0.02, 0.3)
    for side in rng.permutation(4)[: rng.integers(1, 5)]:
        depth = round(rng.uniform(0.02, 0.1) * min(scene.shape))
        slope = rng.uniform(-0.03, 0.03)
        view = np.rot90(scene, int(side))
        reach = depth + slope * (np.arange(view.shape[1]) - view.shape[1] / 2)
        view[np.arange(view.shape[0])[:, None] < reach[None]] = dark
    return scene
