"""A picture is judged alike alone and among many, and MNIST's convention is what was measured on MNIST."""

import numpy as np
import numpy.typing as npt
import pytest
from pictures import seven

from service.imaging import convention
from service.imaging.decode import Picture, from_pixels
from service.imaging.normalise import already_mnist, in_convention, normalise

RNG = np.random.default_rng(11)
DIGIT = normalise(from_pixels(seven(), max_pixels=10**8)).pixels
BLANK = np.zeros((28, 28), np.uint8)


def changed(rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """The digit, moved, paler, inverted, with a speck or cut: some keep the convention, some do not."""
    pixels = np.roll(DIGIT, rng.integers(-1, 2, 2), (0, 1)).copy()
    if rng.random() < 0.3:
        pixels = np.rint(pixels * rng.uniform(0.1, 1)).astype(np.uint8)
    if rng.random() < 0.2:
        pixels[tuple(rng.integers(0, 28, 2))] = rng.integers(1, 256)
    if rng.random() < 0.2:
        pixels[: rng.integers(0, 28)] = 0
    return 255 - pixels if rng.random() < 0.1 else pixels


def test_many_are_judged_as_each_is_alone() -> None:
    pictures = [changed(RNG) for _ in range(2000)]
    alone = [
        (placed := convention.place(pixels)) is not None and placed[1] == (convention.KEPT,) for pixels in pictures
    ]
    assert convention.keep(pictures) == alone
    assert 200 < sum(alone) < 1800


def test_together_they_come_out_as_they_do_alone() -> None:
    pictures = [Picture(changed(RNG), ("exif_rotated_90",)) for _ in range(200)]
    for picture, found in zip(pictures, already_mnist(pictures), strict=True):
        if found is not None:
            assert in_convention(picture) == found
            assert found.pixels is picture.pixels


def test_pictures_of_other_sizes_and_what_is_no_picture_are_left_out() -> None:
    found = already_mnist([None, Picture(DIGIT), Picture(DIGIT[1:]), None])
    assert [one is not None for one in found] == [False, True, False, False]
    assert already_mnist([None]) == [None]


@pytest.mark.parametrize(
    "pixels",
    [
        pytest.param(BLANK, id="black"),
        pytest.param(BLANK + 255, id="white"),
        pytest.param(np.roll(DIGIT, 2, 1), id="moved"),
        pytest.param(255 - DIGIT, id="inverted"),
        pytest.param(DIGIT // 2, id="pale"),
        pytest.param(np.maximum(DIGIT, np.eye(28, dtype=np.uint8)), id="ink in the corners"),
    ],
)
def test_what_does_not_keep_the_convention(pixels: npt.NDArray[np.uint8]) -> None:
    assert convention.keep([DIGIT, pixels]) == [True, False]
