import base64

import numpy as np
import pytest
from digit_files import draw
from networks import write_linear_model

from training import evaluation
from training.data import Digits
from training.errors import CheckFailed
from training.evaluation import check_export, find_threshold, golden, measure_batching, open_model, score
from training.export import Scales


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    return open_model(write_linear_model(tmp_path_factory.mktemp("linear")))


def test_a_score_counts_right_answers_and_the_likelihood_of_the_labels():
    found = score(np.log(np.array([[0.5, 0.5, 0.0001], [0.1, 0.8, 0.1]])), np.array([1, 1]), 1.0)
    assert found.accuracy == 0.5
    assert found.loss == pytest.approx(-(np.log(0.5) + np.log(0.8)) / 2, abs=1e-3)


def test_golden_examples_are_one_image_a_label_with_the_answer_to_expect(session):
    digits = draw(30)
    examples = golden(session, digits)
    assert [example["label"] for example in examples] == list(range(10))
    for example in examples:
        pixels = np.frombuffer(base64.b64decode(example["pixels"]), np.uint8).reshape(1, 28, 28)
        assert pixels.tobytes() == digits.images[example["index"]].tobytes()
        (probabilities,) = session.run({"image": pixels}, ["probabilities"])
        assert np.allclose(probabilities[0], example["probabilities"], atol=1e-6)


def test_a_label_without_an_image_has_no_golden_example(session):
    digits = draw(5)
    assert [example["label"] for example in golden(session, Digits(digits.images, digits.labels))] == [0, 1, 2, 3, 4]


def test_the_batch_size_to_serve_with_is_the_largest_that_is_about_as_fast_as_the_best(session):
    batching = measure_batching(session)
    times = batching["us_per_image"]
    assert list(times) == ["1", "2", "4", "8", "16", "32", "64", "128", "256"]
    chosen = batching["max_batch_size"]
    bound, rounding = 1.1 * min(times.values()), 0.11  # they are told to a tenth of a microsecond
    assert times[str(chosen)] <= bound + rounding
    assert all(time > bound - rounding for size, time in times.items() if int(size) > chosen)


def test_a_micro_batch_of_a_slow_network_is_one_that_ends_soon(monkeypatch):
    class Slow:
        """A network and the clock it is timed by."""

        now = 0.0

        def run(self, feeds, _outputs):
            self.now += 0.001 + 0.0004 * len(feeds["image"]) ** 0.9

        def perf_counter(self):
            return self.now

    network = Slow()
    monkeypatch.setattr(evaluation, "time", network)
    batching = measure_batching(network)
    chosen = batching["max_batch_size"]
    assert 1 < chosen < 256
    assert chosen * batching["us_per_image"][str(chosen)] <= evaluation.LONGEST_RUN_US


def test_answers_of_another_network_are_noticed(session, tmp_path):
    images = draw(20).images
    other = open_model(write_linear_model(tmp_path, seed=7))
    (logits,) = other.run({"image": images}, ["logits"])
    assert check_export(other, images, logits, Scales(1.0)) < 1e-4  # its file has no floor
    with pytest.raises(CheckFailed, match="differ by"):
        check_export(session, images, logits, Scales(1.0))


def test_the_threshold_accepts_almost_all_digits_and_no_less_of_their_pictures_than_is_promised():
    rng = np.random.default_rng(0)
    digits, pictures = rng.normal(-5, 1, 4000), rng.normal(-4, 2, 4000)
    found = find_threshold(digits, pictures)
    assert (digits <= found["threshold"]).mean() >= 0.99
    assert (pictures <= found["threshold"]).mean() == pytest.approx(0.95, abs=0.001)
    rarely = find_threshold(digits, digits - 9)["threshold"]
    assert rarely == pytest.approx(np.quantile(digits, evaluation.ACCEPTED["digits"]))
