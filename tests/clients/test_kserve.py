"""`kserve.InferenceRESTClient`, unmodified."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import numpy as np
import pytest
from kserve import InferenceRESTClient, InferInput, InferOutput, InferRequest, InferResponse, RESTConfig
from kserve.protocol.infer_type import RequestedOutput

URL = os.environ["SERVICE_URL"]
IMAGES = np.random.default_rng(0).integers(0, 256, (5, 28, 28), np.uint8)


def run(story: Callable[[InferenceRESTClient], Awaitable[Any]]) -> Any:
    async def main() -> Any:
        client = InferenceRESTClient(RESTConfig(protocol="v2", retries=1, timeout=60))
        try:
            return await story(client)
        finally:
            await client.close()

    return asyncio.run(main())


def image_request(*, binary: bool, model: str = "cnn", **options: Any) -> InferRequest:
    given = InferInput("image", list(IMAGES.shape), "UINT8")
    given.set_data_from_numpy(IMAGES, binary_data=binary)
    return InferRequest(model_name=model, infer_inputs=[given], **options)


def output(answer: InferResponse, name: str) -> InferOutput:
    return next(one for one in answer.outputs if one.name == name)


def test_probes() -> None:
    async def story(client: InferenceRESTClient) -> None:
        assert await client.is_server_live(URL)
        assert await client.is_server_ready(URL)
        assert await client.is_model_ready(URL, "cnn")
        assert not await client.is_model_ready(URL, "nobody")

    run(story)


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False])
def test_json_and_raw_tensors_give_the_same(binary_in: bool, binary_out: bool) -> None:
    async def story(client: InferenceRESTClient) -> None:
        wanted = [RequestedOutput("probabilities", {"binary_data": binary_out})]
        asked = image_request(binary=binary_in, request_id="seven", request_outputs=wanted)
        answer = await client.infer(URL, asked, model_name="cnn")
        assert (answer.id, answer.model_name) == ("seven", "cnn")
        found = output(answer, "probabilities").as_numpy()
        assert (found.dtype, found.shape) == (np.float32, (5, 10))
        plain = await client.infer(URL, image_request(binary=False), model_name="cnn")
        assert found == pytest.approx(output(plain, "probabilities").as_numpy(), abs=1e-6)

    run(story)


def test_a_dictionary_is_a_request_too() -> None:
    async def story(client: InferenceRESTClient) -> None:
        data = {"inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "data": ["sieben"]}]}
        answer = await client.infer(URL, data, model_name="strings")
        assert output(answer, "echo").data == ["sieben"]

    run(story)


def test_errors_are_told_in_words() -> None:
    async def story(client: InferenceRESTClient) -> None:
        with pytest.raises(httpx.HTTPStatusError, match=r"takes 'values' FP32 \[-1, 3\].*'400 Bad Request'"):
            await client.infer(URL, image_request(binary=True, model="several"), model_name="several")

    run(story)
