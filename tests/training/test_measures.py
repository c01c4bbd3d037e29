import numpy as np
import pytest

from training.report.measures import measure, reliability


def answers(digits: list[int], confidence: float = 0.91) -> np.ndarray:
    """Probabilities that name these digits with this confidence."""
    probabilities = np.full((len(digits), 10), (1 - confidence) / 9, np.float32)
    probabilities[np.arange(len(digits)), digits] = confidence
    return probabilities


def test_figures_of_answers_that_can_be_counted_by_hand():
    measures = measure(answers([0, 1, 1, 9]), np.array([0, 1, 9, 9], np.uint8))
    assert (measures.images, measures.accuracy) == (4, 0.75)
    assert measures.loss == pytest.approx(-(3 * np.log(0.91) + np.log(0.01)) / 4, rel=1e-5)
    one, nine = measures.classes[1], measures.classes[9]
    assert (one.precision, one.recall, one.images) == (0.5, 1.0, 1)
    assert (nine.precision, nine.recall, nine.f1) == (1.0, 0.5, pytest.approx(2 / 3))
    assert measures.confusion[9].tolist() == [0, 1, 0, 0, 0, 0, 0, 0, 0, 1]


def test_digits_without_an_image_have_figures_of_0_and_no_warning():
    measures = measure(answers([3, 3]), np.array([3, 3], np.uint8))
    assert [digit.images for digit in measures.classes] == [0, 0, 0, 2, 0, 0, 0, 0, 0, 0]
    assert measures.classes[0].f1 == 0


def test_r2_takes_digits_for_numbers():
    labels = np.array([0, 5, 9], np.uint8)
    assert measure(answers([0, 5, 9]), labels).r2 == 1
    assert measure(answers([1, 5, 9]), labels).r2 > measure(answers([9, 5, 9]), labels).r2


def test_certainty_of_a_wrong_answer_costs_much_but_not_everything():
    probabilities = np.eye(10, dtype=np.float32)[[4]]
    assert 10 < measure(probabilities, np.array([5], np.uint8)).loss < 20


def test_a_reliability_diagram_groups_answers_of_like_confidence():
    probabilities = np.concatenate([answers([1] * 10, 0.55), answers([2] * 10, 0.95)])
    labels = np.array([1] * 5 + [0] * 5 + [2] * 10, np.uint8)
    low, high = reliability(probabilities, labels)
    assert (low.accuracy, low.images) == (0.5, 10)
    assert low.confidence == pytest.approx(0.55)
    assert (high.accuracy, high.images) == (1.0, 10)


def test_full_certainty_belongs_to_the_last_group():
    (only,) = reliability(np.eye(10, dtype=np.float32), np.arange(10, dtype=np.uint8))
    assert only == (1.0, 1.0, 10)
