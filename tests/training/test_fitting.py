from dataclasses import replace

import keras
import numpy as np
import pytest
from digit_files import draw

from training import recipes
from training.augmentation import Augmentation
from training.batches import Batches, Lesson
from training.checkpoint import Checkpoints, State
from training.data import NO_DIGIT, Digits, split
from training.fitting import Average, fit, learning_rate, momentum
from training.losses import (
    OUTLIER_WEIGHT,
    DigitAccuracy,
    SquaredErrorOfSigmoid,
    SquaredErrorOfSoftmax,
    loss,
    targets,
)
from training.recipe import Optimiser

RECIPE = replace(recipes.find("dense-512"), batch_size=32, augmentation=Augmentation(shift=2))


def test_an_epoch_shows_every_image_once_in_an_order_of_its_own():
    digits = draw(100)
    batches = Batches(digits, replace(RECIPE, augmentation=None), seed=0)
    orders = []
    for epoch in range(2):
        batches.start(epoch)
        orders.append(b"".join(batches[index][0].tobytes() for index in range(len(batches))))
        assert sum(len(batches[index][1]) for index in range(len(batches))) == 100
    assert len(batches) == 4
    assert orders[0] != orders[1]


def test_a_batch_depends_on_seed_epoch_and_index_alone():
    digits = draw(100)
    first, same, other = (Batches(digits, RECIPE, seed) for seed in (0, 0, 1))
    assert first[2][0].tobytes() == same[2][0].tobytes()
    assert first[2][0].tobytes() != other[2][0].tobytes()
    before = first[2][0].tobytes()
    first.start(1)
    assert first[2][0].tobytes() != before


def test_a_cosine_schedule_warms_up_and_then_falls_to_nothing():
    settings = Optimiser("adam", 0.01, schedule="cosine", warmup_epochs=2)
    rates = [learning_rate(settings, epoch, 20) for epoch in range(20)]
    assert rates[0] < rates[1] < rates[2] <= 0.01
    assert rates[2:] == sorted(rates[2:], reverse=True)
    assert rates[-1] < 0.0001


def test_a_run_of_a_few_steps_leaves_no_statistics_of_its_beginning():
    assert momentum(5) == 0
    assert momentum(20) ** 20 < 1e-5
    assert momentum(20_000) == 0.99


def test_a_constant_schedule_does_not_change():
    assert {learning_rate(Optimiser("sgd", 0.1), epoch, 5) for epoch in range(5)} == {0.1}


@pytest.mark.parametrize("output", ["softmax", "sigmoid"])
def test_the_squared_error_is_taken_of_the_output_not_of_the_logits(output):
    logits = np.array([[2.0, -1.0, 0.5] + [0.0] * 7], np.float32)
    sigmoid = 1 / (1 + np.exp(-logits))
    softmax = np.exp(logits) / np.exp(logits).sum()
    expected = (((softmax if output == "softmax" else sigmoid) - targets(np.array([0]), RECIPE)) ** 2).mean()
    found = loss(replace(RECIPE, loss="mean_squared_error", output=output))(targets(np.array([0]), RECIPE), logits)
    assert float(found) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("kind", [SquaredErrorOfSigmoid, SquaredErrorOfSoftmax])
def test_our_losses_are_found_again_in_a_checkpoint(kind):
    assert type(keras.losses.deserialize(keras.losses.serialize(kind()))) is kind


def test_a_fit_learns_and_stops_when_the_training_accuracy_has_stalled(tmp_path):
    recipe = replace(RECIPE, augmentation=None, epochs=60, early_stop_patience=2)
    parts = split(draw(200), 0.1, 0.1, seed=0)
    state = State({})
    network = fit(recipe, parts.training, parts.validation, 0, state, Checkpoints(tmp_path))
    assert 3 <= state.epoch < 60
    assert len(state.history["val_accuracy"]) == state.epoch
    predicted = network.predict(draw(50, seed=9).images.astype(np.float32), verbose=0).argmax(axis=1)
    assert (predicted == np.arange(50) % 10).mean() > 0.9


def test_the_network_of_the_best_epoch_is_returned(tmp_path):
    parts = split(draw(200), 0.2, 0.1, seed=0)
    state = State({})
    network = fit(replace(RECIPE, epochs=3), parts.training, parts.validation, 0, state, Checkpoints(tmp_path))
    logits = network.predict(parts.validation.images.astype(np.float32), verbose=0)
    found = float(loss(RECIPE)(targets(parts.validation.labels, RECIPE), logits))
    assert found == pytest.approx(min(state.history["val_loss"]), rel=1e-5)


OUTLIERS = replace(RECIPE, outliers=0.5)


