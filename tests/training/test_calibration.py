import numpy as np
import pytest

from training.calibration import FLOOR, expected_calibration_error, fit_temperature, log_softmax, probabilities


def sampled(temperature: float, n: int = 20_000) -> tuple[np.ndarray, np.ndarray]:
    """Logits and labels drawn from softmax(logits / temperature)."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 3, (n, 10))
    probabilities = np.exp(log_softmax(logits / temperature))
    labels = (probabilities.cumsum(axis=1) > rng.random((n, 1))).argmax(axis=1)
    return logits, labels


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_the_temperature_that_made_the_labels_is_found(temperature):
    logits, labels = sampled(temperature)
    assert fit_temperature(logits, labels) == pytest.approx(temperature, rel=0.03)


def test_a_few_images_that_are_all_right_do_not_ask_for_certainty():
    labels = np.arange(10).repeat(2)
    logits = 5.0 * np.eye(10)[labels]
    probabilities = np.exp(log_softmax(logits / fit_temperature(logits, labels)))
    assert 0.9 < probabilities.max() < 0.99


def test_a_wrong_label_among_thousands_does_not_make_the_others_unsure():
    labels = np.arange(10).repeat(300)
    logits = 12.0 * np.eye(10)[labels]
    wrong = labels.copy()
    wrong[0] = 9
    assert probabilities(logits, fit_temperature(logits, wrong)).max(axis=1).mean() > 0.999


def test_no_probability_is_below_the_floor_and_they_sum_to_one():
    told = probabilities(np.array([[50.0] + [0.0] * 9]), 1.0)
    assert told.min() == pytest.approx(FLOOR)
    assert told.sum() == pytest.approx(1)


def test_log_softmax_stands_large_logits():
    assert np.allclose(log_softmax(np.array([[1e4, 0.0], [0.0, 0.0]])), [[0, -1e4], [-np.log(2), -np.log(2)]])


def test_the_calibration_error_is_small_when_the_probabilities_mean_what_they_say():
    logits, labels = sampled(1.0)
    assert expected_calibration_error(np.exp(log_softmax(logits)), labels) < 0.01


def test_the_calibration_error_of_a_confident_coin_is_its_distance_from_a_half():
    probabilities = np.tile([1.0, 0.0], (1000, 1))
    labels = np.arange(1000) % 2
    assert expected_calibration_error(probabilities, labels) == pytest.approx(0.5, abs=0.01)


def test_fewer_images_than_bins_are_no_fault():
    assert expected_calibration_error(np.eye(10)[:3], np.arange(3)) == 0
