"""What is left of digits that nobody can read: several side by side, cut up, put together wrongly, bent too far."""

from __future__ import annotations

from collections.abc import Callable

import mahotas
import numpy as np
import numpy.typing as npt
from PIL import Image

from training.augmentation import elastic_field, sample
from training.outliers.placing import Images, in_box

Labels = npt.NDArray[np.integer]
Sheet = npt.NDArray[np.floating]  # (height, width), 0..1
TURNED = (2, 3, 4, 5, 6, 7, 9)  # turned by a quarter these are no digit; 0, 1 and 8 are bars, rings and bows
HALF = 14
FINE = 4  # a digit is enlarged so much before its outline is measured
CANDIDATES = 150
RAISED_SHARE = 0.2  # of several digits


def several(n: int, digits: Images, _labels: Labels, rng: np.random.Generator) -> Images:
    """Two to four digits in a row, two one above the other, apart or touching, or a small one at another's shoulder."""
    return in_box(
        _raised(digits[rng.integers(len(digits), size=2)], rng)
        if rng.random() < RAISED_SHARE
        else _row(digits[rng.integers(len(digits), size=rng.choice([2, 2, 2, 3, 4]))], rng)
        for _ in range(n)
    )


def _raised(images: Images, rng: np.random.Generator) -> Sheet:
    """A digit and a smaller one beside it, as an exponent or an index stands."""
    large, small = (_cropped(image) for image in images)
    scale = rng.uniform(0.35, 0.65)
    size = max(2, round(small.shape[1] * scale)), max(4, round(small.shape[0] * scale))
    small = np.asarray(Image.fromarray(small).resize(size, Image.Resampling.BOX))
    small = small / max(float(small.max()), 1e-3)
    gap = int(rng.integers(0, 4))
    sheet = np.zeros((large.shape[0] + 6, large.shape[1] + gap + small.shape[1]), np.float32)
    sheet[3:-3, : large.shape[1]] = large
    top = int(rng.integers(0, 6)) if rng.random() < 0.7 else int(rng.integers(max(1, len(sheet) - len(small) + 1)))
    view = sheet[top : top + len(small), large.shape[1] + gap :]
    view[:] = small[: len(view)]
    return _enlarged(sheet if rng.random() < 0.8 else np.ascontiguousarray(sheet[:, ::-1]))


def _row(images: Images, rng: np.random.Generator) -> Sheet:
    crops = [_cropped(image) for image in images]
    stacked = len(crops) == 2 and rng.random() < 0.2
    if stacked:
        crops = [np.rot90(crop) for crop in crops]
    height = max(crop.shape[0] for crop in crops) + 8
    row = np.zeros((height, 1), np.float32)
    for crop in crops:
        gap = int(rng.integers(-3, 7))
        top = int(rng.integers(0, height - crop.shape[0] + 1))
        start = max(0, row.shape[1] + gap)
        wide = np.zeros((height, start + crop.shape[1]), np.float32)
        wide[:, : row.shape[1]] = row[:, : wide.shape[1]]
        wide[top : top + crop.shape[0], start:] = np.maximum(wide[top : top + crop.shape[0], start:], crop)
        row = wide
    return _enlarged(np.rot90(row, -1) if stacked else row)


def _cropped(image: npt.NDArray[np.uint8]) -> Sheet:
    ys, xs = np.nonzero(image.max(1) > 60)[0], np.nonzero(image.max(0) > 60)[0]
    return image[ys[0] : ys[-1] + 1, xs[0] : xs[-1] + 1].astype(np.float32) / 255


def _enlarged(sheet: Sheet) -> Sheet:
    """Twice as large, so that the box is cut finer than by whole pixels."""
    size = sheet.shape[1] * 2, sheet.shape[0] * 2
    image = Image.fromarray(np.ascontiguousarray(sheet, np.float32))
    large: Sheet = np.asarray(image.resize(size, Image.Resampling.BICUBIC))
    return np.clip(large, 0, 1)


def spliced(n: int, digits: Images, labels: Labels, rng: np.random.Generator) -> Images:
    """Quarters of one or four digits in the wrong places, halves that do not meet, digits over each other."""
    ways: tuple[Callable[..., Sheet], ...] = (_shuffled, _quartered, _shifted_halves, _overlaid)
    cut = np.flatnonzero(labels != 1)  # a piece of a one is a one
    sheets = []
    for way in rng.integers(len(ways), size=n):
        first = int(rng.choice(cut))
        others = np.flatnonzero(labels != labels[first])
        sheets.append(ways[way](digits[first], digits[rng.choice(others, 3)], rng))
    return in_box(map(_enlarged, sheets))


def _quarters(image: Images) -> list[Sheet]:
    ink = image.astype(np.float32) / 255
    return [ink[:HALF, :HALF], ink[:HALF, HALF:], ink[HALF:, :HALF], ink[HALF:, HALF:]]


def _shuffled(image: Images, _others: Images, rng: np.random.Generator) -> Sheet:
    quarters = _quarters(image)
    shift = rng.permutation([1, 2, 3])[0]  # no quarter keeps its place
    a, b, c, d = (quarters[(place + shift) % 4] for place in range(4))
    return np.block([[a, b], [c, d]])


