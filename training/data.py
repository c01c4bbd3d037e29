"""Digits from wherever they lie, as checked arrays, and their split into parts that never mix.

Whatever is wrong with the data, the caller gets one `DataError` that names the file.
"""

from __future__ import annotations

import hashlib
import json
import re
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from training.backend import start_keras
from training.errors import DataError as DataError  # noqa: PLC0414 - callers catch it from here
from training.idx import find_idx, read_idx

Pixels = npt.NDArray[np.uint8]  # (n, 28, 28), 0 background to 255 ink
Labels = npt.NDArray[np.uint8]  # (n,), 0 to 9

NO_DIGIT = 10  # labels an image that holds none; no data set does, `training.material` adds such images
MINIMUM_TRAINING_IMAGES = 20
DOWNLOAD_TIMEOUT_S = 30
STRIP_TEST_SHARE = 30  # one row of 30: document 000 keeps 100 of its 3,000 for the test


@dataclass(frozen=True)
class Digits:
    """Images and their labels, of one length."""

    images: Pixels
    labels: Labels

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: npt.NDArray[np.integer]) -> Digits:
        return Digits(self.images[indices], self.labels[indices])

    def joined(self, others: Digits) -> Digits:
        return Digits(np.concatenate([self.images, others.images]), np.concatenate([self.labels, others.labels]))


@dataclass(frozen=True)
class Dataset:
    """What a run is given: `training` images, which it may split, and `test` images, which it looks at once."""

    source: str
    training: Digits
    test: Digits

    @property
    def digest(self) -> str:
        """sha256 of all pixels and labels in order."""
        digest = hashlib.sha256()
        for part in (self.training, self.test):
            digest.update(np.ascontiguousarray(part.images).tobytes() + part.labels.tobytes())
        return digest.hexdigest()

    def limit(self, count: int) -> Dataset:
        """The first `count` images of each part."""
        first = np.arange(count)
        return Dataset(
            self.source, self.training.take(first[: len(self.training)]), self.test.take(first[: len(self.test)])
        )


@dataclass(frozen=True)
class Split:
    """The training images in three: for the fit, to watch it by (or choose its best epoch), and to calibrate by."""

    training: Digits
    validation: Digits
    calibration: Digits


def split(digits: Digits, validation: float, calibration: float, seed: int) -> Split:
    """Cuts shuffled images into three parts; `validation` and `calibration` are shares of the whole.

    Raises:
        DataError: too few images to hold any back.
    """
    if len(digits) < MINIMUM_TRAINING_IMAGES:
        raise DataError(f"{len(digits)} training images are too few: at least {MINIMUM_TRAINING_IMAGES} are needed.")
    order = np.random.default_rng(seed).permutation(len(digits))
    sizes = [max(1, round(len(digits) * share)) for share in (validation, calibration)]
    first, second, rest = np.split(order, np.cumsum(sizes))
    return Split(digits.take(rest), digits.take(first), digits.take(second))


def load(path: Path | None) -> Dataset:
    """MNIST through Keras, or what lies at `path`: IDX files, a folder of PNGs, a strip picture with its labels.

    Raises:
        DataError: nothing there, or not what it says it is.
    """
    if path is None:
        dataset = _download()
    elif not path.exists():
        raise DataError(f"{path} does not exist.")
    elif path.is_file():
        dataset = _strip(path)
    elif any(find_idx(path, name) for name in ("train-images", "train-labels", "t10k-images", "t10k-labels")):
        dataset = _idx(path)
    elif (path / "train").is_dir() or (path / "test").is_dir():
        dataset = Dataset(str(path), _folder(path / "train"), _folder(path / "test"))
    elif (path / "strip.png").is_file():
        dataset = _strip(path / "strip.png")
    else:
        raise DataError(
            f"{path} holds no digits: expected MNIST's IDX files, folders train/ and test/ of PNGs, or strip.png."
        )
    for part in (dataset.training, dataset.test):
        _check(dataset.source, part)
    return dataset


