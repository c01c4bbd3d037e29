"""`/predict`, `/predict/batch` and `/confidence`: a request to pictures, to what the networks say, to an answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from typing import TypeVar

from msgspec import UNSET, UnsetType

from service.api import bodies
from service.api.bodies import Body, Submitted
from service.api.reply import Inbound, Reply
from service.api.schemas import (
    BatchAnswer,
    BatchItem,
    ConfidenceAnswer,
    ItemError,
    ModelOpinion,
    PredictAnswer,
    Ranked,
    Receipt,
    encode,
)
from service.errors import DeadlineExceeded, InvalidValue, Overloaded, ServiceError
from service.imaging.decode import PNG_SIGNATURE, Picture, decode, from_pixels
from service.imaging.grey import GreyImage
from service.imaging.normalise import Normalised, exact, normalise
from service.inference.predictor import Prediction, Predictions, entropy, predict, ranking
from service.inference.repository import ModelVersion, Repository
from service.settings import Settings

# Up to these sizes a picture is read on the event loop, where a hop to a thread costs more than the work (docs/log.md).
INLINE_BYTES = 4096
INLINE_PIXELS = 64 * 64
MAX_WAITING_READS = 256
T = TypeVar("T")


class DigitRoutes:
    """The handlers of the three routes that predict."""

    def __init__(self, repository: Repository, settings: Settings, executor: Executor) -> None:
        self._repository = repository
        self._settings = settings
        self._executor = executor
        self._reading = 0
        self._budget = bodies.Budget(settings.max_pending_bytes)

    async def predict(self, request: Inbound) -> Reply:
        model, asked = self._understand(request)
        image, decode_s = await self._one_image(request, asked)
        found = await predict(model, [image.pixels], self._settings.request_timeout_s)
        (row,) = found.rows
        answer = PredictAnswer(
            model.name, model.version, row.digit, row.confidence, row.probabilities, asked.receipt_of(image)
        )
        return Reply(encode(answer), timings=_timings(decode_s, found))

    async def predict_batch(self, request: Inbound) -> Reply:
        model, asked = self._understand(request)
        limits = self._settings
        body = await self._receive(request, "files")
        started = time.perf_counter()
        try:
            pictures, images = await self._in_thread(
                lambda: _read_all(bodies.many_pictures(body, limits.max_batch_images), asked, limits.max_image_pixels)
            )
        finally:
            self._budget.give_back(body.held)
        decode_s = time.perf_counter() - started
        good = [image.pixels for image in images if isinstance(image, Normalised)]
        found = await predict(model, good, limits.request_timeout_s) if good else Predictions(model, [], 0, 0)
        rows = iter(found.rows)
        items = [
            _failed(index, picture, image)
            if isinstance(image, ServiceError)
            else _predicted(index, picture, next(rows), asked.receipt_of(image))
            for index, (picture, image) in enumerate(zip(pictures, images, strict=True))
        ]
        answer = BatchAnswer(model.name, model.version, items, len(good), len(items) - len(good))
        return Reply(encode(answer), timings=_timings(decode_s, found))

    async def confidence(self, request: Inbound) -> Reply:
        model, asked = self._understand(request)
        models = [model, *(other for other in self._repository.digit_models() if other.name != model.name)]
        image, decode_s = await self._one_image(request, asked)
        timeout_s = self._settings.request_timeout_s
        found = await asyncio.gather(*(predict(one, [image.pixels], timeout_s) for one in models))
        answer = _confidence(models, [one.rows[0] for one in found], asked.receipt_of(image))
        return Reply(encode(answer), timings=_timings(decode_s, max(found, key=lambda one: one.queue_s + one.infer_s)))

    def _understand(self, request: Inbound) -> tuple[ModelVersion, _Asked]:
        query = request.query
        return self._repository.find(query.get("model"), query.get("version")), _Asked(query)

    async def _one_image(self, request: Inbound, asked: _Asked) -> tuple[Normalised, float]:
        """The picture of the request as the network sees it, and the seconds that took."""
        body = await self._receive(request, "file")
        started = time.perf_counter()
        try:
            image = await self._read_body(body, asked)
        finally:
            self._budget.give_back(body.held)
        return image, time.perf_counter() - started

    async def _read_body(self, body: Body, asked: _Asked) -> Normalised:
        most = self._settings.max_image_pixels
        if body.size > INLINE_BYTES:
            return await self._in_thread(lambda: _read(bodies.one_picture(body), asked, most))
        picture = bodies.one_picture(body)
        if _is_light(picture.content):
            return _read(picture, asked, most)
        return await self._in_thread(lambda: _read(picture, asked, most))

    async def _receive(self, request: Inbound, wanted: str) -> Body:
        limits = self._settings
        return await bodies.receive(
            request,
            wanted=wanted,
            max_bytes=limits.max_body_bytes,
            max_files=limits.max_batch_images,
            budget=self._budget,
        )

    async def _in_thread(self, work: Callable[[], T]) -> T:
        """Read pictures in a thread. Raises `Overloaded` where too many wait, `DeadlineExceeded` for who waited."""
        if self._reading >= MAX_WAITING_READS:
            raise Overloaded(
                f"{self._reading} requests with large pictures wait to be read. Ask again after Retry-After.",
                retry_after_s=1.0,
            )
        limit_s = self._settings.request_timeout_s
        asked = time.perf_counter()

        def in_time() -> T:
            if (waited_s := time.perf_counter() - asked) > limit_s:
                raise DeadlineExceeded(
                    f"The picture waited {waited_s:.3f} s to be read, longer than DIGITS_REQUEST_TIMEOUT_S. "
                    "Ask again later, or send smaller pictures."
                )
            return work()

        self._reading += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._executor, in_time)
        finally:
            self._reading -= 1


def _is_light(content: bytes | bytearray | GreyImage | ServiceError) -> bool:
    """Whether reading it holds the event loop for well under a millisecond: few bytes may be a picture of millions."""
    if not isinstance(content, (bytes, bytearray)):
        return True
    width, height = int.from_bytes(content[16:20], "big"), int.from_bytes(content[20:24], "big")
    # 8-bit grey alone: all else is Pillow's, which holds a lock while it opens a file.
    grey = content[:8] == PNG_SIGNATURE and content[24:26] == b"\x08\x00"
    return grey and width * height <= INLINE_PIXELS


class _Asked:
    """The query of one request, checked. Raises `InvalidValue`."""

    __slots__ = ("prepare", "preprocess", "receipt")

    def __init__(self, query: Mapping[str, str]) -> None:
        self.preprocess = query.get("preprocess", "auto")
        prepare = PREPARE.get(self.preprocess)
        if prepare is None:
            raise InvalidValue(f"preprocess={self.preprocess!r}: expected auto or none.")
        self.prepare = prepare
        receipt = query.get("receipt", "false").lower()
        if receipt not in TRUTH:
            raise InvalidValue(f"receipt={receipt!r}: expected true or false.")
        self.receipt = TRUTH[receipt]

    def receipt_of(self, image: Normalised) -> Receipt | UnsetType:
        return Receipt(image.pixels.tolist(), list(image.steps), list(image.warnings)) if self.receipt else UNSET


PREPARE: Mapping[str, Callable[[Picture], Normalised]] = {"auto": normalise, "none": exact}
TRUTH = {"true": True, "1": True, "false": False, "0": False}


def _read(picture: Submitted, asked: _Asked, max_pixels: int) -> Normalised:
    """What the network sees of one picture. Raises `InvalidImage`, `TooLarge`, or what was wrong with it already."""
    content = picture.content
    if isinstance(content, (bytes, bytearray)):
        return asked.prepare(decode(content, max_pixels=max_pixels, reduce=asked.preprocess == "auto"))
    if isinstance(content, ServiceError):
        raise content
    return asked.prepare(from_pixels(content, max_pixels=max_pixels))


def _read_all(
    pictures: Sequence[Submitted], asked: _Asked, max_pixels: int
) -> tuple[Sequence[Submitted], list[Normalised | ServiceError]]:
    images: list[Normalised | ServiceError] = []
    for picture in pictures:
        try:
            images.append(_read(picture, asked, max_pixels))
        except ServiceError as error:
            images.append(error)
    return pictures, images


def _predicted(index: int, picture: Submitted, row: Prediction, receipt: Receipt | UnsetType) -> BatchItem:
    return BatchItem(index, picture.filename, row.digit, row.confidence, row.probabilities, receipt)


def _failed(index: int, picture: Submitted, error: ServiceError) -> BatchItem:
    return BatchItem(index, picture.filename, error=ItemError(error.code, error.detail))


def _confidence(
    models: Sequence[ModelVersion], rows: Sequence[Prediction], receipt: Receipt | UnsetType
) -> ConfidenceAnswer:
    model, row = models[0], rows[0]
    ranked = ranking(row)
    return ConfidenceAnswer(
        model_name=model.name,
        model_version=model.version,
        digit=row.digit,
        confidence=row.confidence,
        probabilities=row.probabilities,
        ranking=[Ranked(digit, probability) for digit, probability in ranked],
        margin=round(ranked[0][1] - ranked[1][1], 7),
        entropy=round(entropy(row), 7),
        models={
            one.name: ModelOpinion(one.version, its.digit, its.confidence, its.probabilities)
            for one, its in zip(models, rows, strict=True)
        },
        agreement=len({its.digit for its in rows}) == 1,
        receipt=receipt,
    )


def _timings(decode_s: float, found: Predictions) -> str:
    return f"decode;dur={decode_s * 1e3:.3f}, queue;dur={found.queue_s * 1e3:.3f}, infer;dur={found.infer_s * 1e3:.3f}"
