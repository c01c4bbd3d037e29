"""What a report is about: a network, the digits that it is looked at with, and its answers, each found once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from service.imaging.decode import decode
from service.imaging.normalise import normalise
from training.data import Dataset, Digits
from training.photos import render
from training.report.evaluate import spread
from training.report.measures import Measures, measure
from training.report.network import Answers, Network, Probabilities

PHOTOS = 600
MAX_PICTURE_PIXELS = 50_000_000


@dataclass(frozen=True)
class Subject:
    """A network and the digits that it is looked at with. `test` is what a limit left of the test set."""

    network: Network
    dataset: Dataset
    test: Digits

    @cached_property
    def test_answers(self) -> Answers:
        return self.network.answer(self.test.images)

    @cached_property
    def training_answers(self) -> Probabilities:
        return self.network.answer(self.dataset.training.images).probabilities

    @cached_property
    def test_measures(self) -> Measures:
        return measure(self.test_answers.probabilities, self.test.labels)

    @cached_property
    def training_measures(self) -> Measures:
        return measure(self.training_answers, self.dataset.training.labels)

    @cached_property
    def photos(self) -> Digits:
        """Test digits drawn on paper, photographed, scanned; then as the service's `normalise` hands them on."""
        chosen = spread(self.test, PHOTOS)
        rng = np.random.default_rng(0)
        files = (render(image, rng) for image in chosen.images)
        pixels = [normalise(decode(file, max_pixels=MAX_PICTURE_PIXELS)).pixels for file in files]
        return Digits(np.stack(pixels), chosen.labels)
