"""`/v2/models/{model}/infer`: the same engine, micro-batches, limits and deadlines as `/predict`, for any network."""

from __future__ import annotations

import time

import numpy as np

from service.api import bodies
from service.api.bodies import Body, Budget
from service.api.reading import PREPROCESS, Reader
from service.api.reply import Inbound, Reply
from service.api.v2.answer import answer
from service.api.v2.compression import inflate
from service.api.v2.request import Call, Limits, header_length, understand
from service.errors import InvalidImage, InvalidValue, ServiceError
from service.imaging.grey import GreyImage
from service.inference.batching import InferenceFailed
from service.inference.repository import Repository
from service.inference.version import ModelVersion
from service.inference.waiting import Answer, Rows
from service.settings import Settings

# Up to this much JSON, or this many compressed bytes, is read on the event loop, as in api/reading.py.
INLINE_JSON_BYTES = 16_384
INLINE_ANSWER_ELEMENTS = 16_384


class Inference:
    """The handler of infer requests."""

    def __init__(self, repository: Repository, settings: Settings, reader: Reader, budget: Budget) -> None:
        self._repository = repository
        self._settings = settings
        self._reader = reader
        self._budget = budget
        self._limits = Limits(settings.max_batch_images, settings.request_timeout_s)

    async def infer(self, request: Inbound, name: str, version: str | None) -> Reply:
        """One inference.

        Raises:
            ServiceError: see `request.understand`, `bodies.receive` and `ModelVersion.infer`.
        """
        request.model = model = self._repository.find(name, version)
        body = await bodies.receive(
            request,
            wanted="",
            max_bytes=self._settings.max_body_bytes,
            max_files=0,
            budget=self._budget,
            kind="file",
        )
        held = body.held
        try:
            request.decode_at = started = time.perf_counter()
            content, inflated = await self._inflate(request, body)
            held += inflated
            call = await self._understand(request, content, model)
            images = call.inputs if call.files is None else (await self._pictures(call.files),)
            request.decode_s = decode_s = time.perf_counter() - started
            found = await _ask(model, images, call.timeout_s)
            _count(model, found)
            timings = (
                f"decode;dur={decode_s * 1e3:.3f}, queue;dur={found.queue_s * 1e3:.3f}, "
                f"infer;dur={found.infer_s * 1e3:.3f}"
            )
            accepts = request.headers.get(b"accept-encoding", b"")
            if sum(found.outputs[wanted.place].size for wanted in call.wanted) <= INLINE_ANSWER_ELEMENTS:
                return answer(model, call, found.outputs, accepts, timings)
            return await self._reader.in_thread(lambda: answer(model, call, found.outputs, accepts, timings))
        finally:
            self._budget.give_back(held)

    async def _inflate(self, request: Inbound, body: Body) -> tuple[bytes | bytearray, int]:
        encoding = request.headers.get(b"content-encoding", b"identity").strip().lower()
        if encoding in (b"identity", b""):
            return body.content, 0
        limit, budget = self._settings.max_body_bytes, self._budget
        return await self._reader.in_thread(lambda: inflate(body.content, encoding, limit, budget))

    async def _understand(self, request: Inbound, content: bytes | bytearray, model: ModelVersion) -> Call:
        json_bytes = header_length(request.headers.get(b"inference-header-content-length"), len(content))
        if json_bytes <= INLINE_JSON_BYTES:
            return understand(content, json_bytes, model, self._limits)
        return await self._reader.in_thread(lambda: understand(content, json_bytes, model, self._limits))

    async def _pictures(self, files: list[bytes]) -> GreyImage:
        """Encoded pictures as `/predict` prepares them, (n, 28, 28)."""
        images: list[GreyImage] = []
        for index, image in enumerate(await self._reader.files(files, PREPROCESS["auto"])):
            if isinstance(image, ServiceError):
                raise InvalidImage(f"Picture {index}: {image.detail}")
            images.append(image.pixels)
        return np.stack(images)


def _count(model: ModelVersion, found: Answer) -> None:
    if model.predictions is not None:
        model.predictions.all_predicted(found.outputs[model.output("probabilities")])


async def _ask(model: ModelVersion, inputs: Rows, timeout_s: float) -> Answer:
    try:
        return await model.infer(inputs, timeout_s)
    except InferenceFailed as error:
        # Shapes and datatypes were checked: what a network still refuses are values, and they are the client's.
        if model.reads_digits or isinstance(error.__cause__, MemoryError):
            raise
        raise InvalidValue(f"The network refused these inputs: {error.detail[:1000]}") from None
