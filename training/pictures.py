"""Training digits as the service sees them after somebody photographed, scanned, drew or stored them: rendered, then
read by the service's own `normalise`. Rendered once, on every core, and kept in a cache beside the checkpoints.
"""

from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from service.imaging.decode import decode
from service.imaging.normalise import normalise
from training import augmentation, bitmaps, ink, photos, scenery
from training.augmentation import Augmentation, augment
from training.cache import cached
from training.data import Digits, Pixels

CHUNK = 200  # digits a task
MAX_PIXELS = 10_000_000
# Other hands before other cameras: a rendered digit is not the one that the fit sees beside it.
HANDS = Augmentation(rotation=8, shear=10, aspect=0.2, elastic=0.8, serifs=0.2, upstrokes=0.3, mild=0.2)
# A condition's share of the pictures, 1 unless it stands here: what only moves or scales, and what costs much, less;
# few pixels, whose digits were refused most (docs/log.md, 2026-11-28), more.
SHARES = {
    "framed_20": 0.3,
    "framed_56": 0.3,
    "framed_280_inverted": 0.3,
    "inverted_28": 0.2,
    "moved_28": 0.2,
    "sixteen_bit": 0.3,
    "coloured_ink": 0.15,
    "chalk": 0.4,
    "squared_paper": 0.5,
    "ruled_paper": 0.5,
    "postal_16": 1.5,
    "stretched_16": 2.0,
    "binary_16": 3.0,
    "counts_8": 2.5,
    "form_box": 2.0,
}


def rendered(digits: Digits, folder: Path) -> Digits:
    """One picture of each digit under a condition of its own; kept in `folder` for the next run."""
    files = (augmentation.__file__, bitmaps.__file__, ink.__file__, photos.__file__, scenery.__file__, __file__)
    sources = [Path(file) for file in files]
    return Digits(cached(folder, "pictures", digits, sources, lambda: render_all(digits)), digits.labels)


def render_all(digits: Digits) -> Pixels:
    """As `rendered`, without a cache."""
    starts = range(0, len(digits), CHUNK)
    chunks = [(start, digits.take(np.arange(start, min(start + CHUNK, len(digits))))) for start in starts]
    processes = min(len(os.sched_getaffinity(0)), len(chunks))
    if processes == 1:
        return np.concatenate([render_chunk(*chunk) for chunk in chunks])
    # Not by fork: whoever calls may have threads, and a forked child could wait for their locks for ever.
    with ProcessPoolExecutor(processes, get_context("forkserver")) as pool:
        return np.concatenate(list(pool.map(render_chunk, *zip(*chunks, strict=True))))


def render_chunk(start: int, digits: Digits) -> Pixels:
    """Pictures (n, 28, 28) of n digits; `start` is the first one's place in the whole, which seeds them."""
    names = list(photos.CONDITIONS)
    shares = np.array([SHARES.get(name, 1.0) for name in names])
    rng = np.random.default_rng([start, len(digits)])
    hands = np.rint(augment(digits.images, digits.labels, HANDS, rng)).astype(np.uint8)
    conditions = rng.choice(names, len(digits), p=shares / shares.sum())
    pictures = [_seen(image, str(name), rng) for image, name in zip(hands, conditions, strict=True)]
    return np.stack(pictures)


def _seen(digit: ink.GreyImage, condition: str, rng: np.random.Generator) -> ink.GreyImage:
    """What `normalise` makes of the picture; the digit itself where that holds nothing."""
    file = photos.render(digit, rng, condition, quick=True)
    pixels: ink.GreyImage = normalise(decode(file, max_pixels=MAX_PIXELS)).pixels
    return pixels if pixels.any() else digit
