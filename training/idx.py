"""Reads the IDX files that MNIST comes in, gzipped or not, and checks all that they say of themselves.

Format: http://yann.lecun.com/exdb/mnist, "FILE FORMATS FOR THE MNIST DATABASE".
"""

from __future__ import annotations

import gzip
import hashlib
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from training.errors import DataError

IMAGES, LABELS = 0x0803, 0x0801  # unsigned bytes in three dimensions, in one
GZIP_MAGIC = b"\x1f\x8b"

# sha256 of MNIST's four files, unpacked; a file of the same length that is not the same is damaged, or not MNIST.
PUBLISHED = {
    "train-images": (47_040_016, "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"),
    "train-labels": (60_008, "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"),
    "t10k-images": (7_840_016, "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"),
    "t10k-labels": (10_008, "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"),
}


def find_idx(folder: Path, name: str) -> Path | None:
    """The file of this folder for, say, "train-images", in any of the spellings that circulate."""
    dimensions = 3 if name.endswith("images") else 1
    for separator in ("-", "."):
        for suffix in (".gz", ""):
            path = folder / f"{name}{separator}idx{dimensions}-ubyte{suffix}"
            if path.is_file():
                return path
    return None


def read_idx(folder: Path, name: str) -> npt.NDArray[np.uint8]:
    """Images (n, 28, 28) or labels (n,).

    Raises:
        DataError: the file is missing or damaged, or does not hold what its header says.
    """
    path = find_idx(folder, name)
    if path is None:
        raise DataError(f"{folder} has no {name}-idx{3 if name.endswith('images') else 1}-ubyte, with or without .gz.")
    content = unpack(path)
    shape = _shape(path, content, IMAGES if name.endswith("images") else LABELS)
    _check_published(path, content, name)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * len(shape)).reshape(shape)


def unpack(path: Path) -> bytes:
    """The file's content, gunzipped where it is gzipped."""
    try:
        content = path.read_bytes()
        return gzip.decompress(content) if content.startswith(GZIP_MAGIC) else content
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path} is damaged, download it again: {error}") from None
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from None


def _shape(path: Path, content: bytes, expected: int) -> tuple[int, ...]:
    dimensions = expected & 0xFF
    header = np.frombuffer(content[: 4 + 4 * dimensions], ">u4")
    if len(header) != 1 + dimensions or header[0] != expected:
        raise DataError(f"{path} is not an IDX file of {'images' if dimensions > 1 else 'labels'}: wrong header.")
    shape = tuple(int(size) for size in header[1:])
    if shape[1:] not in ((), (28, 28)):
        raise DataError(f"{path} has images of {shape[1]} x {shape[2]} pixels, expected 28 x 28.")
    length = 4 + 4 * dimensions + int(np.prod(shape, dtype=np.int64))
    if len(content) != length:
        raise DataError(f"{path} has {len(content)} bytes, its header promises {length}: it is damaged or cut off.")
    return shape


def _check_published(path: Path, content: bytes, name: str) -> None:
    length, expected = PUBLISHED[name]
    digest = hashlib.sha256(content).hexdigest()
    if len(content) == length and digest != expected:
        raise DataError(
            f"{path} has a wrong checksum, it is damaged or not MNIST: "
            f"the sha256 of its content is {digest}, not {expected}."
        )
