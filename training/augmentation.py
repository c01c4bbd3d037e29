"""Makes new handwriting out of old: other slant, size, place, pen, and camera, for a whole batch at once.

Every image draws a strength of its own between 0 and 1 that scales all its changes, so that each batch
holds digits as they were written as well as strongly changed ones. NumPy only: it works with any Keras backend.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Images = npt.NDArray[np.float32]  # (n, 28, 28), 0 background to 255 ink
Strength = npt.NDArray[np.float32]  # (n,), 0 unchanged to 1 fully changed

SIDE = 28
CENTRE = (SIDE - 1) / 2
DARK = 100  # a pixel above this belongs to a stroke
LONG_UPSTROKES = 0.2  # of all upstrokes


@dataclass(frozen=True)
class Augmentation:
    """The largest change of each kind; 0 switches a kind off.

    Angles in degrees, shifts in pixels. `zoom` and `aspect` are the logarithms' range: 0.25 is from 1/1.28 to 1.28.
    `elastic` is the displacement's standard deviation in pixels. `thicker` and `thinner` are how much of a
    dilation or erosion by one pixel is mixed in, `serifs` the share of zeros that get a slash and of sevens that get a
    bar, `upstrokes` that of ones that get an upstroke, all of which MNIST's writers left out; `mild` is the share of
    images whose strength is near 0.
    """

    rotation: float = 0.0
    shear: float = 0.0
    zoom: float = 0.0
    aspect: float = 0.0
    shift: float = 0.0
    elastic: float = 0.0
    elastic_sigma: float = 4.0
    thicker: float = 0.0
    thinner: float = 0.0
    blur: float = 0.0
    contrast: float = 0.0
    noise: float = 0.0
    serifs: float = 0.0
    upstrokes: float = 0.0
    mild: float = 0.0


@dataclass(frozen=True)
class UniformAffine:
    """Affine changes as Keras' ImageDataGenerator draws them: each on its own, evenly, as strong for every image.

    Angles in degrees; `zoom` is how far either axis may differ from 1, `shift` a share of the picture's side.
    """

    rotation: float
    shear: float
    zoom: float
    shift: float


def augment(
    images: npt.NDArray[np.uint8],
    labels: npt.NDArray[np.integer],
    settings: Augmentation | UniformAffine,
    rng: np.random.Generator,
) -> Images:
    """Changes each of n images (n, 28, 28) on its own; the same generator state gives the same result."""
    ink = images.astype(np.float32)
    if isinstance(settings, UniformAffine):
        return sample(ink, *affine_points(settings, len(ink), rng))
    strength = rng.random(len(ink), dtype=np.float32)
    strength[rng.random(len(ink)) < settings.mild] *= 0.1
    if settings.serifs or settings.upstrokes:
        ink = add_serifs(ink, labels, settings, rng)
    if settings.thicker or settings.thinner:
        ink = change_stroke_width(ink, _signed(rng, strength), settings.thicker, settings.thinner)
    ink = sample(ink, *displacements(settings, strength, rng))
    if settings.blur:
        ink = blur(ink, strength * settings.blur * rng.random(len(ink), dtype=np.float32))
    return change_light(ink, settings, strength, rng)


def displacements(settings: Augmentation, strength: Strength, rng: np.random.Generator) -> tuple[Images, Images]:
    """For each target pixel, the row and column (n, 28, 28) of the source point that it shows."""
    angle = np.deg2rad(settings.rotation) * _signed(rng, strength)
    slant = np.tan(np.deg2rad(settings.shear) * _signed(rng, strength))
    zoom = np.exp(settings.zoom * _signed(rng, strength))
    aspect = np.exp(settings.aspect * _signed(rng, strength) / 2)
    shift_y, shift_x = (settings.shift * _signed(rng, strength) for _ in range(2))
    y, x = np.meshgrid(*[np.arange(SIDE, dtype=np.float32) - CENTRE] * 2, indexing="ij")
    y, x = y - _pixelwise(shift_y), x - _pixelwise(shift_x)
    cos, sin = _pixelwise(np.cos(angle)), _pixelwise(np.sin(angle))
    rows = (cos * y + sin * x) / _pixelwise(zoom * aspect)
    columns = (cos * x - sin * y) / _pixelwise(zoom / aspect)
    columns = columns + _pixelwise(slant) * rows
    if settings.elastic:
        bend_y, bend_x = (elastic_field(len(strength), settings.elastic_sigma, rng) for _ in range(2))
        amount = _pixelwise(settings.elastic * strength)
        rows, columns = rows + amount * bend_y, columns + amount * bend_x
    return (rows + CENTRE).astype(np.float32), (columns + CENTRE).astype(np.float32)


def affine_points(settings: UniformAffine, n: int, rng: np.random.Generator) -> tuple[Images, Images]:
    """As `displacements`, by the matrices of Keras' `apply_affine_transform`."""
    angle, shear = (_pixelwise(np.deg2rad(rng.uniform(-most, most, n))) for most in (settings.rotation, settings.shear))
    shift_y, shift_x = (_pixelwise(SIDE * rng.uniform(-settings.shift, settings.shift, n)) for _ in range(2))
    zoom_y, zoom_x = (_pixelwise(rng.uniform(1 - settings.zoom, 1 + settings.zoom, n)) for _ in range(2))
    y, x = np.meshgrid(*[np.arange(SIDE, dtype=np.float32) - CENTRE] * 2, indexing="ij")
    y, x = zoom_y * y, zoom_x * x
    y, x = np.cos(shear) * y + shift_y, x - np.sin(shear) * y + shift_x
    rows, columns = np.sin(angle) * x + np.cos(angle) * y, np.cos(angle) * x - np.sin(angle) * y
    return rows + CENTRE, columns + CENTRE


