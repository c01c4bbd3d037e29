"""What a fit is shown: batches drawn and augmented from a seed, or a lesson that teachers prepared.

Every random number comes from (seed, epoch, batch), so that a resumed fit goes on as if it had not stopped.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import keras
import numpy as np
import numpy.typing as npt

from training.augmentation import Augmentation, augment
from training.data import NO_DIGIT, Digits, Pixels
from training.losses import targets
from training.recipe import Recipe

# What a lesson's copies are changed by each time they are shown: too little for what was said of them to be wrong.
# The same copies again and again are learnt by heart (docs/log.md, 2026-11-28).
JITTER = Augmentation(rotation=5, shear=4, zoom=0.05, aspect=0.05, shift=0.7, elastic=0.5, mild=0.3)
Batch = tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]


@dataclass(frozen=True)
class Lesson:
    """Augmented `images` (copies, n, 28, 28) of n digits, and what teachers say of each: `targets` (copies, n, 10)."""

    images: Pixels
    targets: npt.NDArray[np.float32]

    def take(self, epoch: int, digits: npt.NDArray[np.integer]) -> tuple[Pixels, npt.NDArray[np.float32]]:
        """Some of the digits as this epoch shows them."""
        copy = epoch % len(self.images)
        return self.images[copy, digits], self.targets[copy, digits]


class Batches(keras.utils.PyDataset):  # type: ignore[misc]
    """A shuffled pass over the digits an epoch: pixels (b, 28, 28) in 0..255 and targets (b, 10) or (b, 11).

    Images labelled `NO_DIGIT`, after all digits, take part in turns: each epoch draws a share of the digits' number of
    them. A `lesson` takes the place of the digits and their labels.
    """

    def __init__(self, digits: Digits, recipe: Recipe, seed: int, lesson: Lesson | None = None) -> None:
        super().__init__()
        self._digits = digits
        self._recipe = recipe
        self._lesson = lesson
        self.seed = seed
        self._outliers = np.flatnonzero(digits.labels == NO_DIGIT)
        self._inliers = np.flatnonzero(digits.labels != NO_DIGIT)
        self.start(0)

    def start(self, epoch: int) -> None:
        """Call before each epoch. Keras' own hook for it is called more than once an epoch, and ahead of time."""
        self._epoch = epoch
        rng = np.random.default_rng([self.seed, epoch])
        drawn = rng.permutation(self._outliers)[: round(self._recipe.outliers * len(self._inliers))]
        self._order = rng.permutation(np.concatenate([self._inliers, drawn]))

    def sample(self, count: int) -> Pixels:
        """The epoch's first images, in whole grey levels."""
        batches = [self[index][0] for index in range(min(len(self), math.ceil(count / self._recipe.batch_size)))]
        return np.rint(np.concatenate(batches)[:count]).astype(np.uint8)

    def __len__(self) -> int:
        return math.ceil(len(self._order) / self._recipe.batch_size)

    def __getitem__(self, index: int) -> Batch:
        size = self._recipe.batch_size
        order = self._order[index * size : (index + 1) * size]
        taught = order < len(self._inliers)
        digits = self._digits.take(order)
        rows = targets(digits.labels, self._recipe)
        if self._recipe.augmentation is None:
            return digits.images.astype(np.float32), rows
        rng = np.random.default_rng([self.seed, self._epoch, index])
        if self._lesson is None:
            return augment(digits.images, digits.labels, self._recipe.augmentation, rng), rows
        images = np.empty(digits.images.shape, np.float32)
        others = digits.take(np.flatnonzero(~taught))
        images[~taught] = augment(others.images, others.labels, self._recipe.augmentation, rng)
        copies, rows[taught, :10] = self._lesson.take(self._epoch, order[taught])
        images[taught] = augment(copies, digits.labels[taught], JITTER, rng)
        return images, rows
