"""What the protocol tells of the server and its models, and loading and unloading through it."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import strokes
from networks import write_graph, write_linear_model
from onnx import TensorProto, helper
from protocol import tensor
from starlette.testclient import TestClient

from service.app import create_app
from service.settings import Settings

ADMIN = {"x-api-key": "boss"}
IMAGE = {"inputs": [tensor("image", strokes()[None], "UINT8")]}


@pytest.mark.parametrize("path", ["/v2", "/v2/"])
def test_the_server_tells_what_it_is(v2: TestClient, path: str) -> None:
    told = v2.get(path).json()
    assert told["name"] == "digit-service"
    assert {"binary_tensor_data", "classification", "model_repository"} <= set(told["extensions"])


def test_models_tell_their_inputs_and_outputs(v2: TestClient) -> None:
    assert v2.get("/v2/models/cnn").json() == {
        "name": "cnn",
        "versions": ["1"],
        "platform": "onnx_onnxv1",
        "inputs": [{"name": "image", "datatype": "UINT8", "shape": [-1, 28, 28]}],
        "outputs": [
            {"name": "logits", "datatype": "FP32", "shape": [-1, 10]},
            {"name": "probabilities", "datatype": "FP32", "shape": [-1, 10]},
        ],
    }
    assert v2.get("/v2/models/matrix/versions/1").json()["inputs"][0]["shape"] == [2, 3]
    assert v2.get("/v2/models/strings").json()["outputs"][0]["datatype"] == "BYTES"


def test_probes_have_bodies(v2: TestClient) -> None:
    assert v2.get("/v2/health/live").json() == {"live": True}
    assert v2.get("/v2/health/ready").json() == {"ready": True}
    assert v2.get("/v2/models/cnn/ready").json() == {"name": "cnn", "ready": True}
    assert v2.get("/v2/models/cnn/versions/1/ready").json() == {"name": "cnn", "ready": True}
    v2.app.draining = True
    for path in ("/v2/health/ready", "/v2/models/cnn/ready"):
        answer = v2.get(path)
        assert (answer.status_code, answer.json()["ready"]) == (503, False)
    assert v2.get("/v2/health/live").status_code == 200
    v2.app.draining = False


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for version in (1, 2):
        write_linear_model(tmp_path / "cnn" / str(version), seed=version)
    write_linear_model(tmp_path / "dense" / "1", seed=3)
    return tmp_path


@pytest.fixture
def service(root: Path) -> Iterator[TestClient]:
    settings = Settings(
        model_repository=root, admin_key="boss", access_log=False, device="cpu", threads=1, repository_poll_s=0
    )
    with TestClient(create_app(settings)) as running:
        yield running


def index(service: TestClient, **asked: bool) -> set[tuple[str, str, str]]:
    entries = service.post("/v2/repository/index", json=asked).json()
    return {(entry["name"], entry["version"], entry["state"]) for entry in entries}


def test_the_index_has_every_version_with_its_state(service: TestClient, root: Path) -> None:
    everything = {("cnn", "2", "READY"), ("cnn", "1", "READY"), ("dense", "1", "READY")}
    assert index(service) == everything
    (root / "dense" / "2").mkdir()
    (root / "dense" / "2" / "model.onnx").write_bytes(b"broken")
    answer = service.post("/v2/repository/models/dense/load", headers=ADMIN)
    assert answer.status_code == 400
    assert "Version 2 of dense cannot be served" in answer.json()["error"]
    assert "Version 1 goes on answering" in answer.json()["error"]
    assert index(service) == everything | {("dense", "2", "FAILED")}
    assert index(service, ready=True) == everything
    entries = service.post("/v2/repository/index").json()
    assert "onnxruntime does not load it" in next(entry["reason"] for entry in entries if entry["state"] == "FAILED")
    assert service.get("/v2/health/ready").status_code == 200


def test_models_are_unloaded_and_loaded(service: TestClient) -> None:
    assert service.post("/v2/models/cnn/infer", json=IMAGE).status_code == 200
    assert service.post("/v2/repository/models/cnn/unload", headers=ADMIN).status_code == 200
    assert index(service, ready=True) == {("dense", "1", "READY")}
    assert service.get("/v2/models/cnn/ready").status_code == 503
    assert service.post("/v2/models/cnn/infer", json=IMAGE).status_code == 503
    assert service.post("/predict", json={"pixels": strokes().tolist()}).json()["code"] == "not_ready"
    assert service.get("/models/cnn").json()["versions"][0]["reason"] == "unloaded"
    assert service.post("/v2/repository/models/cnn/load", headers=ADMIN).status_code == 200
    assert service.get("/v2/models/cnn/ready").status_code == 200
    assert service.post("/v2/models/cnn/infer", json=IMAGE).json()["model_version"] == "2"


def test_readiness_follows_the_required_models(root: Path) -> None:
    settings = Settings(
        model_repository=root, admin_key="boss", access_log=False, device="cpu", threads=1, repository_poll_s=0,
        required_models=("dense",),
    )  # fmt: skip
    with TestClient(create_app(settings)) as service:

        def ready() -> set[bool]:
            answers = [service.get(f"{base}/health/ready") for base in ("", "/v2")]
            assert all(answer.json()["ready"] == (answer.status_code == 200) for answer in answers)
            return {answer.json()["ready"] for answer in answers}

        for model, call, expected in (
            ("cnn", "unload", True),
            ("dense", "unload", False),
            ("cnn", "load", False),
            ("dense", "load", True),
        ):
            assert service.post(f"/v2/repository/models/{model}/{call}", headers=ADMIN).status_code == 200
            assert ready() == {expected}
        shutil.rmtree(root / "dense")
        assert service.post("/v2/repository/models/cnn/load", headers=ADMIN).status_code == 200
        assert ready() == {False}
        assert service.get("/v2/models/dense/ready").status_code == 404


def test_loading_brings_what_was_put_into_the_folder(service: TestClient, root: Path) -> None:
    assert service.post("/v2/repository/models/new/load", headers=ADMIN).status_code == 404
    write_linear_model(root / "new" / "1", outputs=("logits",))
    assert service.get("/v2/models/new").status_code == 404
    assert service.post("/v2/repository/models/new/load", headers=ADMIN).status_code == 200
    assert service.post("/v2/models/new/infer", json=IMAGE).json()["outputs"][0]["name"] == "logits"
    refused = service.post("/predict?model=new", json={"pixels": strokes().tolist()})
    assert refused.status_code == 404
    assert "/v2/models/new/infer" in refused.json()["detail"]


def test_loading_takes_no_files_from_the_client(service: TestClient) -> None:
    body = {"parameters": {"config": "{}", "file:1/model.onnx": "AAAA"}}
    assert service.post("/v2/repository/models/cnn/load", headers=ADMIN, json=body).status_code == 501
    large = {"parameters": {"file:1/model.onnx": "A" * 100_000}}
    refused = service.post("/v2/repository/models/cnn/load", headers=ADMIN, json=large)
    assert (refused.status_code, "come from the folder" in refused.json()["error"]) == (413, True)
    unload = {"parameters": {"unload_dependents": False}}
    assert service.post("/v2/repository/models/cnn/unload", headers=ADMIN, json=unload).status_code == 200


def test_statistics_tell_where_the_time_of_all_requests_went(service: TestClient) -> None:
    def told(path: str = "/v2/models/dense/versions/1/stats") -> dict[str, Any]:
        return dict(service.get(path).json()["model_stats"][0])

    nothing = {"count": 0, "ns": 0}
    stages = ("queue", "compute_input", "compute_infer", "compute_output")
    assert all(told()["inference_stats"][stage] == nothing for stage in ("success", "fail", *stages))
    assert told()["batch_stats"] == []
    three = {"inputs": [tensor("image", np.stack([strokes(seed) for seed in range(3)]), "UINT8")]}
    for _ in range(4):
        assert service.post("/v2/models/dense/infer", json=three).status_code == 200
    assert service.post("/predict?model=dense", json={"pixels": strokes().tolist()}).status_code == 200
    assert service.post("/v2/models/dense/infer", json={}).status_code == 400
    entry = told()
    assert entry == told("/v2/models/dense/stats")
    assert (entry["inference_count"], entry["execution_count"]) == (13, 5)
    parts = entry["inference_stats"]
    assert [parts[stage]["count"] for stage in ("success", "fail", *stages)] == [5, 1, 5, 5, 5, 5]
    assert min(parts[stage]["ns"] for stage in ("fail", *stages)) > 0
    assert parts["success"]["ns"] == pytest.approx(sum(parts[stage]["ns"] for stage in stages), abs=5)
    sizes = {one["batch_size"]: one["compute_infer"] for one in entry["batch_stats"]}
    assert {size: taken["count"] for size, taken in sizes.items()} == {1: 1, 3: 4}
    assert sum(taken["ns"] for taken in sizes.values()) == pytest.approx(parts["compute_infer"]["ns"], abs=5)
    assert service.get("/v2/models/dense/versions/7/stats").status_code == 404
    assert {one["name"] for one in service.get("/v2/models/stats").json()["model_stats"]} == {"cnn", "dense"}


def test_classes_are_named_by_the_card(service: TestClient, root: Path) -> None:
    write_graph(
        root / "pets" / "1",
        [helper.make_node("Identity", ["x"], ["y"])],
        {"x": (TensorProto.FLOAT, ["n", 4])},
        {"y": (TensorProto.FLOAT, ["n", 4])},
    )
    (root / "pets" / "1" / "model.json").write_text('{"labels": ["cat", "dog", "cow"]}')
    assert service.post("/v2/repository/models/pets/load", headers=ADMIN).status_code == 200
    rows = tensor("x", np.array([[0.5, 2, 2, 1], [-1, -2, -3, 7.25]]), "FP32")
    for classes in (2, 4, 9):
        outputs = [{"name": "y", "parameters": {"classification": classes}}]
        (told,) = service.post("/v2/models/pets/infer", json={"inputs": [rows], "outputs": outputs}).json()["outputs"]
        assert (told["datatype"], told["shape"]) == ("BYTES", [2, min(classes, 4)])
        first, second = np.array(told["data"]).reshape(told["shape"])
        assert first.tolist() == ["2.000000:1:dog", "2.000000:2:cow", "1.000000:3", "0.500000:0:cat"][:classes]
        assert second[:2].tolist() == ["7.250000:3", "-1.000000:0:cat"]


def test_both_kinds_of_request_share_micro_batches(service: TestClient) -> None:
    before = service.app.repository.find("cnn").batcher.statistics().images
    service.post("/predict", json={"pixels": strokes().tolist()})
    service.post("/v2/models/cnn/infer", json=IMAGE)
    assert service.app.repository.find("cnn").batcher.statistics().images == before + 2
