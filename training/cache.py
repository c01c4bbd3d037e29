"""Images that take minutes to make, kept on disk under a name that tells what they were made of and by which code."""

from __future__ import annotations

import hashlib
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from training.data import Digits


def cached(
    folder: Path, name: str, digits: Digits, sources: Iterable[Path], make: Callable[[], npt.NDArray[Any]]
) -> npt.NDArray[Any]:
    """What `make` returns for these digits; read from `folder` where the same code in `sources` has made it before."""
    key = hashlib.sha256(np.ascontiguousarray(digits.images).tobytes() + digits.labels.tobytes())
    for source in sources:
        key.update(source.read_bytes())
    file = folder / f"{name}-{key.hexdigest()[:16]}.npy"
    if not file.is_file():
        print(f"Making {file} (once)", file=sys.stderr, flush=True)
        folder.mkdir(parents=True, exist_ok=True)
        _write(file, make())
    # Mapped, since teachers' copies of the digits are gigabytes: the kernel lets go of what it needs elsewhere.
    images: npt.NDArray[Any] = np.load(file, mmap_mode="r")
    return images


def _write(file: Path, images: npt.NDArray[Any]) -> None:
    """Whole or not at all: two runs may make the same at once."""
    with tempfile.NamedTemporaryFile(dir=file.parent, suffix=".writing", delete=False) as staging:
        np.save(staging, images)
    Path(staging.name).replace(file)