def elastic_field(n: int, sigma: float, rng: np.random.Generator) -> Images:
    """Smooth random displacements (n, 28, 28) of unit variance: Simard, Steinkraus and Platt, ICDAR 2003."""
    distance = np.arange(SIDE)[:, None] - np.arange(SIDE)[None, :]
    gauss = np.exp(-0.5 * (distance / sigma) ** 2)
    smooth = (gauss / np.sqrt((gauss**2).sum(axis=1, keepdims=True))).astype(np.float32)
    field: Images = smooth @ rng.standard_normal((n, SIDE, SIDE), dtype=np.float32) @ smooth.T
    return field


def sample(images: Images, rows: Images, columns: Images) -> Images:
    """Bilinear values of images (n, 28, 28) at the given points; background outside."""
    width = SIDE + 2
    padded = np.zeros((len(images), width, width), np.float32)
    padded[:, 1:-1, 1:-1] = images
    rows = np.clip(rows + 1, 0, width - 1.001)
    columns = np.clip(columns + 1, 0, width - 1.001)
    top, left = rows.astype(np.int32), columns.astype(np.int32)
    down, right = (rows - top).astype(np.float32), (columns - left).astype(np.float32)
    flat = padded.ravel()
    corner = np.arange(len(images), dtype=np.int32)[:, None, None] * width**2 + top * width + left
    upper = flat[corner] * (1 - right) + flat[corner + 1] * right
    lower = flat[corner + width] * (1 - right) + flat[corner + width + 1] * right
    result: Images = upper * (1 - down) + lower * down
    return result


def change_stroke_width(images: Images, amount: Strength, thicker: float, thinner: float) -> Images:
    """Mixes in a dilation (amount > 0) or an erosion (amount < 0) by a cross of one pixel."""
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1)))
    cross = np.stack([images, padded[:, :-2, 1:-1], padded[:, 2:, 1:-1], padded[:, 1:-1, :-2], padded[:, 1:-1, 2:]])
    dilation = _pixelwise(thicker * np.maximum(amount, 0))
    erosion = _pixelwise(thinner * np.maximum(-amount, 0))
    changed = images + dilation * (cross.max(axis=0) - images) - erosion * (images - cross.min(axis=0))
    # An eroded hairline turns grey; a thin pen is as black as a thick one.
    peak = changed.max(axis=(1, 2), keepdims=True)
    result: Images = changed * (images.max(axis=(1, 2), keepdims=True) / np.maximum(peak, 1))
    return result


def blur(images: Images, amount: Strength) -> Images:
    """Convolves with [a, 1 - 2a, a] both ways; a = 0.25 is the binomial filter."""
    a = _pixelwise(amount)
    padded = np.pad(images, ((0, 0), (1, 1), (0, 0)))
    images = (1 - 2 * a) * images + a * (padded[:, :-2] + padded[:, 2:])
    padded = np.pad(images, ((0, 0), (0, 0), (1, 1)))
    result: Images = (1 - 2 * a) * images + a * (padded[:, :, :-2] + padded[:, :, 2:])
    return result


