"""What a folder holds, what is loaded of it, and what stops the start."""

import base64
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from networks import write_graph, write_linear_model, write_odd_networks
from onnx import helper, numpy_helper

from service.errors import ModelNotFound, NotReady, StartupError
from service.inference import trial
from service.inference.disk import scan
from service.inference.repository import Repository
from service.inference.runtime import Tensor
from service.inference.version import ModelVersion
from service.inference.waiting import Rows


def repository(root: Path, **changes: Any) -> Repository:
    return Repository(root, **{"device": "cpu", "threads": 1, "default_model": "cnn", "required": (), **changes})


def test_only_whole_numbers_with_a_network_are_versions(tmp_path: Path) -> None:
    for version in ("1", "10", "2", "01x", ".3", "-4", "1.0", "٣", "²"):
        write_linear_model(tmp_path / "cnn" / version)
    (tmp_path / "cnn" / "4").mkdir()
    for name in (b"not UTF-8 \xff", b"two\nlines", b".hidden"):
        write_linear_model(tmp_path / os.fsdecode(name) / "1")
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


def test_a_model_that_nobody_requires_fails_alone(tmp_path: Path) -> None:
    write_linear_model(tmp_path / "cnn" / "1")
    (tmp_path / "other" / "1").mkdir(parents=True)
    (tmp_path / "other" / "1" / "model.onnx").write_bytes(b"half a file")
    loaded = repository(tmp_path)
    loaded.load()
    assert [(version.name, version.state) for version in loaded.versions()] == [("cnn", "READY"), ("other", "FAILED")]
    assert loaded.required_models == ("cnn",)
    with pytest.raises(StartupError, match="Model other of"):
        repository(tmp_path, required=("cnn", "other")).load()
    with pytest.raises(StartupError, match="Model other of"):
        repository(tmp_path, default_model="other").load()
    (tmp_path / "cnn").rename(tmp_path / ".cnn")
    with pytest.raises(StartupError, match="Model other of"):
        repository(tmp_path).load()  # of what is left none can be served


def test_a_folder_that_we_may_not_look_into_hides_nothing_else() -> None:
    with tempfile.TemporaryDirectory() as folder:  # pytest's own may be root's alone
        root = Path(folder)
        root.chmod(0o755)
        write_linear_model(root / "cnn" / "1")
        (root / "lost+found").mkdir(mode=0o000)
        nobody = 65534 if os.geteuid() == 0 else os.geteuid()
        before = os.geteuid()
        os.seteuid(nobody)
        try:
            assert [version.name for version in scan(root)] == ["cnn"]
        finally:
            os.seteuid(before)
            (root / "lost+found").chmod(0o700)


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


def test_the_batch_size_is_measured_where_no_card_tells_it(tmp_path: Path) -> None:
    write_linear_model(tmp_path / "cnn" / "1")
    loaded = repository(tmp_path)
    loaded.load()
    assert loaded.model_versions("cnn")[0].max_batch_size in {8, 16, 32, 64}


@pytest.mark.parametrize(
    ("milliseconds", "best"),
    [
        ({8: 1.52, 16: 3.02, 32: 6.2, 64: 12.5}, 32),  # as fast at all sizes
        ({8: 0.12, 16: 0.21, 32: 0.41, 64: 0.8}, 64),  # in which the rest weighs more
        ({8: 1.2, 16: 2.2, 32: 4.3, 64: 9.4}, 32),
        ({8: 40.0, 16: 80.0, 32: 160.0, 64: 320.0}, 8),  # in which it is nothing
    ],
)
def test_the_smallest_size_that_costs_nearly_the_least_is_the_best(milliseconds: dict[int, float], best: int) -> None:
    assert trial.best_batch_size({size: 1e-3 * took for size, took in milliseconds.items()}) == best


