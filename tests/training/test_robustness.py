from pathlib import Path

import numpy as np
import pytest
from digit_files import draw
from networks import write_linear_model

from service.imaging.decode import Picture
from service.imaging.normalise import normalise
from training.report.network import open_network
from training.report.robustness import CONDITIONS, measure_robustness, rotate, scale, shift, widen

DIGIT = draw(9).images[8]  # an eight: each of its strokes is there


def rng() -> np.random.Generator:
    return np.random.default_rng(3)


def centre(image: np.ndarray) -> np.ndarray:
    return (np.indices(image.shape) * image).sum(axis=(1, 2)) / image.sum()


def test_a_shift_moves_a_digit_by_whole_pixels_along_both_axes():
    moved = centre(shift(DIGIT, rng(), least=3, most=3)) - centre(DIGIT)
    assert np.abs(moved) == pytest.approx([3, 3], abs=0.01)


def test_a_turn_keeps_the_middle_and_most_of_the_ink():
    turned = rotate(DIGIT, rng(), least=20, most=20)
    assert centre(turned) == pytest.approx(centre(DIGIT), abs=0.5)
    assert turned.sum() == pytest.approx(DIGIT.sum(), rel=0.05)
    assert np.abs(turned.astype(int) - DIGIT).max() > 100


@pytest.mark.parametrize("factor", [0.7, 1.3])
def test_scaling_changes_the_height_by_its_factor(factor):
    rows = [
        np.flatnonzero(image.max(axis=1) > 100) for image in (DIGIT, scale(DIGIT, rng(), least=factor, most=factor))
    ]
    heights = [np.ptp(row) + 1 for row in rows]
    assert heights[1] == pytest.approx(factor * heights[0], abs=1.5)


def test_strokes_grow_and_shrink_and_none_is_lost():
    thick, thin = widen(DIGIT, rng(), pixels=1), widen(DIGIT, rng(), pixels=-1)
    assert thick.sum() > 1.2 * DIGIT.sum()
    assert thin.sum() < 0.8 * DIGIT.sum()
    assert ((thin > 60).any(axis=1) == (DIGIT > 128).any(axis=1)).mean() > 0.9


@pytest.mark.parametrize("condition", CONDITIONS, ids=lambda condition: f"{condition.name} {condition.severity}")
def test_every_change_makes_a_picture_that_the_service_can_normalise(condition):
    picture = condition.change(DIGIT, rng())
    assert picture.dtype == np.uint8
    assert normalise(Picture(picture)).pixels.shape == (28, 28)


def test_the_same_digits_give_the_same_rows(tmp_path: Path):
    write_linear_model(tmp_path / "cnn" / "1")
    network, digits = open_network(tmp_path, "cnn"), draw(20)
    some = tuple(condition for condition in CONDITIONS if condition.name in ("unchanged", "rotated", "noise"))
    first, second = (list(measure_robustness(network, digits, some)) for _ in range(2))
    assert first == second
    assert {row.images for row in first} == {20}


def test_moved_and_inverted_digits_are_read_as_if_they_were_not(tmp_path: Path):
    write_linear_model(tmp_path / "cnn" / "1")
    network, digits = open_network(tmp_path, "cnn"), draw(50)
    some = tuple(c for c in CONDITIONS if c.name in ("unchanged", "inverted") or c.severity == "up to 4 px")
    accuracies = {row.condition.name: row.accuracy for row in measure_robustness(network, digits, some)}
    assert accuracies["inverted"] == pytest.approx(accuracies["unchanged"], abs=0.05)
    assert accuracies["shifted"] == pytest.approx(accuracies["unchanged"], abs=0.1)
