from dataclasses import replace

import numpy as np
import pytest
from digit_files import draw

from training import recipes
from training.augmentation import Augmentation
from training.checkpoint import TEACHERS
from training.data import split
from training.distillation import learn_from, prepare
from training.networks import build
from training.recipe import Distillation

TAUGHT = replace(
    recipes.find("dense-512"),
    augmentation=Augmentation(shift=2),
    epochs=1,
    distillation=Distillation("dense-128-64", networks=2, copies=3, temperature=2.0),
)


@pytest.fixture(scope="module")
def taught(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    parts = split(draw(200), 0.1, 0.1, seed=0)
    return folder, parts, learn_from(TAUGHT, parts.training, parts.validation, "digest", folder, folder)


def test_each_copy_of_a_digit_is_augmented_anew_and_has_probabilities_of_its_own(taught):
    _, parts, (lesson, _) = taught
    assert lesson.images.shape == (3, len(parts.training), 28, 28)
    assert lesson.targets.shape == (3, len(parts.training), 10)
    assert np.allclose(lesson.targets.sum(axis=2), 1, atol=1e-5)
    assert (lesson.images[0] != lesson.images[1]).any()
    assert (lesson.targets[0] != lesson.targets[1]).any()


def test_teachers_are_several_networks_of_another_recipe_that_the_card_names(taught):
    folder, _, (_, card) = taught
    assert sorted(path.name for path in (folder / TEACHERS).iterdir()) == ["dense-128-64-0", "dense-128-64-1"]
    assert (card["recipe"], card["networks"], card["epochs"]) == ("dense-128-64", 2, 1)
    assert 0 <= card["validation_accuracy"] <= 1


def test_a_second_run_asks_the_teachers_of_the_first(taught):
    folder, parts, (lesson, card) = taught
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    again, same = learn_from(TAUGHT, parts.training, parts.validation, "digest", folder, folder)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()} == before
    assert (again.targets == lesson.targets).all()
    assert same == card


def test_teachers_of_other_data_are_fitted_anew(taught):
    folder, parts, (lesson, _) = taught
    other, _ = learn_from(TAUGHT, parts.validation, parts.calibration, "another digest", folder, folder)
    assert len(other.images[0]) == len(parts.validation) != len(lesson.images[0])


def test_what_is_learnt_is_the_softened_mean_of_the_teachers_logits_and_a_share_of_the_label(tmp_path):
    digits, settings = draw(20), TAUGHT.distillation
    networks = [build(recipes.find("dense-128-64")) for _ in range(2)]
    lesson = prepare(TAUGHT, settings, digits, networks, tmp_path)
    images = lesson.images[1].astype(np.float32)
    logits = np.mean([network.predict(images, verbose=0) for network in networks], axis=0) / settings.temperature
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert np.allclose(lesson.targets[1], expected, atol=1e-5)
    corrected = prepare(TAUGHT, replace(settings, labels=0.25), digits, networks, tmp_path)
    assert np.allclose(corrected.targets[1], 0.75 * expected + 0.25 * np.eye(10)[digits.labels], atol=1e-5)


def test_a_recipe_without_teachers_has_no_lesson(tmp_path):
    digits = draw(20)
    assert learn_from(recipes.find("dense-512"), digits, digits, "digest", tmp_path, tmp_path) == (None, None)
