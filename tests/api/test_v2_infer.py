"""Inference over the protocol: every datatype and form, for networks of every shape."""

import base64
import gzip
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from conftest import png, strokes
from protocol import binary_request, outputs_of, raw_outputs, raw_tensor, strings, tensor
from starlette.testclient import TestClient

IMAGES = np.stack([strokes(seed) for seed in range(5)])


def digits(v2: TestClient, **changes: Any) -> Any:
    return v2.post("/v2/models/cnn/infer", json={"inputs": [tensor("image", IMAGES, "UINT8")], **changes})


def test_it_agrees_with_predict(v2: TestClient) -> None:
    answer = digits(v2, id="forty-two")
    told = answer.json()
    assert (told["model_name"], told["model_version"], told["id"]) == ("cnn", "1", "forty-two")
    assert [output["name"] for output in told["outputs"]] == ["logits", "probabilities"]
    assert set(answer.headers["server-timing"].split(";dur")[0].split()) == {"decode"}
    for image, row in zip(IMAGES, outputs_of(answer)["probabilities"], strict=True):
        predicted = v2.post("/predict?preprocess=none", json={"pixels": image.tolist()}).json()
        assert row == pytest.approx(predicted["probabilities"], abs=1e-6)


def test_data_may_be_nested(v2: TestClient) -> None:
    nested = {"name": "image", "shape": [5, 28, 28], "datatype": "UINT8", "data": IMAGES.tolist()}
    assert v2.post("/v2/models/cnn/versions/1/infer", json={"inputs": [nested]}).json() == digits(v2).json()


def test_raw_tensors_go_both_ways(v2: TestClient) -> None:
    body, headers = binary_request(
        raw_tensor("image", [5, 28, 28], "UINT8", IMAGES.tobytes()),
        outputs=[{"name": "probabilities", "parameters": {"binary_data": True}}, {"name": "logits"}],
    )
    answer = v2.post("/v2/models/cnn/infer", content=body, headers=headers)
    found = raw_outputs(answer)
    probabilities = np.frombuffer(found["probabilities"][1], "<f4").reshape(5, 10)
    assert np.array_equal(probabilities, outputs_of(digits(v2))["probabilities"].astype(np.float32))
    assert "data" not in found["probabilities"][0]
    assert len(found["logits"][0]["data"]) == 50


@pytest.mark.parametrize("own", [None, False])
def test_all_outputs_are_raw_where_the_request_says_so_and_they_do_not(v2: TestClient, own: bool | None) -> None:
    output = {"name": "logits"} if own is None else {"name": "logits", "parameters": {"binary_data": own}}
    answer = digits(v2, parameters={"binary_data_output": True}, outputs=[output, {"name": "probabilities"}])
    found = raw_outputs(answer)
    assert len(found["probabilities"][1]) == 5 * 10 * 4
    assert ("data" in found["logits"][0]) == (own is False)


@pytest.mark.parametrize("binary", [False, True])
def test_picture_files_are_read_as_predict_reads_them(v2: TestClient, binary: bool) -> None:
    large = np.kron(255 - strokes(3), np.ones((5, 5), np.uint8))
    files = [png(strokes(1)), png(large)]
    if binary:
        body, headers = binary_request(raw_tensor("image", [2], "BYTES", strings(*files)))
        answer = v2.post("/v2/models/cnn/infer", content=body, headers=headers)
    else:
        data = [base64.b64encode(file).decode() for file in files]
        told = {"name": "image", "shape": [2], "datatype": "BYTES", "data": data}
        answer = v2.post("/v2/models/cnn/infer", json={"inputs": [told]})
    for file, row in zip(files, outputs_of(answer)["probabilities"], strict=True):
        predicted = v2.post("/predict", content=file, headers={"content-type": "image/png"}).json()
        assert row == pytest.approx(predicted["probabilities"], abs=1e-6)


def test_whatever_takes_pictures_takes_files_of_them(v2: TestClient) -> None:
    body, headers = binary_request(raw_tensor("image", [2], "BYTES", strings(png(strokes(1)), png(strokes(2)))))
    found = outputs_of(v2.post("/v2/models/inks/infer", content=body, headers=headers))
    assert found["ink"].tolist() == [int(strokes(seed).sum()) for seed in (1, 2)]


