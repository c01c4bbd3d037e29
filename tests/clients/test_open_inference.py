"""`open-inference-openapi`, the client that is generated from the protocol's OpenAPI text, unmodified."""

import asyncio
import os

import pytest
from open_inference.openapi.client import AsyncOpenInferenceClient, OpenInferenceClient
from open_inference.openapi.core.api_error import ApiError
from open_inference.openapi.errors import BadRequestError, NotFoundError
from open_inference.openapi.types import InferenceRequest, InferenceResponse, RequestInput, RequestOutput, TensorData

URL = os.environ["SERVICE_URL"]
CLIENT = OpenInferenceClient(base_url=URL)
IMAGE = [float(level % 256) for level in range(784)]  # it knows no whole numbers
REQUEST = InferenceRequest(
    id="seven",
    inputs=[RequestInput(name="image", shape=[1, 28, 28], datatype="UINT8", data=TensorData(__root__=IMAGE))],
    outputs=[RequestOutput(name="probabilities")],
)


def check(answer: InferenceResponse) -> None:
    assert (answer.id, answer.model_name) == ("seven", "cnn")
    (output,) = answer.outputs
    assert (output.name, output.datatype, output.shape) == ("probabilities", "FP32", [1, 10])
    assert sum(output.data.__root__) == pytest.approx(1, abs=1e-5)


def test_probes() -> None:
    CLIENT.check_server_liveness()
    CLIENT.check_server_readiness()
    CLIENT.check_model_readiness("cnn")
    CLIENT.check_model_version_readiness("cnn", "1")
    with pytest.raises(NotFoundError):
        CLIENT.check_model_readiness("nobody")


def test_metadata() -> None:
    assert CLIENT.read_server_metadata().name == "digit-service"
    told = CLIENT.read_model_metadata("cnn")
    assert (told.versions, told.platform) == (["1", "2"], "onnx_onnxv1")
    assert told.inputs[0].dict() == {"name": "image", "datatype": "UINT8", "shape": [-1, 28, 28]}
    assert CLIENT.read_model_version_metadata("cnn", "1").outputs == told.outputs


def test_inference() -> None:
    check(CLIENT.model_infer("cnn", request=REQUEST))
    old = CLIENT.model_version_infer("cnn", "1", request=REQUEST)
    assert old.model_version == "1"
    check(old)


def test_the_asyncio_client() -> None:
    async def main() -> None:
        client = AsyncOpenInferenceClient(base_url=URL)
        await client.check_server_readiness()
        check(await client.model_infer("cnn", request=REQUEST))

    asyncio.run(main())


def test_errors_have_the_protocols_form() -> None:
    with pytest.raises(ApiError) as failure:
        CLIENT.model_infer("nobody", request=REQUEST)
    assert failure.value.status_code == 404
    with pytest.raises(BadRequestError) as failure:
        CLIENT.model_infer("strings", request=REQUEST)
    assert "strings has 'echo' BYTES [-1]" in failure.value.body["error"]
