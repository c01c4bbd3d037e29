"""`tritonclient[http]`, sync and asyncio, unmodified."""

import asyncio
import os
import re
import struct
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.http as triton
import tritonclient.http.aio as triton_aio
from tritonclient.utils import InferenceServerException

ADDRESS = os.environ["SERVICE_URL"].removeprefix("http://")
ADMIN = {"x-api-key": "boss"}
IMAGES = np.random.default_rng(0).integers(0, 256, (5, 28, 28), np.uint8)


@pytest.fixture
def client() -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(ADDRESS) as connected:
        yield connected


def image_input(module: Any = triton, *, binary: bool) -> Any:
    given = module.InferInput("image", list(IMAGES.shape), "UINT8")
    given.set_data_from_numpy(IMAGES, binary_data=binary)
    return given


def probabilities(client: triton.InferenceServerClient, **options: Any) -> np.ndarray:
    return client.infer("cnn", [image_input(binary=True)], **options).as_numpy("probabilities")


def test_the_server_and_its_models_tell_what_they_are(client: triton.InferenceServerClient) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("cnn")
    assert client.is_model_ready("cnn", "1")
    assert not client.is_model_ready("nobody")
    assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
    assert client.get_model_metadata("cnn")["versions"] == ["1", "2"]
    assert client.get_model_metadata("strings")["inputs"] == [{"name": "text", "datatype": "BYTES", "shape": [-1]}]


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False])
def test_json_and_raw_tensors_give_the_same(
    client: triton.InferenceServerClient, binary_in: bool, binary_out: bool
) -> None:
    wanted = [triton.InferRequestedOutput(name, binary_data=binary_out) for name in ("logits", "probabilities")]
    answer = client.infer("cnn", [image_input(binary=binary_in)], outputs=wanted, request_id="seven")
    assert answer.get_response()["id"] == "seven"
    assert answer.get_response()["model_version"] == "2"
    found = answer.as_numpy("probabilities")
    assert (found.dtype, found.shape) == (np.float32, (5, 10))
    assert found == pytest.approx(probabilities(client), abs=1e-6)
    assert found.sum(axis=1) == pytest.approx(np.ones(5), abs=1e-5)


def test_a_version_can_be_picked(client: triton.InferenceServerClient) -> None:
    old, new = (probabilities(client, model_version=version) for version in ("1", "2"))
    assert not np.array_equal(old, new)
    assert np.array_equal(new, probabilities(client))


@pytest.mark.parametrize("up", [None, "gzip", "deflate"])
@pytest.mark.parametrize("down", [None, "gzip", "deflate"])
@pytest.mark.parametrize("binary", [True, False])
def test_compression_both_ways(
    client: triton.InferenceServerClient, up: str | None, down: str | None, binary: bool
) -> None:
    answer = client.infer(
        "cnn",
        [image_input(binary=binary)],
        outputs=[triton.InferRequestedOutput("probabilities", binary_data=binary)],
        request_compression_algorithm=up,
        response_compression_algorithm=down,
    )
    assert answer.as_numpy("probabilities") == pytest.approx(probabilities(client), abs=1e-6)


@pytest.mark.parametrize("binary", [True, False])
def test_classification(client: triton.InferenceServerClient, binary: bool) -> None:
    wanted = triton.InferRequestedOutput("probabilities", binary_data=binary, class_count=3)
    found = client.infer("cnn", [image_input(binary=True)], outputs=[wanted]).as_numpy("probabilities")
    assert found.shape == (5, 3)
    best = [element.decode() if isinstance(element, bytes) else element for element in found[:, 0]]
    assert [int(text.split(":")[1]) for text in best] == probabilities(client).argmax(axis=1).tolist()
    assert all(text.split(":")[1] == text.split(":")[2] for text in best)


def test_encoded_pictures_as_bytes(client: triton.InferenceServerClient) -> None:
    files = np.array([png(image) for image in IMAGES], object)
    given = triton.InferInput("image", [5], "BYTES")
    given.set_data_from_numpy(files)
    found = client.infer("cnn", [given]).as_numpy("probabilities")
    assert found.shape == (5, 10)