def test_a_file_that_is_no_picture_is_named(v2: TestClient) -> None:
    body, headers = binary_request(raw_tensor("image", [2], "BYTES", strings(png(strokes()), b"none")))
    answer = v2.post("/v2/models/cnn/infer", content=body, headers=headers)
    assert answer.status_code == 400
    assert answer.json()["error"].startswith("Picture 1: ")


@pytest.mark.parametrize("classes", [3, 99])
def test_classes_are_the_largest_values_with_their_labels(v2: TestClient, classes: int) -> None:
    answer = digits(v2, outputs=[{"name": "probabilities", "parameters": {"classification": classes}}])
    (output,) = answer.json()["outputs"]
    assert (output["datatype"], output["shape"]) == ("BYTES", [5, min(classes, 10)])
    best = outputs_of(digits(v2))["probabilities"].argmax(axis=1)
    for row, digit in zip(np.array(output["data"]).reshape(output["shape"]), best, strict=True):
        value, index, label = row[0].split(":")
        assert (int(index), label) == (digit, str(digit))
        assert float(value) >= float(row[1].split(":")[0])
    raw = digits(v2, outputs=[{"name": "probabilities", "parameters": {"classification": 1, "binary_data": True}}])
    told, content = raw_outputs(raw)["probabilities"]
    assert content[4:].startswith(f"{float(output['data'][0].split(':')[0]):f}".encode())
    assert told["datatype"] == "BYTES"


