"""What is refused below /v2: in the protocol's form, with what was expected, and without harm."""

import gzip
import json
from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
import pytest
from conftest import strokes
from live import Live
from protocol import binary_request, raw_tensor, strings, tensor
from starlette.testclient import TestClient

from service.app import create_app
from service.settings import Settings

ROWS = tensor("values", np.ones((2, 3)), "FP32")
COUNT = tensor("count", np.ones(2, int), "INT64")


def error_of(answer: Any, status: int = 400) -> str:
    assert answer.status_code == status, answer.text
    assert set(answer.json()) == {"error"}
    return str(answer.json()["error"])


def ask(v2: TestClient, *inputs: dict[str, Any], model: str = "several", **fields: Any) -> Any:
    return v2.post(f"/v2/models/{model}/infer", json={"inputs": list(inputs), **fields})


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"shape": [2, 4]}, "'values' FP32 [-1, 3]"),
        ({"shape": [6]}, "'values' FP32 [-1, 3]"),
        ({"shape": [2**31, 3]}, f"{2**31 * 3} elements; data has 6"),
        ({"shape": [2**62, 3]}, "data has 6"),
        ({"shape": [-2, 3]}, ">= 1"),
        ({"shape": [0, 3]}, ">= 1"),
        ({"shape": "2,3"}, "shape"),
        ({"datatype": "FP64"}, "expected 'values' FP32"),
        ({"datatype": "FLOAT"}, "expected 'values' FP32"),
        ({"data": [1, 2, 3]}, "data has 3"),
        ({"data": [[1, 2], [3, 4], [5, 6]]}, "nested as [3, 2]"),
        ({"data": [[1, 2, 3], [4]]}, "not a tensor"),
        ({"data": [[[1]]]}, "Expected `float`"),
        ({"data": "123456"}, "Expected `array`"),
        ({"data": {"a": 1}}, "Expected `array`"),
        ({"data": None}, "Expected `array`"),
        ({"data": [1, 2, 3, 4, 5, 1e39]}, "out of the range of FP32"),
        ({"data": ["1"] * 6}, "Expected `float`"),
        ({"parameters": {"binary_data_size": 24}}, "both data and binary_data_size"),
        ({"parameters": {"shared_memory_region": "r"}}, None),
        ({"name": "pixels"}, "takes 'values' FP32 [-1, 3], 'count' INT64 [-1]"),
        ({"name": "count"}, "expected 'count' INT64"),
    ],
)
def test_an_input_that_is_not_the_models(v2: TestClient, changes: dict[str, Any], expected: str | None) -> None:
    answer = ask(v2, ROWS | changes, COUNT)
    if expected is None:
        assert "shared memory" in error_of(answer, 501)
    else:
        assert expected in error_of(answer)


@pytest.mark.parametrize("value", [1.5, 2.0**53, 2**63, -(2**64), 1e300, True, "1", None])
def test_whole_numbers_must_be_whole_and_in_range(v2: TestClient, value: Any) -> None:
    error_of(ask(v2, ROWS, COUNT | {"data": [1, value]}))
    assert ask(v2, ROWS, COUNT | {"data": [1, 7.0]}).json()["outputs"][0]["data"] == [1, 1, 1, 7, 7, 7]


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "nan"])
def test_nan_and_infinity_are_no_json(v2: TestClient, value: str) -> None:
    body = json.dumps({"inputs": [ROWS, COUNT]}).replace("1.0", value, 1)
    assert "JSON" in error_of(v2.post("/v2/models/several/infer", content=body))


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", "JSON"),
        (b"{", "JSON"),
        (b"[]", "Expected `object`"),
        (b"{}", "inputs"),
        (b'{"inputs": []}', "'values' is missing"),
        (b'{"inputs": [{"name": "values"}]}', "shape"),
        (b'{"inputs": [], "id": 7}', "id"),
        (b"\xff\xfe", "JSON"),
        (b'{"inputs": [], "more": ' + b"[" * 100_000, "JSON"),
    ],
)
def test_a_body_that_is_no_request(v2: TestClient, body: bytes, expected: str) -> None:
    assert expected in error_of(v2.post("/v2/models/several/infer", content=body))


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        ([ROWS], "'count' is missing"),
        ([ROWS, ROWS, COUNT], "twice"),
        ([ROWS, COUNT, COUNT | {"name": "x"}], "is unknown"),
        ([ROWS, tensor("count", np.ones(3, int), "INT64")], "[2, 3] rows"),
    ],
)
def test_inputs_that_do_not_belong_together(v2: TestClient, inputs: list[Any], expected: str) -> None:
    assert expected in error_of(ask(v2, *inputs))


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ({"name": "nothing"}, "several has 'scaled' FP32 [-1, 3], 'many' BOOL [-1]"),
        ({"name": "scaled", "parameters": {"classification": -1}}, "classification is -1: expected how many classes"),
        ({"name": "scaled", "parameters": {"classification": "three"}}, "classification"),
        ({"name": "scaled", "parameters": {"classification": True}}, "classification"),
        ({"name": "many", "parameters": {"classification": 1}}, "no classes"),
        ({"name": "many", "parameters": {"binary_data": "false"}}, "binary_data is 'false': expected true or false"),
    ],
)
def test_outputs_that_cannot_be(v2: TestClient, output: dict[str, Any], expected: str) -> None:
    assert expected in error_of(ask(v2, ROWS, COUNT, outputs=[output]))


