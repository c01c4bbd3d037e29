"""Ink on a sheet -> 28 x 28: into MNIST's box by the service's own functions, or off it, as a raw array may come."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from service.imaging.decode import from_pixels
from service.imaging.fit import boxed, centred
from service.imaging.normalise import normalise
from training.augmentation import Augmentation, blur, change_light, displacements, sample

Images = npt.NDArray[np.uint8]  # (n, 28, 28)
Sheets = Iterable[npt.NDArray[np.floating]]  # each (height, width), 0..1 ink

RAW_SHARE = 0.25  # of the images of a family: moved and resized as `preprocess=none` may see them
WORN_SHARE = 0.4  # blurred, paler or noisy
OFF_THE_BOX = Augmentation(zoom=0.4, aspect=0.2, shift=4.0)
WORN = Augmentation(contrast=0.4, noise=0.12)


def in_box(sheets: Sheets) -> Images:
    """Each sheet's ink in the 20 x 20 box with its centre of mass in the middle."""
    return np.stack([centred(boxed(np.asarray(sheet, np.float32))) for sheet in sheets])


def as_predicted(pictures: Iterable[npt.NDArray[np.uint8]]) -> Images:
    """Each picture (height, width) as `/predict` would hand it to the network."""
    return np.stack([normalise(from_pixels(picture, max_pixels=picture.size)).pixels for picture in pictures])


def raw_and_worn(images: Images, rng: np.random.Generator) -> Images:
    """A part of the images off the box, and a part, chosen apart from it, worn."""
    ink = images.astype(np.float32)
    raw = np.flatnonzero(rng.random(len(ink)) < RAW_SHARE)
    ink[raw] = sample(ink[raw], *displacements(OFF_THE_BOX, np.ones(len(raw), np.float32), rng))
    worn = np.flatnonzero(rng.random(len(ink)) < WORN_SHARE)
    strength = rng.random(len(worn), dtype=np.float32)
    ink[worn] = change_light(blur(ink[worn], 0.25 * strength), WORN, strength, rng)
    return np.rint(ink).astype(np.uint8)
