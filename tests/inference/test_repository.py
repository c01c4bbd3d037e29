"""What a folder holds, what is loaded of it, and what stops the start."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from networks import write_linear_model

from service.errors import ModelNotFound, NotReady, StartupError
from service.inference.repository import Repository, scan


def repository(root: Path, **changes: Any) -> Repository:
    return Repository(root, **{"device": "cpu", "threads": 1, "default_model": "cnn", "required": (), **changes})


def test_only_whole_numbers_with_a_network_are_versions(tmp_path: Path) -> None:
    for version in ("1", "10", "2", "01x", ".3"):
        write_linear_model(tmp_path / "cnn" / version)
    (tmp_path / "cnn" / "4").mkdir()
    (tmp_path / "notes.txt").write_text("not a model")
    assert [version.version for version in scan(tmp_path)] == ["10", "2", "1"]


@pytest.mark.parametrize("root", ["missing", "."])
def test_a_repository_without_models_stops_the_start(tmp_path: Path, root: str) -> None:
    with pytest.raises(StartupError, match="DIGITS_MODEL_REPOSITORY"):
        repository(tmp_path / root).load()


def test_a_required_model_that_is_missing_stops_the_start(tmp_path: Path) -> None:
    write_linear_model(tmp_path / "cnn" / "1")
    with pytest.raises(StartupError, match="dense"):
        repository(tmp_path, required=("dense",)).load()


def test_a_model_that_cannot_be_served_stops_the_start_with_its_reason(tmp_path: Path) -> None:
    (tmp_path / "cnn" / "1").mkdir(parents=True)
    (tmp_path / "cnn" / "1" / "model.onnx").write_bytes(b"half a file")
    with pytest.raises(StartupError, match="version 1: onnxruntime does not load it"):
        repository(tmp_path).load()


def test_a_file_that_is_not_the_cards_is_not_served(tmp_path: Path) -> None:
    write_linear_model(tmp_path / "cnn" / "1")
    card = {"files": {"model.onnx": {"sha256": "0" * 64}}}
    (tmp_path / "cnn" / "1" / "model.json").write_text(json.dumps(card))
    with pytest.raises(StartupError, match="its card says 0000"):
        repository(tmp_path).load()


def test_a_broken_card_is_a_reason(tmp_path: Path) -> None:
    write_linear_model(tmp_path / "cnn" / "1")
    (tmp_path / "cnn" / "1" / "model.json").write_text("{")
    with pytest.raises(StartupError, match="version 1: "):
        repository(tmp_path).load()


def test_the_batch_size_comes_from_the_card(tmp_path: Path) -> None:
    write_linear_model(tmp_path / "cnn" / "1")
    (tmp_path / "cnn" / "1" / "model.json").write_text(json.dumps({"batching": {"max_batch_size": 16}}))
    loaded = repository(tmp_path)
    loaded.load()
    assert loaded.model_versions("cnn")[0].max_batch_size == 16
    overruled = repository(tmp_path, max_batch_size=3)
    overruled.load()
    assert overruled.model_versions("cnn")[0].max_batch_size == 3


def test_an_image_gets_the_same_bytes_whoever_it_is_batched_with(tmp_path: Path) -> None:
    write_linear_model(tmp_path / "cnn" / "1")
    loaded = repository(tmp_path)
    loaded.load()
    images = np.random.default_rng(1).integers(0, 256, (32, 28, 28), np.uint8)
    version = loaded.model_versions("cnn")[0]
    for padded_to in (0, 32):
        version.padded_to = padded_to
        alone = np.concatenate([version.run((image[None],))[0] for image in images])
        for size in (2, 7, 31, 32):
            assert version.run((images[:size],))[0].tobytes() == alone[:size].tobytes()


def test_finding_before_loading_is_not_ready_and_after_it_not_found(tmp_path: Path) -> None:
    write_linear_model(tmp_path / "cnn" / "1")
    loading = repository(tmp_path)
    with pytest.raises(NotReady):
        loading.find("cnn")
    loading.load()
    with pytest.raises(ModelNotFound, match="There are: cnn"):
        loading.find("dense")
