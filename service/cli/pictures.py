"""The pictures that a command is about: files, folders, standard input, test digits."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from service.errors import InvalidValue

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff"}
STANDARD_INPUT = "-"
SHEET = Path(__file__).resolve().parent.parent / "web" / "samples.png"  # ten of MNIST's test digits of each class
SIDE = 28


class Source(NamedTuple):
    """A picture that is read when it is its turn; `read` raises OSError. `label` is its true digit, where known."""

    name: str
    read: Callable[[], bytes]
    label: int | None = None


def named(arguments: Sequence[str]) -> list[Source]:
    """What `FILE|DIR|-` name, folders with all the pictures below them in order. Files need not be there yet."""
    return [source for argument in arguments for source in _of(argument)]


def one(argument: str) -> Source:
    """What `FILE|-` names."""
    if Path(argument).is_dir():
        raise InvalidValue(f"{argument} is a folder: expected one picture. `digits predict` reads folders.")
    return named([argument])[0]


def _of(argument: str) -> Iterator[Source]:
    path = Path(argument)
    if argument == STANDARD_INPUT:
        yield Source(STANDARD_INPUT, sys.stdin.buffer.read)
    elif path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())
        if not files:
            raise InvalidValue(f"{path} holds no picture: expected {', '.join(sorted(SUFFIXES))} in it or below.")
        for file in files:
            yield Source(str(file), file.read_bytes)
    else:
        yield Source(argument, path.read_bytes)


def random_digits(count: int, seed: int | None, data: Path | None) -> list[Source]:
    """Test digits at random, none twice. Without `data`, those that come with the service.

    Raises:
        InvalidValue: there are not so many.
        TrainingError: `data` cannot be read.
    """
    images, labels = _bundled() if data is None else _test_set(data)
    if count > len(labels):
        more = " More come with --data, such as MNIST's IDX files." if data is None else ""
        raise InvalidValue(f"--n {count}: there are {len(labels)} test digits.{more}")
    chosen = np.random.default_rng(seed).choice(len(labels), count, replace=False)
    return [_source(int(index), images[index], int(labels[index])) for index in chosen]


def _source(index: int, image: npt.NDArray[np.uint8], label: int) -> Source:
    file = BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return Source(f"test digit {index}", file.getvalue, label)


def _bundled() -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    sheet = np.asarray(Image.open(SHEET).convert("L"))
    rows, columns = sheet.shape[0] // SIDE, sheet.shape[1] // SIDE
    images = sheet.reshape(rows, SIDE, columns, SIDE).swapaxes(1, 2).reshape(-1, SIDE, SIDE)
    return images, np.repeat(np.arange(rows), columns)


def _test_set(data: Path) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    from training.data import load

    digits = load(data).test
    return digits.images, digits.labels
