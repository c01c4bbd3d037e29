"""Whole runs on a few hundred drawn digits, through export to an answer of ONNX Runtime."""

import hashlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
from digit_files import REPOSITORY, SHARED_DATA, drawn_dataset, write_idx

from training import recipes, train
from training.checkpoint import TEACHERS, Checkpoints
from training.errors import CheckFailed, Interrupted, ResumeError, TrainingError
from training.evaluation import open_model

SECONDS_TO_END = 20
CARD_KEYS = {
    "schema": int,
    "name": str,
    "version": str,
    "task": str,
    "labels": list,
    "input": dict,
    "outputs": list,
    "recipe": dict,
    "seed": int,
    "teachers": dict,
    "data": dict,
    "git_dirty": (bool, type(None)),
    "git_commit": (str, type(None)),
    "libraries": dict,
    "trained_at": str,
    "training_seconds": float,
    "parameters": int,
    "metrics": dict,
    "calibration": dict,
    "conformal": dict,
    "out_of_distribution": dict,
    "best_epoch": int,
    "history": dict,
    "golden": list,
    "batching": dict,
    "files": dict,
}


@pytest.fixture(scope="module")
def digits(tmp_path_factory) -> Path:
    return write_idx(tmp_path_factory.mktemp("digits"), drawn_dataset(300, 100), suffix=".gz")


@pytest.fixture(scope="module")
def published(digits, tmp_path_factory) -> Path:
    """One epoch of the cnn."""
    root = tmp_path_factory.mktemp("published")
    return train.run("cnn", digits, epochs=1, batch_size=32, models=root / "models", runs=root / "runs")


def read_card(folder: Path) -> dict:
    return json.loads((folder / "model.json").read_text(encoding="utf-8"))


def weights(folder: Path) -> bytes:
    network = keras.models.load_model(folder / "model.keras", compile=False)
    return b"".join(weight.tobytes() for weight in network.get_weights())


def command(recipe: str, data: Path, folder: Path, *options: str) -> list[str]:
    places = ["--models", str(folder / "models"), "--runs", str(folder / "runs")]
    return [sys.executable, "-m", "training.train", "--recipe", recipe, "--data", str(data), *places, *options]


def test_layers_have_the_sizes_that_were_asked_for(digits, tmp_path):
    places = {"models": tmp_path / "models", "runs": tmp_path / "runs"}
    card = read_card(train.run("mlp-40", digits, epochs=1, batch_size=32, units=(24, 16), **places))
    assert card["recipe"]["network"]["units"] == [24, 16]
    assert card["parameters"] == 784 * 24 + 24 + 24 * 16 + 16 + 16 * 10 + 10


@pytest.mark.parametrize("text", ["", "0", "12,", "a", "8,-1", "1.5"])
def test_sizes_of_layers_are_whole_numbers(text):
    with pytest.raises(TrainingError, match="--units"):
        recipes.sizes(text)


def test_a_run_publishes_a_network_its_card_and_the_keras_file(published):
    assert published.parts[-3:] == ("models", "cnn", "1")
    assert sorted(path.name for path in published.iterdir()) == ["model.json", "model.keras", "model.onnx"]
    assert [path.name for path in published.parents[1].iterdir()] == ["cnn"]
    card = read_card(published)
    assert card.keys() == CARD_KEYS.keys()
    for key, kind in CARD_KEYS.items():
        assert isinstance(card[key], kind), key
    content = (published / "model.onnx").read_bytes()
    assert card["files"]["model.onnx"] == {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}


def test_the_card_tells_what_was_really_used(published, digits):
    card = read_card(published)
    assert (card["recipe"]["epochs"], card["recipe"]["batch_size"], card["seed"]) == (1, 32, 0)
    counts = {name: card["data"][name] for name in ("train", "validation", "calibration", "test")}
    assert counts == {"train": 270, "validation": 10, "calibration": 20, "test": 100}
    assert card["data"]["source"] == str(digits)
    assert card["calibration"]["images"] == 20 + 10  # all that no fit saw
    assert card["history"].keys() == {"accuracy", "loss", "val_accuracy", "val_loss"}


