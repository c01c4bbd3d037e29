"""The models that are committed: they are what their cards say, on the machine that runs this test."""

import base64
import hashlib
import json
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import pytest
from digit_files import REPOSITORY, SHARED_DATA

from training.data import Dataset, load
from training.evaluation import open_model
from training.export import check
from training.train import MNIST_DIGEST

KERAS_CACHE = Path("~/.keras/datasets/mnist.npz").expanduser()
MODELS = sorted(path.parent for path in (REPOSITORY / "models").glob("*/*/model.onnx"))
TARGETS = {"dense": 0.993, "cnn": 0.9965}

each_model = pytest.mark.parametrize("folder", MODELS, ids=lambda path: f"{path.parent.name}-{path.name}")


@cache
def mnist() -> Dataset:
    if (SHARED_DATA / "mnist").is_dir():
        return load(SHARED_DATA / "mnist")
    if KERAS_CACHE.is_file():
        return load(None)
    pytest.skip(f"MNIST is neither in {SHARED_DATA / 'mnist'} nor in {KERAS_CACHE}")


def read_card(folder: Path) -> dict:
    return json.loads((folder / "model.json").read_text(encoding="utf-8"))


def test_both_networks_that_are_served_are_there():
    assert {folder.parent.name for folder in MODELS} >= TARGETS.keys()


@each_model
def test_the_file_is_the_one_that_the_card_describes(folder):
    content = (folder / "model.onnx").read_bytes()
    card = read_card(folder)
    assert card["files"]["model.onnx"] == {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    assert (card["name"], card["version"]) == (folder.parent.name, folder.name)
    assert len(content) < 5_000_000
    check(onnx.load_from_string(content))


@each_model
def test_ten_digits_get_their_golden_answers(folder):
    session, card = open_model(folder / "model.onnx"), read_card(folder)
    assert [example["label"] for example in card["golden"]] == list(range(10))
    for example in card["golden"]:
        image = np.frombuffer(base64.b64decode(example["pixels"]), np.uint8).reshape(1, 28, 28)
        (probabilities,) = session.run({"image": image}, ["probabilities"])
        assert np.allclose(probabilities[0], example["probabilities"], atol=1e-4)
        assert probabilities.argmax() == example["label"]


@each_model
def test_the_accuracy_on_mnists_test_set_is_what_the_card_says_and_enough(folder):
    digits, card = mnist().test, read_card(folder)
    (probabilities,) = open_model(folder / "model.onnx").run({"image": digits.images}, ["probabilities"])
    accuracy = float((probabilities.argmax(axis=1) == digits.labels).mean())
    assert accuracy == pytest.approx(card["metrics"]["test_accuracy"], abs=2e-4)
    assert accuracy >= TARGETS[folder.parent.name]


def test_the_digest_of_mnist_is_the_one_that_targets_are_bound_to():
    assert mnist().digest == MNIST_DIGEST