def png(image: np.ndarray) -> bytes:
    """A grey PNG, with what the standard library has."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    rows = b"".join(b"\0" + row.tobytes() for row in image)
    head = struct.pack(">IIBBBBB", image.shape[1], image.shape[0], 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("binary", [True, False])
def test_networks_of_every_kind(client: triton.InferenceServerClient, binary: bool) -> None:
    def ask(model: str, output: str, **tensors: tuple[np.ndarray, str]) -> np.ndarray:
        inputs = []
        for name, (array, datatype) in tensors.items():
            given = triton.InferInput(name, list(array.shape), datatype)
            given.set_data_from_numpy(array, binary_data=binary)
            inputs.append(given)
        wanted = [triton.InferRequestedOutput(output, binary_data=binary)]
        return client.infer(model, inputs, outputs=wanted).as_numpy(output)

    values, count = np.ones((2, 3), np.float32), np.array([1, 3], np.int64)
    assert ask("several", "scaled", values=(values, "FP32"), count=(count, "INT64")).tolist() == [[1] * 3, [3] * 3]
    assert ask("several", "many", values=(values, "FP32"), count=(count, "INT64")).tolist() == [False, True]
    text = np.array(["sieben", "huit é"], object)
    echo = ask("strings", "echo", text=(text, "BYTES")).tolist()
    assert [element.decode() if isinstance(element, bytes) else element for element in echo] == text.tolist()
    matrix = np.arange(6, dtype=np.float64).reshape(2, 3)
    assert np.array_equal(ask("matrix", "columns", rows=(matrix, "FP64")), matrix.T)
    assert ask("ragged", "sums", values=(np.ones((2, 7), np.float32), "FP32")).tolist() == [7, 7]


def test_errors_are_told_in_words(client: triton.InferenceServerClient) -> None:
    given = triton.InferInput("pixels", list(IMAGES.shape), "UINT8")
    given.set_data_from_numpy(IMAGES)
    with pytest.raises(InferenceServerException, match=r"takes 'image' UINT8 \[-1, 28, 28\]") as failure:
        client.infer("cnn", [given])
    assert failure.value.status() == "400"
    with pytest.raises(InferenceServerException, match="No model 'nobody'"):
        client.get_model_metadata("nobody")


def test_the_repository(client: triton.InferenceServerClient) -> None:
    states = {(entry["name"], entry["version"]): entry["state"] for entry in client.get_model_repository_index()}
    assert states[("cnn", "1")] == states[("cnn", "2")] == "READY"
    client.unload_model("lookup", headers=ADMIN)
    for _ in range(20):  # whichever worker answers
        assert not client.is_model_ready("lookup")
    client.load_model("lookup", headers=ADMIN)
    for _ in range(20):
        assert client.is_model_ready("lookup")
    with pytest.raises(InferenceServerException, match="admin key"):
        client.unload_model("lookup")


def test_statistics(client: triton.InferenceServerClient) -> None:
    def told() -> dict[str, Any]:
        (entry,) = client.get_inference_statistics("dense", "1")["model_stats"]
        return entry

    before = told()
    for _ in range(10):
        client.infer("dense", [image_input(binary=True)])
    after = told()
    assert after["inference_count"] - before["inference_count"] == 50
    assert after["inference_stats"]["success"]["count"] - before["inference_stats"]["success"]["count"] == 10
    for stage in ("compute_input", "compute_infer", "compute_output"):
        assert after["inference_stats"][stage]["count"] - before["inference_stats"][stage]["count"] == 10
        assert after["inference_stats"][stage]["ns"] > before["inference_stats"][stage]["ns"]
    assert 5 in {size["batch_size"] for size in after["batch_stats"]}
    assert after["last_inference"] > before["last_inference"]
    assert {entry["name"] for entry in client.get_inference_statistics()["model_stats"]} >= {"cnn", "dense"}


def test_the_asyncio_client() -> None:
    async def main() -> None:
        async with triton_aio.InferenceServerClient(ADDRESS) as client:
            assert await client.is_server_ready()
            assert await client.is_model_ready("cnn")
            wanted = [triton_aio.InferRequestedOutput("probabilities")]
            for up in (None, "gzip", "deflate"):
                for down in (None, "gzip", "deflate"):
                    answer = await client.infer(
                        "cnn",
                        [image_input(triton_aio, binary=True)],
                        outputs=wanted,
                        request_compression_algorithm=up,
                        response_compression_algorithm=down,
                    )
                    assert answer.as_numpy("probabilities").shape == (5, 10)
            answers = await asyncio.gather(
                *(client.infer("cnn", [image_input(triton_aio, binary=False)]) for _ in range(20))
            )
            assert len({answer.as_numpy("probabilities").tobytes() for answer in answers}) == 1
            assert {entry["name"] for entry in await client.get_model_repository_index()} >= {"cnn", "dense"}
            await client.unload_model("lookup", headers=ADMIN)
            assert not await client.is_model_ready("lookup")
            await client.load_model("lookup", headers=ADMIN)
            assert await client.is_model_ready("lookup")

    asyncio.run(main())


def test_the_readmes_lines_read_a_digit() -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    (lines,) = [block for block in re.findall(r"```python\n(.*?)```", readme, re.DOTALL) if "tritonclient" in block]
    done = subprocess.run(
        [sys.executable, "-c", lines.replace("127.0.0.1:8000", ADDRESS)],
        cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() in set("0123456789")