def change_light(images: Images, settings: Augmentation, strength: Strength, rng: np.random.Generator) -> Images:
    """Paler or saturated ink, then Gaussian noise on half of the images; values stay in 0..255."""
    if settings.contrast:
        images = images * _pixelwise(np.exp(settings.contrast * _signed(rng, strength)))
    if settings.noise:
        deviation = 255 * settings.noise * strength * rng.random(len(images), dtype=np.float32)
        deviation[rng.random(len(images)) < 0.5] = 0
        images = images + _pixelwise(deviation) * rng.standard_normal(images.shape, dtype=np.float32)
    return np.clip(images, 0, 255)


def add_serifs(
    images: Images, labels: npt.NDArray[np.integer], settings: Augmentation, rng: np.random.Generator
) -> Images:
    """Gives a share of the zeros a slash, of the ones an upstroke and a foot, and of the sevens a bar."""
    images = images.copy()
    kinds = ((0, _slash, settings.serifs), (1, _upstroke, settings.upstrokes), (7, _bar, settings.serifs))
    for label, draw, share in kinds:
        has_ink = images.max(axis=(1, 2)) > DARK
        for index in np.flatnonzero((labels == label) & has_ink & (rng.random(len(labels)) < share)):
            stroke = draw(images[index], rng)
            images[index] = np.maximum(images[index], stroke)
    return images


def _slash(image: npt.NDArray[np.float32], rng: np.random.Generator) -> npt.NDArray[np.float32]:
    y, x = np.nonzero(image > DARK)
    middle = (y.min() + y.max()) / 2, (x.min() + x.max()) / 2
    reach = np.hypot(np.ptp(y), np.ptp(x)) / 2 * rng.uniform(0.5, 1.2)  # from within the ring to far beyond it
    angle = np.deg2rad(rng.uniform(30, 70) if rng.random() < 0.75 else rng.uniform(110, 150))
    down, across = reach * np.sin(angle), reach * np.cos(angle)
    start, end = (middle[0] + down, middle[1] - across), (middle[0] - down, middle[1] + across)
    return segment(start, end, rng.uniform(1.0, 2.8))


def _upstroke(image: npt.NDArray[np.float32], rng: np.random.Generator) -> npt.NDArray[np.float32]:
    y, x = np.nonzero(image > DARK)
    top, bottom = (y.min(), x[y == y.min()].mean()), (y.max(), x[y == y.max()].mean())
    height = bottom[0] - top[0]
    # A flat one would make a seven. Some are as long as the stem.
    lengths, angles = ((0.6, 1.0), (50, 75)) if rng.random() < LONG_UPSTROKES else ((0.2, 0.6), (48, 70))
    length, angle = height * rng.uniform(*lengths), np.deg2rad(rng.uniform(*angles))
    width = rng.uniform(1.0, 2.8)
    stroke = segment(top, (top[0] + length * np.sin(angle), top[1] - length * np.cos(angle)), width)
    if rng.random() < 0.25:
        foot = height * rng.uniform(0.15, 0.35)
        stroke = np.maximum(stroke, segment((bottom[0], bottom[1] - foot), (bottom[0], bottom[1] + foot), width))
    return stroke


def _bar(image: npt.NDArray[np.float32], rng: np.random.Generator) -> npt.NDArray[np.float32]:
    y, _ = np.nonzero(image > DARK)
    row = int(y.min() + (y.max() - y.min()) * rng.uniform(0.4, 0.65))
    ink = np.flatnonzero(image[row] > DARK)
    centre = ink.mean() if len(ink) else CENTRE
    half, tilt = rng.uniform(2.5, 5.5), rng.uniform(-1.5, 1.5)
    return segment((row + tilt, centre - half), (row - tilt, centre + half), rng.uniform(1.0, 2.8))


def segment(start: tuple[float, float], end: tuple[float, float], width: float) -> npt.NDArray[np.float32]:
    """A round-ended line of this width in pixels, (row, column) to (row, column), with soft edges, as (28, 28) ink."""
    y, x = np.mgrid[:SIDE, :SIDE].astype(np.float32)
    dy, dx = end[0] - start[0], end[1] - start[1]
    along = np.clip(((y - start[0]) * dy + (x - start[1]) * dx) / max(dy * dy + dx * dx, 1e-6), 0, 1)
    distance = np.hypot(y - start[0] - along * dy, x - start[1] - along * dx)
    line: npt.NDArray[np.float32] = (255 * np.clip(width / 2 + 0.5 - distance, 0, 1)).astype(np.float32)
    return line


def _signed(rng: np.random.Generator, strength: Strength) -> Strength:
    """One number for each image, evenly between -strength and strength."""
    return strength * rng.uniform(-1, 1, len(strength)).astype(np.float32)


def _pixelwise(values: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
    return values.astype(np.float32)[:, None, None]
