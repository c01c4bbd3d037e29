"""Pictures without a figure: textures, noise, nothing at all; raw 28 x 28, and as the service would place them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from PIL import Image

from training.outliers.placing import Images, as_predicted

Levels = npt.NDArray[np.float64]  # (side, side), any range
Surface = Callable[[int, np.random.Generator], Levels]
PLACED_SHARE = 0.3
TEXTURES_PLACED = 0.6  # what the service cuts out of a texture is most like a digit


def textures(n: int, rng: np.random.Generator, placed: float = TEXTURES_PLACED) -> Images:
    """Stripes, checks, clouds, cells, creases, hatching and more, of any contrast; a share `placed` by the service."""
    return _seen([_lit(_pick(rng, TEXTURES), rng) for _ in range(n)], rng, placed)


def weaves(n: int, rng: np.random.Generator) -> Images:
    """Cloth, bricks and scales. Held out of every fit."""
    return _seen([_lit(_pick(rng, WEAVES), rng) for _ in range(n)], rng)


def noise(n: int, rng: np.random.Generator) -> Images:
    """Uniform, Gaussian, salt and pepper, specks, coarse and coloured noise."""
    return _seen([_pick(rng, NOISES) for _ in range(n)], rng)


def blank(n: int, rng: np.random.Generator) -> Images:
    """One grey level with at most a trace of noise, a gradient, a line at the border or a few specks."""
    return np.stack([_nothing(rng) for _ in range(n)])


def _pick(rng: np.random.Generator, kinds: tuple[Surface, ...]) -> Levels:
    return kinds[rng.integers(len(kinds))](int(rng.choice([28, 28, 56, 100])), rng)


def _seen(pictures: list[Levels], rng: np.random.Generator, share: float = PLACED_SHARE) -> Images:
    """Pictures of levels 0..255 as the network sees them."""
    levels = [np.rint(np.clip(picture, 0, 255)).astype(np.uint8) for picture in pictures]
    placed = rng.random(len(levels)) < share
    raw = [_middle(level) for level in levels]
    for index in np.flatnonzero(placed):
        raw[index] = as_predicted([levels[index]])[0]
    return np.stack(raw)


def _middle(picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    first = (len(picture) - 28) // 2
    return picture[first : first + 28, first : first + 28]


def _lit(pattern: Levels, rng: np.random.Generator) -> Levels:
    """The pattern with a brightness and a contrast of its own, perhaps a light that falls off, perhaps grain."""
    pattern = (pattern - pattern.min()) / max(float(np.ptp(pattern)), 1e-6)
    low = rng.uniform(0, 0.7) * (rng.random() < 0.6)
    levels = 255 * (low + rng.uniform(0.12, 1 - low) * pattern)
    if rng.random() < 0.3:
        levels = levels * (0.4 + 0.6 * _gradient(len(pattern), rng))
    if rng.random() < 0.4:
        levels = levels + rng.normal(0, rng.uniform(2, 30), levels.shape)
    return levels


def _grid(side: int, rng: np.random.Generator) -> tuple[Levels, Levels]:
    """Coordinates in px of the 28 x 28, turned."""
    y, x = np.mgrid[:side, :side] * (28 / side)
    angle = rng.uniform(0, np.pi) if rng.random() < 0.7 else 0.0
    return y * np.cos(angle) + x * np.sin(angle), x * np.cos(angle) - y * np.sin(angle)


def _stripes(side: int, rng: np.random.Generator) -> Levels:
    wave = np.sin(2 * np.pi * _grid(side, rng)[0] / rng.uniform(2, 14) + rng.uniform(0, 6))
    return np.sign(wave - rng.uniform(-0.6, 0.6)) if rng.random() < 0.6 else wave


def _bands(side: int, rng: np.random.Generator) -> Levels:
    """Stripes so broad that few fit in, or that meet others."""
    waves = [
        np.sin(2 * np.pi * _grid(side, rng)[0] / rng.uniform(9, 32) + rng.uniform(0, 6))
        for _ in range(1 + (rng.random() < 0.2))
    ]
    levels: Levels = np.max(waves, axis=0)
    return np.sign(levels - rng.uniform(-0.7, 0.7)) if rng.random() < 0.6 else levels


def _checks(side: int, rng: np.random.Generator) -> Levels:
    y, x = _grid(side, rng)
    return (np.floor(y / rng.uniform(1.5, 9)) + np.floor(x / rng.uniform(1.5, 9))) % 2


def _clouds(side: int, rng: np.random.Generator) -> Levels:
    """Fractal noise: octaves of smooth spots, each half as large and half as strong."""
    fall = rng.uniform(0.35, 0.9)
    start = int(rng.integers(2, 6))
    levels = np.zeros((side, side))
    for octave in range(4):
        spots = rng.normal(0, 1, (start << octave, start << octave)).astype(np.float32)
        levels += fall**octave * np.asarray(Image.fromarray(spots).resize((side, side), Image.Resampling.BICUBIC))
    return np.sign(levels - rng.normal(0, 0.5)) if rng.random() < 0.25 else levels


def _gradient(side: int, rng: np.random.Generator) -> Levels:
    y, x = _grid(side, rng)
    ramp = y if rng.random() < 0.5 else np.hypot(y - rng.uniform(0, 28), x - rng.uniform(0, 28))
    share: Levels = (ramp - ramp.min()) / max(float(np.ptp(ramp)), 1e-6)
    return share


def _spots(side: int, rng: np.random.Generator) -> Levels:
    y, x = _grid(side, rng)
    pitch = rng.uniform(3, 10)
    away = np.hypot(y % pitch - pitch / 2, x % pitch - pitch / 2)
    return np.clip(pitch * rng.uniform(0.2, 0.45) - away + 0.5, 0, 1)


def _rings(side: int, rng: np.random.Generator) -> Levels:
    y, x = _grid(side, rng)
    away = np.hypot(y - rng.uniform(-5, 33), x - rng.uniform(-5, 33))
    return np.sin(2 * np.pi * away / rng.uniform(2.5, 9))


def _crossed(side: int, rng: np.random.Generator) -> Levels:
    return _stripes(side, rng) + rng.uniform(0.4, 1) * _stripes(side, rng)


def _cells(side: int, rng: np.random.Generator) -> Levels:
    """Flat patches around random points, or the borders between them: stones, leather, dry earth."""
    y, x = np.mgrid[:side, :side] * (28 / side)
    points = rng.uniform(-4, 32, (int(rng.integers(6, 40)), 2))
    away = np.hypot(y[..., None] - points[:, 0], x[..., None] - points[:, 1])
    levels: Levels
    if rng.random() < 0.6:
        levels = rng.random(len(points))[away.argmin(axis=2)]
    else:
        first, second = np.moveaxis(np.partition(away, 1, axis=2)[..., :2], 2, 0)
        levels = np.clip(second - first, 0, rng.uniform(0.8, 3))
    return levels


def _creases(side: int, rng: np.random.Generator) -> Levels:
    """Crumpled paper: facets that meet at folds, each with a light of its own."""
    levels = np.zeros((side, side))
    for _ in range(int(rng.integers(3, 10))):
        y, _ = _grid(side, rng)
        fold = y - rng.uniform(y.min(), y.max())
        levels += rng.uniform(-1, 1) * np.abs(fold) / 28 + rng.uniform(-0.3, 0.3) * (fold > 0)
    return levels


def _hatching(side: int, rng: np.random.Generator) -> Levels:
    """Lines drawn side by side in one direction or two, not quite evenly."""
    levels = np.zeros((side, side))
    for _ in range(int(rng.integers(1, 3))):
        y, x = _grid(side, rng)
        pitch = rng.uniform(2.5, 9)
        away = np.abs((y + rng.normal(0, 0.6) * np.sin(x / rng.uniform(3, 12))) % pitch - pitch / 2)
        levels = np.maximum(levels, np.clip(rng.uniform(0.4, 1.4) + 0.5 - away, 0, 1))
    return levels


def _cloth(side: int, rng: np.random.Generator) -> Levels:
    """Basket weave: warp and weft go over each other in turn."""
    y, x = _grid(side, rng)
    pitch = rng.uniform(3, 8)
    over = (np.floor(y / pitch) + np.floor(x / pitch)) % 2
    return np.where(over > 0, np.abs(np.sin(np.pi * y / pitch)), np.abs(np.sin(np.pi * x / pitch)))


def _bricks(side: int, rng: np.random.Generator) -> Levels:
    y, x = _grid(side, rng)
    height, width, gap = rng.uniform(3, 7), rng.uniform(6, 13), rng.uniform(0.5, 1.6)
    x = x + (np.floor(y / height) % 2) * width / 2
    joint = (y % height < gap) | (x % width < gap)
    return np.where(joint, 0.0, 1.0)


def _scales(side: int, rng: np.random.Generator) -> Levels:
    y, x = _grid(side, rng)
    pitch = rng.uniform(4, 9)
    x = x + (np.floor(y / pitch) % 2) * pitch / 2
    return np.hypot(y % pitch, x % pitch - pitch / 2) / pitch % 1


def _uniform(side: int, rng: np.random.Generator) -> Levels:
    low, high = np.sort(rng.uniform(0, 255, 2)) if rng.random() < 0.5 else (0, 255)
    return rng.uniform(low, max(high, low + 20), (side, side))


def _gaussian(side: int, rng: np.random.Generator) -> Levels:
    return rng.normal(rng.uniform(0, 255), rng.uniform(8, 120), (side, side))


def _salt_and_pepper(side: int, rng: np.random.Generator) -> Levels:
    ground = rng.choice([0, 255, rng.uniform(0, 255)])
    drawn = rng.random((side, side))
    share = rng.uniform(0.02, 0.5)
    return np.where(drawn < share / 2, 0.0, np.where(drawn > 1 - share / 2, 255.0, ground))


def _coarse(side: int, rng: np.random.Generator) -> Levels:
    cell = int(rng.integers(2, 8))
    cells = _uniform(-(-side // cell), rng) if rng.random() < 0.5 else _salt_and_pepper(-(-side // cell), rng)
    grown = cells.repeat(cell, 0).repeat(cell, 1)
    return grown[:side, :side]


def _coloured(side: int, rng: np.random.Generator) -> Levels:
    """Noise whose amplitude falls with a power of the frequency: 0 white, 1 pink, 2 brown."""
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None])
    frequency[0, 0] = 1
    spectrum = np.fft.rfft2(rng.normal(0, 1, (side, side))) / frequency ** rng.uniform(0.3, 2)
    levels = np.fft.irfft2(spectrum, (side, side))
    return rng.uniform(40, 215) + rng.uniform(15, 90) * levels / max(float(levels.std()), 1e-6)


def _specks(side: int, rng: np.random.Generator) -> Levels:
    """Few bright pixels on black, of any brightness."""
    return np.where(rng.random((side, side)) < rng.uniform(0.01, 0.25), rng.uniform(30, 255, (side, side)), 0.0)


def _nothing(rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    levels = np.full((28, 28), rng.choice([0, 0, 255, rng.uniform(0, 255)]), np.float64)
    kind = rng.integers(6)
    if kind == 0:
        levels += rng.normal(0, rng.uniform(0.5, 7), levels.shape)
    elif kind == 1:
        levels += rng.uniform(-30, 30) * _gradient(28, rng)
    elif kind == 2:
        edge = int(rng.integers(1, 3))
        np.rot90(levels, int(rng.integers(4)))[:edge] = rng.uniform(0, 255)
    elif kind == 3:
        for y, x in rng.integers(0, 27, (int(rng.integers(1, 5)), 2)):
            levels[y : y + rng.integers(1, 3), x : x + rng.integers(1, 3)] = rng.uniform(0, 255)
    return np.rint(np.clip(levels, 0, 255)).astype(np.uint8)


TEXTURES: tuple[Surface, ...] = (
    _stripes,
    _stripes,
    _bands,
    _bands,
    _checks,
    _clouds,
    _clouds,
    _gradient,
    _spots,
    _rings,
    _crossed,
    _cells,
    _cells,
    _creases,
    _hatching,
)
WEAVES: tuple[Surface, ...] = (_cloth, _bricks, _scales)
NOISES: tuple[Surface, ...] = (_uniform, _gaussian, _salt_and_pepper, _coarse, _coloured, _specks)
