"""Pictures of everything but one digit, by family, seeded: what a network is to refuse, for its fit and for its test.

Images are uint8 (n, 28, 28), light ink on black, as the service hands them to a network: in MNIST's 20 x 20 box where
`service.imaging` would put them there, and some raw, as `preprocess=none` takes them. `HELD_OUT` is for no fit, ever.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import numpy.typing as npt

from training.errors import TrainingError
from training.outliers import garments, glyphs, mutilated, scenes, strokes, surfaces
from training.outliers.placing import raw_and_worn

Images = npt.NDArray[np.uint8]  # (n, 28, 28), 0 background to 255 ink
Labels = npt.NDArray[np.integer]  # (n,)
Family = Callable[[int, Images, Labels, np.random.Generator], Images]


def _drawn(draw: Callable[[int, np.random.Generator], Images]) -> Family:
    """A family that needs no digits; a part of its images is moved and resized off the box, and worn."""
    return lambda n, _digits, _labels, rng: raw_and_worn(draw(n, rng), rng)


def _from_digits(draw: Callable[[int, Images, Labels, np.random.Generator], Images]) -> Family:
    return lambda n, digits, labels, rng: raw_and_worn(draw(n, digits, labels, rng), rng)


def _as_it_comes(draw: Callable[[int, np.random.Generator], Images]) -> Family:
    return lambda n, _digits, _labels, rng: draw(n, rng)


FAMILIES: dict[str, Family] = {
    "letters": _drawn(partial(glyphs.draw, "letters")),
    "scripts": _drawn(partial(glyphs.draw, "scripts")),
    "symbols": _drawn(partial(glyphs.draw, "symbols")),
    "scribbles": _drawn(strokes.scribbles),
    "shapes": _drawn(strokes.shapes),
    "several_digits": _from_digits(mutilated.several),
    "spliced_digits": _from_digits(mutilated.spliced),
    "warped_digits": _from_digits(mutilated.warped),
    "garments": _as_it_comes(garments.draw),
    "textures": _as_it_comes(surfaces.textures),
    "noise": _as_it_comes(surfaces.noise),
    "blank": _as_it_comes(surfaces.blank),
    "unseen_scripts": _drawn(partial(glyphs.draw, "unseen_scripts")),
    "stars": _drawn(strokes.stars),
    "weaves": _as_it_comes(surfaces.weaves),
    "scenes": _as_it_comes(scenes.draw),
}
HELD_OUT = ("unseen_scripts", "stars", "weaves", "scenes")
# Parts a family has of a draw, where not 1: what looks most like digits is learnt last.
PARTS = {"letters": 4, "scripts": 3, "garments": 4, "textures": 2, "blank": 0.25}
TRAINED = tuple(name for name in FAMILIES if name not in HELD_OUT)


def draw(
    n: int, digits: Images, labels: Labels, rng: np.random.Generator, families: Sequence[str] = TRAINED
) -> tuple[Images, npt.NDArray[np.intp]]:
    """`n` images, shuffled, of each family as `PARTS` says, and for each the index of its family in `families`.

    `digits` (m, 28, 28) with their `labels` are what some families cut up: those of the fit for a fit.

    Raises:
        TrainingError: no such family.
    """
    if unknown := [name for name in families if name not in FAMILIES]:
        raise TrainingError(f"No family of outliers {unknown[0]!r}. There are: {', '.join(FAMILIES)}.")
    ends = np.cumsum([PARTS.get(name, 1.0) for name in families])
    family = rng.permutation(np.searchsorted(ends, (np.arange(n) + 0.5) / n * ends[-1]))
    images = np.zeros((n, 28, 28), np.uint8)
    for index, name in enumerate(families):
        chosen = np.flatnonzero(family == index)
        if chosen.size:
            images[chosen] = FAMILIES[name](len(chosen), digits, labels, rng)
    return images, family