def _quartered(image: Images, others: Images, rng: np.random.Generator) -> Sheet:
    places = rng.permutation(4)
    a, b, c, d = (_quarters(source)[place] for source, place in zip((image, *others), places, strict=True))
    return np.block([[a, b], [c, d]])


def _shifted_halves(image: Images, others: Images, rng: np.random.Generator) -> Sheet:
    ink, other = image.astype(np.float32) / 255, others[0].astype(np.float32) / 255
    shift = int(rng.integers(6, 10)) * int(rng.choice([-1, 1]))
    if rng.random() < 0.5:
        ink, other = ink.T, other.T
    sheet = np.pad(ink, ((0, 0), (8, 8)))
    sheet[HALF:] = np.roll(np.pad(other if rng.random() < 0.5 else ink, ((0, 0), (8, 8))), shift, 1)[HALF:]
    return sheet.T if rng.random() < 0.5 else sheet


def _overlaid(image: Images, others: Images, rng: np.random.Generator) -> Sheet:
    other = np.roll(np.rot90(others[0], int(rng.integers(4))), tuple(rng.integers(-3, 4, 2)), (0, 1))
    both: Sheet = np.maximum(image, other) / 255
    return both


def warped(n: int, digits: Images, labels: Labels, rng: np.random.Generator) -> Images:
    """Digits turned by a quarter, bent beyond reading, flattened to a bar, torn to pieces, or a small part enlarged."""
    ways: tuple[Callable[..., Sheet], ...] = (_turned, _turned, _crumpled, _crumpled, _flattened, _torn, _part)
    turnable = np.flatnonzero(np.isin(labels, TURNED))
    sheets = []
    for way in rng.integers(len(ways), size=n):
        chosen = rng.choice(turnable) if ways[way] is _turned and len(turnable) else rng.integers(len(digits))
        sheets.append(ways[way](digits[chosen], rng))
    return in_box(sheets)


def _turned(image: npt.NDArray[np.uint8], rng: np.random.Generator) -> Sheet:
    angle = rng.choice([-90, 90]) + rng.uniform(-25, 25)
    large = Image.fromarray(image).resize((84, 84), Image.Resampling.BICUBIC)
    return np.asarray(large.rotate(angle, Image.Resampling.BILINEAR), np.float32) / 255


def _crumpled(image: npt.NDArray[np.uint8], rng: np.random.Generator) -> Sheet:
    y, x = np.mgrid[:28, :28].astype(np.float32)[:, None]
    amount, sigma = rng.uniform(4, 7), rng.uniform(2.2, 3.5)
    down, across = (amount * elastic_field(1, sigma, rng) for _ in range(2))
    bent = sample(image[None].astype(np.float32), y + down, x + across)[0] / 255
    return _enlarged(bent / max(float(bent.max()), 0.2))


def _flattened(image: npt.NDArray[np.uint8], rng: np.random.Generator) -> Sheet:
    crop = Image.fromarray(_cropped(image))
    return np.asarray(crop.resize((80, int(rng.integers(8, 24))), Image.Resampling.BILINEAR), np.float32)


def _torn(image: npt.NDArray[np.uint8], rng: np.random.Generator) -> Sheet:
    """Only patches of the ink are left: less than half of it, all over the place."""
    keep = rng.random((7, 7)) < rng.uniform(0.25, 0.45)
    keep[rng.integers(7), rng.integers(7)] = keep[3, 3] = True
    sheet = image.astype(np.float32) / 255 * np.kron(keep, np.ones((4, 4), np.float32))
    return _enlarged(sheet)


def _part(image: npt.NDArray[np.uint8], rng: np.random.Generator) -> Sheet:
    """A window of a third of the digit, whose strokes come out as broad as a brush's."""
    side = int(rng.integers(7, 11))
    ys, xs = np.nonzero(image > 127)
    at = int(rng.integers(len(ys)))
    top, left = np.clip(np.array([ys[at], xs[at]]) - side // 2, 0, 28 - side)
    window = Image.fromarray(image[top : top + side, left : left + side])
    return np.asarray(window.resize((80, 80), Image.Resampling.BICUBIC), np.float32) / 255


def morphs(n: int, digits: Images, labels: Labels, rng: np.random.Generator) -> Images:
    """Half-way shapes between a digit and the most like it of another label. Some are plain digits."""
    sheets = []
    for first in rng.integers(len(digits), size=n):
        others = rng.choice(np.flatnonzero(labels != labels[first]), CANDIDATES)
        away = ((digits[others].astype(np.float32) - digits[first]) ** 2).sum(axis=(1, 2))
        outline = (_outline(digits[first]) + _outline(digits[others[away.argmin()]])) / 2
        sheets.append(np.clip(0.5 - outline, 0, 1))
    return in_box(sheets)


def _outline(image: npt.NDArray[np.uint8]) -> Sheet:
    """Signed distance to the stroke's edge, (112, 112), negative inside."""
    large = Image.fromarray(image).resize((28 * FINE, 28 * FINE), Image.Resampling.BICUBIC)
    inside = np.asarray(large) > 110
    signed: Sheet = np.sqrt(mahotas.distance(~inside)) - np.sqrt(mahotas.distance(inside))
    return signed
