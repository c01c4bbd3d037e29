from dataclasses import replace

import keras
import numpy as np
import pytest
from digit_files import draw

from training import recipes
from training.augmentation import Augmentation
from training.checkpoint import Checkpoints, State
from training.data import split
from training.fitting import (
    Batches,
    SquaredErrorOfSigmoid,
    SquaredErrorOfSoftmax,
    fit,
    learning_rate,
    loss,
    momentum,
    one_hot,
)
from training.recipes import Optimiser

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
    expected = (((softmax if output == "softmax" else sigmoid) - one_hot(np.array([0]))) ** 2).mean()
    found = loss(replace(RECIPE, loss="mean_squared_error", output=output))(one_hot(np.array([0])), logits)
    assert float(found) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("kind", [SquaredErrorOfSigmoid, SquaredErrorOfSoftmax])
def test_our_losses_are_found_again_in_a_checkpoint(kind):
    assert type(keras.losses.deserialize(keras.losses.serialize(kind()))) is kind


def test_a_fit_learns_and_stops_when_the_training_accuracy_has_stalled(tmp_path):
    recipe = replace(RECIPE, augmentation=None, epochs=60, early_stop_patience=2)
    parts = split(draw(200), 0.1, 0.1, seed=0)
    state = State({})
    network = fit(recipe, parts, 0, state, Checkpoints(tmp_path))
    assert 3 <= state.epoch < 60
    assert len(state.history["val_accuracy"]) == state.epoch
    predicted = network.predict(draw(50, seed=9).images.astype(np.float32), verbose=0).argmax(axis=1)
    assert (predicted == np.arange(50) % 10).mean() > 0.9


def test_the_network_of_the_best_epoch_is_returned(tmp_path):
    parts = split(draw(200), 0.2, 0.1, seed=0)
    state = State({})
    network = fit(replace(RECIPE, epochs=3), parts, 0, state, Checkpoints(tmp_path))
    logits = network.predict(parts.validation.images.astype(np.float32), verbose=0)
    found = float(loss(RECIPE)(one_hot(parts.validation.labels), logits))
    assert found == pytest.approx(min(state.history["val_loss"]), rel=1e-5)
