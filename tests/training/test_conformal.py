import numpy as np
import pytest

from service.inference.card import Conformal, Level
from service.inference.verdict import prediction_set
from training import conformal


def answers(n: int, seed: int, accuracy: float = 0.99) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Probabilities, scores and labels of a network that is right in `accuracy`, more often where it is surer."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 1, (n, 10))
    labels = rng.integers(10, size=n)
    wrong = rng.random(n) > accuracy
    logits[np.arange(n), labels] += np.where(wrong, 3, rng.uniform(6, 14, n))
    logits[wrong, (labels[wrong] + 1) % 10] += rng.uniform(2, 5, wrong.sum())
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return probabilities.round(7), rng.beta(1, 30, n).round(7), labels


@pytest.mark.parametrize("with_scores", [True, False])
@pytest.mark.parametrize("coverage", conformal.REPORTED)
def test_new_digits_are_in_their_set_as_often_as_was_asked(with_scores, coverage):
    probabilities, scores, labels = answers(5000, 0)
    found = conformal.calibrate(probabilities, scores if with_scores else None, labels)
    new, new_scores, new_labels = answers(20_000, 1)
    rows = {
        row["coverage"]: row for row in conformal.measure(found, new, new_scores if with_scores else None, new_labels)
    }
    # Four standard deviations of 5,000 calibrating and 20,000 counted digits.
    slack = 4 * np.sqrt(coverage * (1 - coverage) * (1 / 5000 + 1 / 20_000))
    assert rows[coverage]["covered"] >= coverage - slack
    if with_scores:
        assert rows[coverage]["covered"] <= coverage + 1.5 * slack


def test_what_is_asked_for_is_kept_by_nine_of_ten_draws_of_calibrating_digits():
    kept = 0
    for draw in range(200):
        probabilities, scores, labels = answers(500, 100 + draw)
        found = conformal.calibrate(probabilities, scores, labels)
        rows = conformal.measure(found, *answers(4000, 1000 + draw))
        kept += rows[0]["covered"] >= 0.9  # of new digits, which add a little chance of their own
    assert 0.8 <= kept / 200 <= 0.96


def test_a_set_without_scores_is_never_empty():
    probabilities, _, labels = answers(2000, 2)
    found = conformal.calibrate(probabilities, None, labels)
    assert all(row["empty"] == 0 for row in conformal.measure(found, probabilities, None, labels))


def test_few_images_vouch_for_no_high_coverage():
    found = conformal.calibrate(*answers(200, 3))
    assert max(level["coverage"] for level in found["levels"]) == 0.985
    assert conformal.sets(found, 0.999, *answers(5, 4)[:2]).all()


@pytest.mark.parametrize("coverage", [0.5, 0.9, 0.95, 0.99, 0.999, 0.9999])
def test_the_service_answers_the_same_sets(coverage):
    found = conformal.calibrate(*answers(3000, 5))
    card = Conformal([Level(**level) for level in found["levels"]])
    probabilities, scores, _ = answers(300, 6, accuracy=0.8)
    together = conformal.sets(found, coverage, probabilities, scores)
    for inside, row, score in zip(together, probabilities, scores, strict=True):
        assert sorted(prediction_set(row.tolist(), float(score), coverage, card)) == np.flatnonzero(inside).tolist()