@pytest.mark.parametrize("given", ["x", "false", 1, None])
def test_raw_tensors_are_asked_for_with_true_or_false(v2: TestClient, given: object) -> None:
    told = error_of(ask(v2, ROWS, COUNT, parameters={"binary_data_output": given}))
    assert told == f"Parameter binary_data_output is {given!r}: expected true or false."


def test_an_output_is_asked_for_once_or_a_small_request_could_fill_the_memory(v2: TestClient) -> None:
    assert "asked for twice" in error_of(ask(v2, ROWS, COUNT, outputs=[{"name": "many"}] * 2))


@pytest.mark.parametrize(
    ("model", "inputs", "onnx_type"),
    [
        ("joined", [tensor("x", np.ones(2), "FP32")], "seq(tensor(float))"),
        ("joined", [], "seq(tensor(float))"),
        ("given", [], "optional(tensor(float))"),
        ("brief", [tensor("x", np.ones((1, 2)), "FP32")], "tensor(bfloat16)"),
    ],
)
def test_a_network_of_other_kinds_is_not_implemented(
    v2: TestClient, model: str, inputs: list[Any], onnx_type: str
) -> None:
    assert onnx_type in error_of(ask(v2, *inputs, model=model), 501)
    assert v2.get(f"/v2/models/{model}").status_code == 200


def test_an_output_that_the_protocol_has_no_datatype_for_is_not_implemented(v2: TestClient) -> None:
    scores = tensor("scores", np.ones((1, 2)), "FP32")
    answer = ask(v2, scores, model="labels", outputs=[{"name": "by_label"}])
    assert "seq(map(int64,tensor(float)))" in error_of(answer, 501)


@pytest.mark.parametrize("length", ["x", "-1", "99999", "", "1e3", "5", "0", "9" * 5000])
def test_a_wrong_header_length(v2: TestClient, length: str) -> None:
    body, _ = binary_request(
        raw_tensor("values", [2, 3], "FP32", bytes(24)), raw_tensor("count", [2], "INT64", bytes(16))
    )
    answer = v2.post("/v2/models/several/infer", content=body, headers={"inference-header-content-length": length})
    assert "Inference-Header-Content-Length" in error_of(answer)


@pytest.mark.parametrize(
    ("shape", "content", "size", "expected"),
    [
        ([2, 3], bytes(23), None, "is 24 bytes; binary_data_size is 23"),
        ([2**29, 3], bytes(24), None, f"is {2**29 * 12} bytes"),
        ([2, 3], bytes(24), 25, "are left"),
        ([2, 3], bytes(24), 2**40, "are left"),
        ([2, 3], bytes(24), -1, "are left"),
        ([2, 3], bytes(24), "24", "are left"),
        ([2, 3], bytes(28), 24, "come after the last tensor"),
    ],
)
def test_raw_tensors_that_do_not_match_their_shape(
    v2: TestClient, shape: list[int], content: bytes, size: Any, expected: str
) -> None:
    told, _ = raw_tensor("values", shape, "FP32", content)
    if size is not None:
        told["parameters"]["binary_data_size"] = size
    head = json.dumps({"inputs": [COUNT, told]}).encode()
    headers = {"inference-header-content-length": str(len(head))}
    assert expected in error_of(v2.post("/v2/models/several/infer", content=head + content, headers=headers))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (strings(b"one"), "hold 1"),
        (strings(b"one", b"two", b"three"), "hold 3"),
        (strings(b"one", b"two")[:-1], "goes past the end"),
        (b"\xff\xff\xff\xff" + bytes(100), "goes past the end"),
        (b"\0\0", "goes past the end"),
        (strings(b"\xff", b""), "UTF-8"),
    ],
)
def test_strings_that_are_cut_off_or_none(v2: TestClient, content: bytes, expected: str) -> None:
    body, headers = binary_request(raw_tensor("text", [2], "BYTES", content))
    assert expected in error_of(v2.post("/v2/models/strings/infer", content=body, headers=headers))