def with_outliers(digits):
    blank = np.zeros((len(digits), 28, 28), np.uint8)
    labels = np.full(len(digits), NO_DIGIT, np.uint8)
    return Digits(np.concatenate([digits.images, blank]), np.concatenate([digits.labels, labels]))


def test_an_epoch_shows_every_digit_and_a_share_of_the_outliers_other_ones_each_time():
    batches = Batches(with_outliers(draw(100)), OUTLIERS, seed=0)
    shown = []
    for epoch in range(2):
        batches.start(epoch)
        rows = np.concatenate([batches[index][1] for index in range(len(batches))])
        assert (rows[:, 10] == 0).sum() == 100
        assert (rows[:, 10] == 1).sum() == 50
        shown.append(rows.tobytes())
    assert shown[0] != shown[1]


def test_a_lesson_takes_the_place_of_digits_and_labels_and_shows_another_copy_each_epoch():
    digits = draw(100)
    copies = np.stack(
        [np.pad(np.full((100, 8, 8), 100 * copy, np.uint8), ((0, 0), (10, 10), (10, 10))) for copy in (1, 2)]
    )
    even = np.full((2, 100, 10), 0.1, np.float32)
    batches = Batches(with_outliers(digits), OUTLIERS, seed=0, lesson=Lesson(copies, even))
    for epoch in range(3):
        batches.start(epoch)
        shown = [batches[index] for index in range(len(batches))]
        images, rows = (np.concatenate(arrays) for arrays in zip(*shown, strict=True))
        taught = rows[:, 10] == 0
        assert taught.sum() == 100
        assert np.allclose(images[taught].max(axis=(1, 2)), 100 * (1 + epoch % 2), atol=1)
        assert len({image.tobytes() for image in images[taught]}) > 90  # each is moved a little
        assert (rows[taught, :10] == np.float32(0.1)).all()
        assert (rows[~taught, :10] == 0).all()


def test_the_loss_of_an_outlier_is_that_of_saying_so_whatever_digit_it_looks_like():
    wanted = targets(np.array([NO_DIGIT]), OUTLIERS)
    sure_of_three = even(-5.0)
    sure_of_three[0, 3] = 8
    seen, missed, sure = (float(loss(OUTLIERS)(wanted, outputs)) for outputs in (even(5.0), even(-5.0), sure_of_three))
    assert seen < missed == pytest.approx(sure)


def even(outlier: float) -> np.ndarray:
    outputs = np.zeros((1, 11), np.float32)
    outputs[0, 10] = outlier
    return outputs


def test_the_loss_of_a_digit_is_its_cross_entropy_and_that_of_being_one():
    outputs = even(-2.0)
    expected = np.log(10) + OUTLIER_WEIGHT * np.log1p(np.exp(-2.0))
    assert float(loss(OUTLIERS)(targets(np.array([3]), OUTLIERS), outputs)) == pytest.approx(expected, rel=1e-5)


def test_accuracy_counts_the_digits_alone():
    metric = DigitAccuracy()
    outputs = np.eye(11, dtype=np.float32)[[3, 4, 5]]
    metric.update_state(targets(np.array([3, 7, NO_DIGIT]), OUTLIERS), outputs)
    assert float(metric.result()) == 0.5


def test_the_average_follows_the_weights_slowly_and_forgets_where_they_began():
    network = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False, kernel_initializer="ones")])
    average = Average(0.9, 0, None)
    assert average.of(network) == network.get_weights()
    for value in [0.0] * 4 + [1.0] * 4:
        network.set_weights([np.full((1, 1), value, np.float32)])
        average.follow(network)
    assert 0.3 < float(average.of(network)[0][0, 0]) < 1
    for _ in range(200):
        average.follow(network)
    assert float(average.of(network)[0][0, 0]) == pytest.approx(1, abs=1e-3)


def test_a_fit_with_outliers_in_half_precision_is_measured_as_the_average_of_its_weights(tmp_path):
    settings = {"precision": "bfloat16", "average": 0.9, "augmentation": None, "epochs": 8, "batch_size": 16}
    recipe = replace(recipes.find("cnn"), **settings)
    parts, state = split(draw(200), 0.1, 0.1, seed=0), State({})
    network = fit(recipe, with_outliers(parts.training), parts.validation, 0, state, Checkpoints(tmp_path))
    outputs = network.predict(parts.validation.images.astype(np.float32), verbose=0)
    assert outputs.dtype == np.float32
    assert (outputs[:, :10].argmax(axis=1) == parts.validation.labels).mean() > 0.9
    assert (outputs[:, 10] < 0).mean() > 0.9
    latest = keras.models.load_model(tmp_path / "epoch-00008" / "latest.keras")
    assert any((a != b).any() for a, b in zip(latest.get_weights(), network.get_weights(), strict=True))