class Clock:
    """In the place of the module `time`: runs take as long as they say."""

    now = 0.0

    def perf_counter(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("seconds", "rows"), [({1: 0.004, 2: 0.002, 4: 0.008}, 2), ({1: 0.004, 2: 0.0039, 4: 0.004}, 1)]
)
def test_a_lone_picture_is_run_with_as_many_rows_as_take_least(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: dict[int, float], rows: int
) -> None:
    write_linear_model(tmp_path / "cnn" / "1")
    run = ModelVersion.run

    clock = Clock()

    def slow(version: ModelVersion, inputs: Rows) -> list[Tensor]:
        clock.now += seconds.get(len(inputs[0]), 0.0)
        return run(version, inputs)

    monkeypatch.setattr(ModelVersion, "run", slow)
    monkeypatch.setattr(trial, "time", clock)
    loaded = repository(tmp_path)
    loaded.load()
    assert loaded.find("cnn").padded_to == rows


def test_an_image_gets_the_same_bytes_whoever_it_is_batched_with(tmp_path: Path) -> None:
    write_linear_model(tmp_path / "cnn" / "1")
    loaded = repository(tmp_path)
    loaded.load()
    images = np.random.default_rng(1).integers(0, 256, (32, 28, 28), np.uint8)
    version = loaded.model_versions("cnn")[0]
    for padded_to in (0, 2, 32):
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


def with_card(folder: Path, **card: Any) -> Path:
    """A linear network with a card."""
    write_linear_model(folder)
    (folder / "model.json").write_text(json.dumps(card))
    return folder


def golden(folder: Path, shift: float = 0.0) -> list[dict[str, Any]]:
    """Golden pictures for the network in `folder`, whose probabilities are off by `shift`."""
    loaded = repository(folder.parent.parent)
    loaded.load()
    images = np.random.default_rng(3).integers(0, 256, (10, 28, 28), np.uint8)
    rows = loaded.find("cnn").run((images,))[1].astype(float) + shift
    return [
        {"pixels": base64.b64encode(image).decode(), "probabilities": row.tolist(), "label": 0}
        for image, row in zip(images, rows, strict=True)
    ]


def reason(root: Path) -> str:
    with pytest.raises(StartupError) as failure:
        repository(root).load()
    return failure.value.detail


def test_golden_pictures_are_tried_on_the_device_in_use(tmp_path: Path) -> None:
    folder = with_card(tmp_path / "cnn" / "1")
    right, wrong = golden(folder), golden(folder, shift=0.01)
    with_card(folder, golden=right)
    repository(tmp_path).load()
    with_card(folder, golden=[*right[:7], wrong[7], *right[8:]])
    assert "golden picture 7 has probabilities that differ from its card's by 0.01" in reason(tmp_path)
    with_card(folder, golden=[{**right[0], "pixels": "AAAA"}])
    assert "golden pictures" in reason(tmp_path)


@pytest.mark.parametrize(
    ("card", "expected"),
    [
        ({"outputs": [{"name": "logits", "datatype": "FP16", "shape": [-1, 10]}]}, "output logits FP16"),
        ({"input": {"name": "pixels", "datatype": "UINT8", "shape": [-1, 28, 28]}}, "input pixels UINT8"),
        ({"labels": "0123456789"}, "labels"),
        ({"batching": {"max_batch_size": 0}}, "max_batch_size"),
        ({"golden": [{"pixels": ""}]}, "probabilities"),
    ],
)
def test_a_card_that_is_not_the_networks_is_a_reason(tmp_path: Path, card: dict[str, Any], expected: str) -> None:
    with_card(tmp_path / "cnn" / "1", **card)
    assert expected in reason(tmp_path)


def test_a_card_that_promises_digits_is_held_to_it(tmp_path: Path) -> None:
    write_linear_model(tmp_path / "other" / "1", outputs=("logits",))
    loaded = repository(tmp_path)
    loaded.load()
    assert not loaded.find("other").reads_digits
    (tmp_path / "other" / "1" / "model.json").write_text(json.dumps({"task": "digit-classification"}))
    assert "has no output named probabilities" in reason(tmp_path)


def test_any_network_is_served_and_only_independent_rows_share_runs(tmp_path: Path) -> None:
    write_odd_networks(tmp_path)
    loaded = repository(tmp_path)
    loaded.load()
    shares = {version.name: version.shares_runs for version in loaded.versions()}
    assert all(version.state == "READY" for version in loaded.versions())
    assert {name for name, shared in shares.items() if shared} == {
        *("inks", "labels", "lookup", "mean", "ragged", "several", "strings"),
    }
    with pytest.raises(ModelNotFound, match="reads no digits"):
        loaded.find("several", digits=True)
    assert [spec.name for spec in loaded.find("labels").outputs] == ["copied"]


