"""What probabilities are worth: verdicts, reasons, prediction sets."""

import numpy as np
import pytest
from conftest import strokes

from service.imaging.normalise import Normalised
from service.inference.card import Conformal, Level
from service.inference.predictor import Prediction, read_rows
from service.inference.verdict import has_several_marks, prediction_set

SURE = [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.99, 0.0, 0.01]
TORN = [0.0, 0.5, 0.0, 0.0, 0.0, 0.0, 0.0, 0.45, 0.0, 0.05]
IMAGE = Normalised(strokes())


def judge(row: list[float], score: float | None = None, image: Normalised = IMAGE) -> Prediction:
    told = [row if score is None else [*row, score]]
    return read_rows(told, [image])[0]


def two_marks() -> np.ndarray:
    pixels = np.zeros((28, 28), np.uint8)
    pixels[8:20, 6:9] = pixels[8:20, 18:21] = 255
    return pixels


def test_a_clear_digit_is_a_digit_with_or_without_a_score() -> None:
    assert judge(SURE) == Prediction(7, 0.99, SURE, "digit", None, None)
    assert judge(SURE, 0.2) == Prediction(7, 0.99, SURE, "digit", None, 0.2)


def test_a_digit_that_could_be_another_is_uncertain() -> None:
    found = judge(TORN, 0.2)
    assert (found.verdict, found.reason) == ("uncertain", "ambiguous")
    assert judge(TORN, 0.2).digit == 1


def test_a_faint_chance_of_many_digits_is_not_ambiguous() -> None:
    row = [0.02] * 10
    row[4] = 0.82
    found = judge(row)
    assert (found.verdict, found.reason) == ("digit", None)


def test_what_the_network_does_not_know_is_no_digit_however_sure_it_sounds() -> None:
    refused = judge(SURE, 0.51)
    assert (refused.digit, refused.verdict, refused.reason) == (None, "not_a_digit", "out_of_distribution")
    assert refused.confidence == 0.99
    assert judge(SURE, 0.5).verdict == "digit"


def test_a_blank_picture_is_told_as_blank_whatever_the_network_says() -> None:
    blank = Normalised(np.zeros((28, 28), np.uint8), (), ("blank",))
    found = judge(SURE, 0.0, blank)
    assert (found.verdict, found.reason) == ("not_a_digit", "blank")
    assert judge(SURE, None, blank).reason == "blank"


def test_other_warnings_do_not_make_a_digit_less_of_one() -> None:
    assert judge(SURE, 0.1, Normalised(strokes(), (), ("touches_border", "low_contrast"))).verdict == "digit"


def test_refused_pixels_with_several_marks_are_told_as_such() -> None:
    assert judge(SURE, 0.9, Normalised(two_marks())).reason == "several_marks"
    assert judge(SURE, 0.1, Normalised(two_marks())).verdict == "digit"


def test_a_dot_or_a_broken_stroke_is_no_second_mark() -> None:
    dotted = two_marks()
    dotted[10:, 18:] = 0
    assert not has_several_marks(dotted)
    assert not has_several_marks(np.zeros((28, 28), np.uint8))
    assert has_several_marks(two_marks())


@pytest.mark.parametrize(
    ("coverage", "digits"), [(0.3, [1]), (0.5, [1]), (0.9, [1, 7]), (0.95, [1, 7]), (0.96, [1, 7, 9])]
)
def test_without_thresholds_the_set_is_the_fewest_digits_that_sum_to_the_coverage(
    coverage: float, digits: list[int]
) -> None:
    assert prediction_set(TORN, None, coverage, None) == digits


def test_a_set_follows_the_thresholds_of_its_coverage() -> None:
    conformal = Conformal([Level(0.9, 0.6, 0.1), Level(0.99, 0.2, 0.4), Level(0.999, 0.01, 0.9)])
    assert prediction_set(TORN, 0.3, 0.9, conformal) == []
    assert prediction_set(TORN, 0.05, 0.9, conformal) == [1]
    assert prediction_set(TORN, 0.3, 0.95, conformal) == [1, 7]
    assert prediction_set(TORN, 0.3, 0.999, conformal) == [1, 7, 9]
    assert prediction_set(TORN, 0.3, 0.9999, conformal)[:3] == [1, 7, 9]
    assert len(prediction_set(TORN, 0.3, 0.9999, conformal)) == 10
    assert prediction_set(SURE, None, 0.9, conformal) == [7]
