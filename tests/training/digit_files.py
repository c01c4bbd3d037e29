"""Digits that tests draw for themselves, and the files they come in."""

import gzip
import struct
from pathlib import Path

import numpy as np

from training.augmentation import segment
from training.data import Dataset, Digits

REPOSITORY = Path(__file__).resolve().parents[2]
SHARED_DATA = REPOSITORY.parent / "shared" / "data"

# A calculator's seven strokes, ((row, column) to (row, column)), and those that each digit lights.
STROKES = {
    "top": ((6, 10), (6, 18)),
    "middle": ((14, 10), (14, 18)),
    "bottom": ((22, 10), (22, 18)),
    "upper left": ((6, 10), (14, 10)),
    "upper right": ((6, 18), (14, 18)),
    "lower left": ((14, 10), (22, 10)),
    "lower right": ((14, 18), (22, 18)),
}
DARK = {
    0: {"middle"},
    1: {"top", "middle", "bottom", "upper left", "lower left"},
    2: {"upper left", "lower right"},
    3: {"upper left", "lower left"},
    4: {"top", "bottom", "lower left"},
    5: {"upper right", "lower left"},
    6: {"upper right"},
    7: {"middle", "bottom", "upper left", "lower left"},
    8: set(),
    9: {"lower left"},
}


def draw(count: int, seed: int = 0) -> Digits:
    """Calculator digits with a pen of random width, a little moved; labels run 0, 1, ... 9, 0, ..."""
    rng = np.random.default_rng(seed)
    images = np.zeros((count, 28, 28), np.uint8)
    labels = (np.arange(count) % 10).astype(np.uint8)
    for image, label in zip(images, labels, strict=True):
        dy, dx, width = rng.uniform(-1, 1), rng.uniform(-1, 1), rng.uniform(1.5, 3.5)
        for name in STROKES.keys() - DARK[int(label)]:
            start, end = (((row + dy), (column + dx)) for row, column in STROKES[name])
            np.maximum(image, segment(start, end, width).astype(np.uint8), out=image)
    return Digits(images, labels)


def drawn_dataset(training: int = 400, test: int = 100) -> Dataset:
    return Dataset("drawn", draw(training, seed=1), draw(test, seed=2))


def idx_bytes(array: np.ndarray) -> bytes:
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


def write_idx(folder: Path, dataset: Dataset, *, suffix: str = "", separator: str = "-") -> Path:
    """The four IDX files of `dataset` in `folder`; `suffix` ".gz" packs them."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, digits in (("train", dataset.training), ("t10k", dataset.test)):
        for kind, array in ((f"images{separator}idx3", digits.images), (f"labels{separator}idx1", digits.labels)):
            content = idx_bytes(array)
            packed = gzip.compress(content) if suffix else content
            (folder / f"{name}-{kind}-ubyte{suffix}").write_bytes(packed)
    return folder