def test_every_batch_size_is_run_before_a_version_answers(tmp_path: Path) -> None:
    path = write_linear_model(tmp_path / "cnn" / "1")
    model = onnx.load(path)
    node = helper.make_node
    model.graph.node.insert(0, node("Shape", ["image"], ["sizes"]))
    model.graph.node.insert(1, node("Gather", ["sizes", "zero"], ["count"]))
    model.graph.node.insert(2, node("Gather", ["twelve", "count"], ["fails_beyond"]))  # its index is the batch size
    model.graph.node.append(node("Add", ["logits", "fails_beyond"], ["shifted"]))
    model.graph.output.append(helper.make_tensor_value_info("shifted", 1, ["n", 10]))
    model.graph.initializer.append(numpy_helper.from_array(np.array(0, np.int64), "zero"))
    model.graph.initializer.append(numpy_helper.from_array(np.zeros(13, np.float32), "twelve"))
    onnx.save(model, path)
    repository(tmp_path, max_batch_size=12).load()
    with pytest.raises(StartupError, match="16 images made it fail"):
        repository(tmp_path, max_batch_size=16).load()


def test_a_runs_tensors_stay_small_where_nobody_tells_a_batch_size(tmp_path: Path) -> None:
    many = np.array([1, 1 << 24], np.int64)
    node = helper.make_node("Tile", ["x", "many"], ["y"])
    shape = ["n", int(many[1])]
    write_graph(tmp_path / "wide" / "1", [node], {"x": (1, ["n", 1])}, {"y": (1, shape)}, {"many": many})
    loaded = repository(tmp_path)
    loaded.load()
    assert loaded.find("wide").max_batch_size == 3  # of 64 MiB each


def test_a_run_stays_short_where_nobody_tells_a_batch_size(tmp_path: Path) -> None:
    side = 1800
    node = helper.make_node
    nodes = [
        node("Mul", ["x", "w"], ["a"]),
        *(node("MatMul", [here, "w"], [there]) for here, there in ("ab", "bc", "cd")),
    ]
    write_graph(
        tmp_path / "slow" / "1",
        [*nodes, node("ReduceSum", ["d", "axes"], ["y"], keepdims=0)],
        {"x": (1, ["n", 1, 1])},
        {"y": (1, ["n"])},
        {"w": np.full((side, side), 1e-3, np.float32), "axes": np.array([1, 2], np.int64)},
    )
    loaded = repository(tmp_path)
    loaded.load()
    slow = loaded.find("slow")
    assert 1 <= slow.max_batch_size < 32
    assert slow.max_batch_size * slow.seconds_per_image <= 2 or slow.max_batch_size == 1


def test_a_network_for_digits_that_gives_another_number_of_rows_is_told_so(tmp_path: Path) -> None:
    path = write_linear_model(tmp_path / "cnn" / "1")
    model = onnx.load(path)
    model.graph.node.append(helper.make_node("Concat", ["logits", "logits"], ["twice"], axis=0))
    model.graph.output.append(helper.make_tensor_value_info("twice", 1, ["m", 10]))
    onnx.save(model, path)
    assert "images gave twice of shape (" in reason(tmp_path)


def test_the_newest_versions_that_can_be_served_stay_loaded(tmp_path: Path) -> None:
    for version in range(1, 6):
        write_linear_model(tmp_path / "cnn" / str(version))
    (tmp_path / "cnn" / "4" / "model.onnx").write_bytes(b"half")
    loaded = repository(tmp_path, versions_kept=2)
    loaded.load()
    states = {version.version: version.state for version in loaded.versions()}
    assert states == {"5": "READY", "4": "FAILED", "3": "READY", "2": "UNAVAILABLE", "1": "UNAVAILABLE"}
    with pytest.raises(NotReady, match="DIGITS_VERSIONS_KEPT"):
        loaded.find("cnn", "2")