def _check(source: str, digits: Digits) -> None:
    if len(digits.images) != len(digits.labels):
        raise DataError(f"{source} has {len(digits.images)} images but {len(digits.labels)} labels.")
    if not len(digits):
        raise DataError(f"{source} has an empty training or test set.")
    if digits.labels.max() > 9:
        index = int(digits.labels.argmax())
        raise DataError(f"{source} has the label {digits.labels[index]} (image {index}): labels are 0 to 9.")


def _download() -> Dataset:
    start_keras()
    import keras

    timeout = socket.getdefaulttimeout()
    socket.setdefaulttimeout(DOWNLOAD_TIMEOUT_S)  # Keras sets none: behind a silent firewall it would wait for minutes
    try:
        (images, labels), (test_images, test_labels) = keras.datasets.mnist.load_data()
    except Exception as error:  # noqa: BLE001 - Keras raises a bare Exception
        reason = " ".join(str(error).split())
        raise DataError(
            f"MNIST cannot be downloaded ({reason}). Give files that you have with --data PATH: "
            "the four IDX files, folders train/ and test/ of PNGs, or a strip picture."
        ) from None
    finally:
        socket.setdefaulttimeout(timeout)
    return Dataset("keras.datasets.mnist", Digits(images, labels), Digits(test_images, test_labels))


def _idx(folder: Path) -> Dataset:
    training, test = (
        Digits(read_idx(folder, f"{part}-images"), read_idx(folder, f"{part}-labels")) for part in ("train", "t10k")
    )
    return Dataset(str(folder), training, test)


def _folder(folder: Path) -> Digits:
    paths = sorted(path for path in folder.glob("*") if path.suffix.lower() == ".png")
    if not paths:
        raise DataError(f"{folder} has no PNG files; their names should begin with the label, as 7_000123.png.")
    for path in paths:
        if not re.match(r"[0-9](?![0-9]+[_-])", path.name):
            raise DataError(f"{path.name} in {folder} does not begin with its label, one digit 0 to 9.")
    images = [_picture(path) for path in paths]
    for path, image in zip(paths, images, strict=True):
        if image.shape != (28, 28):
            raise DataError(f"{path} has {image.shape[1]} x {image.shape[0]} pixels, expected 28 x 28.")
    return Digits(np.stack(images), np.array([int(path.name[0]) for path in paths], np.uint8))


def _strip(path: Path) -> Dataset:
    """Rows of 784 pixels, a digit each; the last one of thirty are the test set."""
    pixels = _picture(path)
    if pixels.shape[1] != 784:
        raise DataError(f"{path} is {pixels.shape[1]} pixels wide; a strip has rows of 784, one digit each.")
    digits = Digits(pixels.reshape(-1, 28, 28), _strip_labels(path))
    _check(str(path), digits)
    first_test = len(digits) - max(1, len(digits) // STRIP_TEST_SHARE)
    return Dataset(str(path), digits.take(np.arange(first_test)), digits.take(np.arange(first_test, len(digits))))


def _strip_labels(strip: Path) -> Labels:
    names = (f"{strip.stem}.json", "labels.json", "labels.txt")
    path = next((strip.with_name(name) for name in names if strip.with_name(name).is_file()), None)
    if path is None:
        raise DataError(f"{strip} has no labels beside it: expected {', '.join(names)}, a JSON list of digits.")
    try:
        labels: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is not a JSON list of labels: {error}") from None
    if not isinstance(labels, list):
        raise DataError(f"{path} is not a JSON list of labels.")
    for index, label in enumerate(labels):
        if type(label) is not int or not 0 <= label <= 9:
            raise DataError(
                f"{path} has the label {json.dumps(label)} (image {index}): labels are whole numbers 0 to 9."
            )
    return np.array(labels, np.uint8)


def _picture(path: Path) -> Pixels:
    try:
        with Image.open(path) as picture:
            return np.asarray(picture.convert("L"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{path} is not a picture that can be read: {error}") from None