def test_compressed_bodies_that_are_broken_or_bombs(v2: TestClient) -> None:
    def send(content: bytes, encoding: str = "gzip") -> Any:
        return v2.post("/v2/models/several/infer", content=content, headers={"content-encoding": encoding})

    good = gzip.compress(json.dumps({"inputs": [ROWS, COUNT]}).encode())
    assert send(good).status_code == 200
    for spoilt in (b"", good[:-4], good + b"more", b"not gzip", good + good):
        error_of(send(spoilt))
    assert "DIGITS_MAX_BODY_BYTES" in error_of(send(gzip.compress(bytes(50_000_000))), 413)
    assert "expected gzip" in error_of(send(good, "br"), 415)
    assert v2.app.edge.hot  # the path is hot by now, and refuses as it did
    error_of(send(good[:-4]))


def test_more_images_than_a_request_may_have(v2: TestClient) -> None:
    images = np.zeros((257, 28, 28), np.uint8)
    body, headers = binary_request(raw_tensor("image", [257, 28, 28], "UINT8", images.tobytes()))
    answer = v2.post("/v2/models/cnn/infer", content=body, headers=headers)
    assert "DIGITS_MAX_BATCH_IMAGES" in error_of(answer, 413)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v2/nowhere", 404),
        ("GET", "/v2/models/nobody", 404),
        ("GET", "/v2/models/cnn/versions/7", 404),
        ("GET", "/v2/models/nobody/ready", 404),
        ("POST", "/v2/models/nobody/infer", 404),
        ("POST", "/v2/models/cnn/versions/7/infer", 404),
        ("GET", "/v2/models/cnn/infer", 405),
        ("DELETE", "/v2/models/cnn", 405),
        ("POST", "/v2", 405),
        ("POST", "/v2/repository/models/cnn/unload", 501),
    ],
)
def test_routes_that_are_not_there(v2: TestClient, method: str, path: str, status: int) -> None:
    error_of(v2.request(method, path), status)


def test_every_error_has_the_protocols_form_in_a_real_server_too(live: Live) -> None:
    with httpx.Client(base_url=live.url) as client:
        for path, status in (("/v2/nowhere", 404), ("/v2/models/nobody", 404), ("/v2/models/cnn/infer", 405)):
            error_of(client.get(path), status)
        for _ in range(2):  # the second takes the short cut
            assert "JSON" in error_of(client.post("/v2/models/cnn/infer", content=b"{"))
        assert client.get("/nowhere").json()["code"] == "not_found"


def test_the_key_is_wanted_below_v2_but_not_by_probes(settings: Callable[..., Settings]) -> None:
    with TestClient(create_app(settings(api_key="sesame", admin_key="boss"))) as client:
        assert "API key" in error_of(client.get("/v2"), 401)
        assert "API key" in error_of(client.post("/v2/models/cnn/infer", json={}), 401)
        for path in ("/v2/health/live", "/v2/health/ready", "/v2/models/cnn/ready", "/v2/models/cnn/versions/1/ready"):
            assert client.get(path).status_code == 200
        assert "admin key" in error_of(
            client.post("/v2/repository/models/cnn/load", headers={"x-api-key": "sesame"}), 401
        )
        boss = {"authorization": "Bearer boss"}
        assert client.post("/v2/repository/models/cnn/load", headers=boss).status_code == 200
        image = tensor("image", strokes()[None], "UINT8")
        assert client.post("/v2/models/cnn/infer", json={"inputs": [image]}, headers=boss).status_code == 200


@pytest.mark.parametrize("path", ["/v2/models/dense/versions/1/infer", "/v2/models/den%73e/infer", "/predic%74"])
def test_a_full_service_refuses_the_first_request_and_odd_spellings_too(v2: TestClient, path: str) -> None:
    inputs = {"inputs": [tensor("image", strokes()[None], "UINT8")], "pixels": strokes().tolist()}
    places, v2.app.edge._places = v2.app.edge._places, 0
    answer = v2.post(path, json=inputs)
    v2.app.edge._places = places
    if path.startswith("/v2"):
        assert "DIGITS_MAX_QUEUE_SIZE" in error_of(answer, 503)
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) >= 1
    for _ in range(2):
        assert v2.post(path, json=inputs).status_code == 200
    assert v2.app.edge._in_flight == 0


def test_a_clients_own_timeout_is_kept(v2: TestClient) -> None:
    image = tensor("image", strokes()[None], "UINT8")
    for given in (1_000_000, 0, 10**400):
        assert ask(v2, image, model="cnn", parameters={"timeout": given}).status_code == 200
    for given in (-1, "soon", True, 1.5):
        assert "expected microseconds" in error_of(ask(v2, image, model="cnn", parameters={"timeout": given}))
    assert "waited" in error_of(ask(v2, image, model="cnn", parameters={"timeout": 1}), 504)