@pytest.mark.parametrize(("encoding", "squeeze"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_bodies_may_be_compressed_and_the_header_counts_before(v2: TestClient, encoding: str, squeeze: Any) -> None:
    body, headers = binary_request(raw_tensor("image", [5, 28, 28], "UINT8", IMAGES.tobytes()))
    headers |= {"content-encoding": encoding, "accept-encoding": "identity"}
    answer = v2.post("/v2/models/cnn/infer", content=squeeze(body), headers=headers)
    assert answer.json() == digits(v2).json()
    assert "content-encoding" not in answer.headers


@pytest.mark.parametrize(
    ("accepts", "expected"),
    [("gzip", "gzip"), ("deflate", "deflate"), ("br, gzip;q=0.5", "gzip"), ("gzip;q=0, *", None), ("gzip;q=x", None)],
)
def test_answers_are_compressed_for_who_asks(v2: TestClient, accepts: str, expected: str | None) -> None:
    body = {"inputs": [tensor("image", IMAGES, "UINT8")], "parameters": {"binary_data_output": True}}
    answer = v2.post("/v2/models/cnn/infer", json=body, headers={"accept-encoding": accepts})
    assert answer.headers.get("content-encoding") == expected
    assert len(raw_outputs(answer)["probabilities"][1]) == 200


def test_several_inputs_and_outputs_that_are_not_float(v2: TestClient) -> None:
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    count = np.array([2, 5])
    inputs = [tensor("count", count, "INT64"), tensor("values", values, "FP32")]
    answer = v2.post("/v2/models/several/infer", json={"inputs": inputs})
    found = {output["name"]: output for output in answer.json()["outputs"]}
    assert found["scaled"]["data"] == (values * count[:, None]).ravel().tolist()
    assert (found["many"]["datatype"], found["many"]["data"]) == ("BOOL", [False, True])
    body, headers = binary_request(
        raw_tensor("values", [2, 3], "FP32", values.tobytes()), raw_tensor("count", [2], "INT64", count.tobytes()),
        parameters={"binary_data_output": True},
    )  # fmt: skip
    raw = raw_outputs(v2.post("/v2/models/several/infer", content=body, headers=headers))
    assert raw["many"][1] == b"\0\1"


def test_strings_in_and_out(v2: TestClient) -> None:
    told = {"name": "text", "shape": [2], "datatype": "BYTES", "data": ["sieben", "sept et huit é"]}
    assert v2.post("/v2/models/strings/infer", json={"inputs": [told]}).json()["outputs"][0]["data"] == told["data"]
    encoded = strings(b"a", "é".encode(), b"")
    body, headers = binary_request(raw_tensor("text", [3], "BYTES", encoded), parameters={"binary_data_output": True})
    answer = v2.post("/v2/models/strings/infer", content=body, headers=headers)
    assert raw_outputs(answer)["echo"] == (
        {"name": "echo", "datatype": "BYTES", "shape": [3], "parameters": {"binary_data_size": len(encoded)}},
        encoded,
    )


def test_a_network_without_a_batch_axis(v2: TestClient) -> None:
    told = {"name": "rows", "shape": [2, 3], "datatype": "FP64", "data": [[1, 2, 3], [4, 5, 6.5]]}
    answer = v2.post("/v2/models/matrix/infer", json={"inputs": [told]})
    assert answer.json()["outputs"] == [
        {"name": "columns", "datatype": "FP64", "shape": [3, 2], "data": [1, 4, 2, 5, 3, 6.5]}
    ]


def test_lengths_may_vary_and_rows_may_depend_on_each_other(v2: TestClient) -> None:
    for length in (1, 4, 9):
        answer = v2.post("/v2/models/ragged/infer", json={"inputs": [tensor("values", np.ones((2, length)), "FP32")]})
        assert outputs_of(answer)["sums"].tolist() == [length, length]
    rows = tensor("values", np.array([[0.0, 2.0], [2.0, 4.0]]), "FP32")
    answer = v2.post("/v2/models/coupled/infer", json={"inputs": [rows]})
    assert outputs_of(answer)["centred"].tolist() == [[-1, -1], [1, 1]]


def test_nan_survives_in_raw_tensors_and_is_null_in_json(v2: TestClient) -> None:
    content = struct.pack("<2f", float("nan"), float("inf"))
    for raw in (True, False):
        body, headers = binary_request(
            raw_tensor("scores", [1, 2], "FP32", content), parameters={"binary_data_output": raw}
        )
        answer = v2.post("/v2/models/labels/infer", content=body, headers=headers)
        if raw:
            assert raw_outputs(answer)["copied"][1] == content
        else:
            assert answer.json()["outputs"][0]["data"] == [None, None]


def test_what_the_network_refuses_is_the_clients_to_mend(v2: TestClient) -> None:
    answer = v2.post("/v2/models/lookup/infer", json={"inputs": [tensor("index", np.array([1, 99]), "INT64")]})
    assert answer.status_code == 400
    assert "out of data bounds" in answer.json()["error"]
    answer = v2.post("/v2/models/lookup/infer", json={"inputs": [tensor("index", np.array([1, 2]), "INT64")]})
    assert outputs_of(answer)["found"].tolist() == [1.5, 2.5]


def first_output(v2: TestClient, model: str, *inputs: dict[str, Any], **fields: Any) -> dict[str, Any]:
    answer = v2.post(f"/v2/models/{model}/infer", json={"inputs": list(inputs), **fields})
    assert answer.status_code == 200, answer.text
    return dict(answer.json()["outputs"][0])


def test_a_scalar_is_a_tensor_too(v2: TestClient) -> None:
    for data in (2.5, [2.5]):
        x = {"name": "x", "shape": [], "datatype": "FP32", "data": data}
        assert first_output(v2, "scalar", x) == {"name": "y", "datatype": "FP32", "shape": [], "data": [3.5]}
    body, headers = binary_request(
        raw_tensor("x", [], "FP32", struct.pack("<f", 2.5)), parameters={"binary_data_output": True}
    )
    answer = v2.post("/v2/models/scalar/infer", content=body, headers=headers)
    assert raw_outputs(answer)["y"][1] == struct.pack("<f", 3.5)


def test_a_network_may_take_nothing_or_tensors_of_any_rank(v2: TestClient) -> None:
    assert first_output(v2, "constant")["data"] == [1, 2]
    for shape in ((), (3,), (2, 1, 2)):
        assert first_output(v2, "any_rank", tensor("x", np.zeros(shape), "FP32"))["shape"] == list(shape)


def test_rows_that_depend_on_each_other_stay_together(v2: TestClient) -> None:
    rows = np.arange(8.0).reshape(4, 2)
    assert first_output(v2, "third", tensor("x", rows, "FP32"))["data"] == [0, 1, 2, 3, 4, 5, 6, 8]
    a, b = tensor("a", np.array([1, 2]), "FP32"), tensor("b", np.array([1, 2, 3]), "FP32")
    assert first_output(v2, "table", a, b)["data"] == [1, 2, 3, 2, 4, 6]


def test_no_rows_are_an_answer_too(v2: TestClient) -> None:
    nothing = tensor("values", np.zeros(3), "FP32")
    assert first_output(v2, "found", nothing)["shape"] == [0, 1]
    classes = {"outputs": [{"name": "rows", "parameters": {"classification": 2}}]}
    assert first_output(v2, "found", nothing, **classes)["shape"] == [0, 1]
    assert first_output(v2, "found", nothing, parameters={"binary_data_output": False})["data"] == []
