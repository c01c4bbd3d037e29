"""Test digits changed as the world changes them, and how many are still read, through the service's `normalise`.

These changes are made here anew, not by the training's augmentation: a network is not to be tested on its own medicine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import mahotas
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from service.imaging.decode import Picture
from training.data import Digits
from training.report.network import Network

Grey = npt.NDArray[np.uint8]  # (height, width), light ink on black unless it says otherwise
Generator = np.random.Generator
Change = Callable[[Grey, Generator], Grey]

FINE = 4  # strokes change their width on a grid this much finer, as in Morpho-MNIST (arXiv:1809.10780)
PAPER_SIDE = 140


@dataclass(frozen=True)
class Condition:
    """One line of the table: what it is called, by how much, and how it is made. Lines of one `name` are one change.

    `size`, in `unit`, is the same for every image where it is given.
    """

    name: str
    severity: str
    change: Change
    size: float | None = None
    unit: str = ""


class Row(NamedTuple):
    """What came of one condition; `standard_error` is the binomial one."""

    condition: Condition
    accuracy: float
    images: int

    @property
    def standard_error(self) -> float:
        return float(np.sqrt(self.accuracy * (1 - self.accuracy) / self.images))

    def plain(self) -> dict[str, Any]:
        """For JSON and the card."""
        return {
            "change": self.condition.name,
            "severity": self.condition.severity,
            "accuracy": self.accuracy,
            "images": self.images,
        }


def unchanged(digit: Grey, rng: Generator) -> Grey:
    del rng
    return digit


def shift(digit: Grey, rng: Generator, *, least: int, most: int) -> Grey:
    """Along both axes by `least` to `most` pixels, either way; what leaves the frame is lost."""
    down, right = rng.integers(least, most + 1, 2) * rng.choice((-1, 1), 2)
    return np.asarray(Image.fromarray(digit).transform(
        (28, 28), Image.Transform.AFFINE, (1, 0, -int(right), 0, 1, -int(down))
    ))  # fmt: skip


def rotate(digit: Grey, rng: Generator, *, least: float, most: float) -> Grey:
    angle = rng.uniform(least, most) * rng.choice((-1, 1))
    return np.asarray(Image.fromarray(digit).rotate(angle, Image.Resampling.BICUBIC))


def scale(digit: Grey, rng: Generator, *, least: float, most: float) -> Grey:
    """The frame stays 28 x 28; the digit is scaled about its middle."""
    factor = 1 / rng.uniform(least, most)
    shift_ = 14 * (1 - factor)
    matrix = (factor, 0, shift_, 0, factor, shift_)
    return np.asarray(
        Image.fromarray(digit).transform((28, 28), Image.Transform.AFFINE, matrix, Image.Resampling.BICUBIC)
    )


def widen(digit: Grey, rng: Generator, *, pixels: float) -> Grey:
    """Strokes wider by `pixels` in all, or thinner where it is negative; at least a hairline stays."""
    del rng
    fine = np.asarray(Image.fromarray(digit).resize((28 * FINE, 28 * FINE), Image.Resampling.BICUBIC))
    reach = round(abs(pixels) * FINE / 2)
    disc = np.hypot(*np.mgrid[-reach : reach + 1, -reach : reach + 1]) <= reach
    if pixels > 0:
        changed = mahotas.dilate(fine, disc)
    else:
        skeleton = mahotas.thin(fine > 127)
        changed = np.maximum(mahotas.erode(fine, disc), np.where(skeleton, fine, 0))
    return np.asarray(Image.fromarray(changed).resize((28, 28), Image.Resampling.BOX))


def blur(digit: Grey, rng: Generator, *, sigma: float) -> Grey:
    del rng
    return np.asarray(Image.fromarray(digit).filter(ImageFilter.GaussianBlur(sigma)))


def add_noise(digit: Grey, rng: Generator, *, deviation: float) -> Grey:
    return np.rint(np.clip(digit + rng.normal(0, deviation, digit.shape), 0, 255)).astype(np.uint8)


def invert(digit: Grey, rng: Generator) -> Grey:
    del rng
    return np.subtract(255, digit, dtype=np.uint8)


def enlarge(digit: Grey, rng: Generator, *, side: int) -> Grey:
    del rng
    return np.asarray(Image.fromarray(digit).resize((side, side), Image.Resampling.BICUBIC))


def draw_on_paper(digit: Grey, rng: Generator, *, grain: float) -> Grey:
    """Dark ink on light paper whose fibres and blotches deviate by `grain` of its brightness."""
    ink = enlarge(digit, rng, side=PAPER_SIDE) / 255
    texture = np.mean([_spots(rng, size) for size in (1, 4, 20)], axis=0) * np.sqrt(3)
    paper = rng.uniform(180, 240) * (1 + grain * texture)
    drawn: Grey = np.rint(np.clip(paper * (1 - rng.uniform(0.5, 0.85) * ink), 0, 255)).astype(np.uint8)
    return drawn


def _spots(rng: Generator, size: int) -> npt.NDArray[np.float32]:
    """Noise of unit variance with spots of `size` px."""
    few = rng.standard_normal((PAPER_SIDE // size, PAPER_SIDE // size), dtype=np.float32)
    spots = np.asarray(Image.fromarray(few).resize((PAPER_SIDE, PAPER_SIDE), Image.Resampling.BICUBIC))
    result: npt.NDArray[np.float32] = spots / spots.std()
    return result


CONDITIONS = (
    Condition("unchanged", "", unchanged),
    Condition("shifted", "up to 4 px", partial(shift, least=0, most=4)),
    Condition("shifted", "4 px both ways", partial(shift, least=4, most=4)),
    Condition("rotated", "up to 20°", partial(rotate, least=0, most=20)),
    *(
        Condition("rotated", f"{angle}°", partial(rotate, least=angle, most=angle), angle, "degrees, either way")
        for angle in (10, 20, 30, 40)
    ),
    Condition("scaled", "0.7 to 1.3", partial(scale, least=0.7, most=1.3)),
    Condition("scaled", "0.7", partial(scale, least=0.7, most=0.7)),
    Condition("scaled", "1.3", partial(scale, least=1.3, most=1.3)),
    Condition("thicker", "1 px", partial(widen, pixels=1)),
    Condition("thicker", "2 px", partial(widen, pixels=2)),
    Condition("thinner", "1 px", partial(widen, pixels=-1)),
    Condition("blurred", "σ 1 px", partial(blur, sigma=1)),
    *(
        Condition(
            "noise", f"σ {deviation}", partial(add_noise, deviation=deviation), deviation, "standard deviation, of 255"
        )
        for deviation in (25, 50, 75, 100)
    ),
    Condition("inverted", "", invert),
    Condition("textured paper", "3 %", partial(draw_on_paper, grain=0.03)),
    Condition("textured paper", "6 %", partial(draw_on_paper, grain=0.06)),
    *(Condition("enlarged", f"{side} px", partial(enlarge, side=side)) for side in (200, 500, 1000, 2000)),
)


def measure_robustness(
    network: Network, digits: Digits, conditions: tuple[Condition, ...] = CONDITIONS
) -> Iterator[Row]:
    """A row for each condition as it is measured; the same digits give the same rows."""
    for place, condition in enumerate(conditions):
        rng = np.random.default_rng([0, place])
        answers = network.read(Picture(condition.change(image, rng)) for image in digits.images)
        right = answers.probabilities.argmax(axis=1) == digits.labels
        yield Row(condition, float(right.mean()), len(digits))