def test_onnx_runtime_gives_the_answers_that_the_card_promises(published):
    session = open_model(published / "model.onnx")
    for example in read_card(published)["golden"]:
        image = drawn_dataset(300, 100).test.images[example["index"]][None]
        (probabilities,) = session.run({"image": image}, ["probabilities"])
        assert np.allclose(probabilities[0], example["probabilities"], atol=1e-4)


def test_the_published_keras_file_has_no_optimiser(published):
    with zipfile.ZipFile(published / "model.keras") as archive:
        assert not json.loads(archive.read("config.json"))["compile_config"]
    assert (published / "model.keras").stat().st_size < 1.2 * 4 * read_card(published)["parameters"]


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(digits, published, tmp_path):
    runs = published.parents[2] / "runs"  # whose teachers teach these, too
    settings = {"epochs": 1, "batch_size": 32, "models": tmp_path / "models", "runs": runs}
    again = train.run("cnn", digits, **settings)
    other = train.run("cnn", digits, seed=1, **settings)
    assert weights(again) == weights(published)
    assert (again / "model.onnx").read_bytes() == (published / "model.onnx").read_bytes()
    assert weights(other) != weights(published)


def test_a_finished_run_can_be_topped_up(digits, tmp_path):
    settings = {"models": tmp_path / "models", "runs": tmp_path / "runs"}
    first = train.run("mlp-40", digits, epochs=2, **settings)
    second = train.run("mlp-40", digits, epochs=5, resume=True, **settings)
    assert [folder.name for folder in (first, second)] == ["1", "2"]
    history = [read_card(folder)["history"]["loss"] for folder in (first, second)]
    assert len(history[1]) == 5
    assert history[1][:2] == history[0]
    with pytest.raises(ResumeError, match="another seed"):
        train.run("mlp-40", digits, epochs=6, seed=4, resume=True, **settings)
    with pytest.raises(ResumeError, match="another data"):
        train.run("mlp-40", digits, epochs=6, limit=200, resume=True, **settings)


