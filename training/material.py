"""What a recipe's fit is shown beside its training digits: rendered pictures of some, and pictures without a digit."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from training import outliers, pictures
from training.cache import cached
from training.data import NO_DIGIT, Digits
from training.recipe import Recipe

OUTLIER_EPOCHS = 6  # an epoch draws its outliers from this many times as many


def gather(digits: Digits, recipe: Recipe, folder: Path) -> tuple[Digits, Digits]:
    """The digits and pictures of the first of them, then a pool of outliers labelled `NO_DIGIT`; kept in `folder`."""
    shown, outliers = digits, digits.take(np.arange(0))
    if recipe.pictures:
        shown = shown.joined(pictures.rendered(digits.take(np.arange(round(recipe.pictures * len(digits)))), folder))
    if recipe.outliers:
        outliers = _outliers(digits, round(OUTLIER_EPOCHS * recipe.outliers * len(digits)), folder)
    return shown, outliers


def _outliers(digits: Digits, count: int, folder: Path) -> Digits:
    """Families that may be fitted alone, made of the fit's own digits where they are made of digits."""
    sources = sorted(Path(outliers.__file__).parent.glob("*.py"))
    images = cached(
        folder,
        f"outliers-{count}",
        digits,
        sources,
        lambda: outliers.draw(count, digits.images, digits.labels, np.random.default_rng(0))[0],
    )
    return Digits(images, np.full(len(images), NO_DIGIT, np.uint8))