def stop_in_third_epoch(arguments: list[str], signal_number: int) -> subprocess.CompletedProcess[str]:
    """Runs a command, sends it a signal when its third epoch begins, and waits for its end."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(arguments, cwd=REPOSITORY, **pipes) as running:
        for line in running.stdout:
            if line.startswith("Epoch 3/"):
                running.send_signal(signal_number)
                break
        try:
            output, errors = running.communicate(timeout=SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            running.kill()
            raise
    return subprocess.CompletedProcess(arguments, running.returncode, output, errors)


def test_a_run_that_is_stopped_goes_on_as_if_it_had_not_been(digits, tmp_path):
    stopped = stop_in_third_epoch(command("dense-512x512", digits, tmp_path, "--epochs", "5000"), signal.SIGINT)
    assert (stopped.returncode, len(stopped.stderr.splitlines())) == (130, 1)
    assert "The same command with --resume goes on from there" in stopped.stderr
    epochs = json.loads(next((tmp_path / "runs").glob("*/epoch-*/state.json")).read_text())["epoch"]
    assert epochs >= 2
    settings = {"epochs": epochs + 1, "models": tmp_path / "models"}
    resumed = train.run("dense-512x512", digits, resume=True, runs=tmp_path / "runs", **settings)
    straight = train.run("dense-512x512", digits, runs=tmp_path / "other", **settings)
    assert weights(resumed) == weights(straight)
    assert read_card(resumed)["history"] == read_card(straight)["history"]


def test_a_run_that_is_stopped_among_its_teachers_says_that_they_are_kept(tmp_path):
    (tmp_path / TEACHERS).mkdir()
    words = "the same command goes on with the teachers as they are"
    with pytest.raises(Interrupted, match=words), train._stoppable(Checkpoints(tmp_path / "dense")):
        raise KeyboardInterrupt


def test_sigterm_stops_a_run_as_ctrl_c_does(digits, tmp_path):
    stopped = stop_in_third_epoch(command("mlp-40", digits, tmp_path, "--epochs", "5000"), signal.SIGTERM)
    assert (stopped.returncode, len(stopped.stderr.splitlines())) == (130, 1)
    assert next((tmp_path / "runs" / "mlp-40").glob("epoch-*/latest.keras")).is_file()


def test_digits_train_ends_promptly_when_it_is_stopped(digits, tmp_path):
    arguments = command("dense-512x512", digits, tmp_path, "--epochs", "5000")
    arguments[1:3] = ["-m", "service", "train"]
    stopped = stop_in_third_epoch(arguments, signal.SIGINT)
    assert (stopped.returncode, len(stopped.stderr.splitlines())) == (130, 1)
    assert stopped.stderr.startswith("digits: Stopped: ")
    assert next((tmp_path / "runs" / "dense-512x512").glob("epoch-*/latest.keras")).is_file()


def test_digits_train_without_a_recipe_names_them_in_one_line():
    program = [sys.executable, "-m", "service", "train"]
    done = subprocess.run(program, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert "give --recipe, one of: cnn, " in done.stderr


@pytest.mark.skipif(not SHARED_DATA.is_dir(), reason=f"{SHARED_DATA} is not there")
@pytest.mark.parametrize("data", ["mnist_png_sample", "mnist_strip"])
def test_a_hundred_pngs_or_a_strip_picture_are_enough_for_a_run(tmp_path, data):
    settings = {"models": tmp_path / "models", "runs": tmp_path / "runs"}
    folder = train.run("mlp-40", SHARED_DATA / data, epochs=1, limit=200, **settings)
    assert read_card(folder)["data"]["test"] == 100


def test_a_network_below_its_target_is_not_published_when_the_run_was_a_full_one(digits, tmp_path, monkeypatch):
    recipe = replace(recipes.find("mlp-40"), epochs=1, target_accuracy=1.01)
    monkeypatch.setitem(recipes.RECIPES, "mlp-40", recipe)
    settings = {"models": tmp_path / "models", "runs": tmp_path / "runs"}
    assert train.run("mlp-40", digits, **settings).is_dir()  # not MNIST: a note is all
    monkeypatch.setattr(train, "MNIST_DIGEST", drawn_dataset(300, 100).digest)
    with pytest.raises(CheckFailed, match=r"Not published: test accuracy .* is below the 1.01"):
        train.run("mlp-40", digits, **settings)
    assert [path.name for path in (tmp_path / "models" / "mlp-40").iterdir()] == ["1"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"epochs": 0}, "--epochs must be 1 or more"),
        ({"batch_size": -1}, "--batch-size must be 1 or more"),
        ({"limit": 0}, "--limit must be 1 or more"),
        ({"seed": -1}, "--seed must be 0 or more"),
        ({"limit": 5}, "5 training images are too few"),
        ({"resume": True}, "There is nothing to resume"),
    ],
)
def test_a_mistake_in_the_options_is_one_clear_line(digits, tmp_path, options, words):
    with pytest.raises(TrainingError, match=words) as caught:
        train.run("dense", digits, models=tmp_path, runs=tmp_path, **options)
    assert caught.value.exit_code == 2


def test_an_unknown_recipe_ends_with_one_line_and_exit_code_2(digits, tmp_path):
    done = subprocess.run(
        command("nonsense", digits, tmp_path), cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert "There is no recipe 'nonsense'" in done.stderr


def test_mistakes_and_help_do_not_wait_for_tensorflow():
    program = "import sys, training.train; sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, check=True)


def test_a_backend_that_is_not_there_is_one_clear_line(digits, tmp_path):
    environment = {**os.environ, "KERAS_BACKEND": "abacus"}
    done = subprocess.run(
        command("dense", digits, tmp_path), cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert "Keras does not start with KERAS_BACKEND=abacus" in done.stderr


@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="jax is not installed: pip install jax")
def test_the_fit_runs_on_jax_and_the_export_on_tensorflow(digits, tmp_path):
    environment = {**os.environ, "KERAS_BACKEND": "jax"}
    options = ("--epochs", "1", "--batch-size", "32")
    subprocess.run(command("cnn", digits, tmp_path, *options), cwd=REPOSITORY, env=environment, check=True)
    assert read_card(tmp_path / "models" / "cnn" / "1")["libraries"]["backend"] == "jax"
