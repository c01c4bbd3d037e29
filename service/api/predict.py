"""The routes that predict or explain: a request to pictures, to what the networks say, to an answer."""

from __future__ import annotations

import asyncio
import time
from functools import partial

from service.api import answers, bodies
from service.api.asked import Asked, asked_by
from service.api.bodies import Body, Budget
from service.api.charts import reply_in_form
from service.api.gathering import Gatherer
from service.api.reading import LIGHT_BODY_BYTES, Reader
from service.api.reply import Deliver, Inbound, Leave, Reply, raised
from service.api.schemas import BatchAnswer, encode
from service.api.submitted import one_picture
from service.errors import ServiceError
from service.imaging.normalise import Normalised
from service.inference.predictor import Predictions, ask, predict, read
from service.inference.repository import Repository
from service.inference.saliency import Saliency, occlusion
from service.inference.version import ModelVersion
from service.inference.waiting import Answer
from service.settings import Settings


class DigitRoutes:
    """The handlers of the routes that predict."""

    def __init__(self, repository: Repository, settings: Settings, reader: Reader, budget: Budget) -> None:
        self._repository = repository
        self._settings = settings
        self._reader = reader
        self._budget = budget
        self._gatherer = Gatherer(reader)

    async def predict(self, request: Inbound) -> Reply:
        model, asked = self._understand(request)
        image, decode_s = await self._one_image(request, asked)
        found = await predict(model, [image], self._settings.request_timeout_s)
        return _one_predicted(found, asked, image, decode_s)

    def predict_at_once(self, request: Inbound, deliver: Deliver) -> Leave | None:
        """`predict` for a small body, without a coroutine: `deliver` gets the reply, or what raises its error, when the
        network has run, unless what this gives is called before. None, and nothing is done, for other bodies.
        """
        model, asked = self._understand(request)
        kind, content = bodies.kind_of(request), request.body
        if content is None or len(content) > LIGHT_BODY_BYTES:
            return None
        max_bytes = self._settings.max_body_bytes
        body = bodies.at_once(request, content, kind, wanted="file", max_bytes=max_bytes, max_files=1)
        if body is None:
            return None
        ask = partial(self._ask, request, model, asked, deliver)
        return self._gatherer.add(one_picture(body), asked.preprocess, ask).leave

    def _ask(
        self,
        request: Inbound,
        model: ModelVersion,
        asked: Asked,
        deliver: Deliver,
        image: Normalised | ServiceError | None,
        decode_s: float,
    ) -> Leave | None:
        """Go on with what became of the picture; gives what ends the wait for the answer, where it is not there yet."""
        if image is None:
            return asyncio.create_task(self._predict_heavy(request, deliver)).cancel
        if isinstance(image, ServiceError):
            deliver(raised, image)
            return None

        def reply_of(outcome: Answer | ServiceError) -> Reply:
            return _one_predicted(read(model, (image,), outcome), asked, image, decode_s)

        request.decode_s = decode_s
        try:
            return ask(model, image, self._settings.request_timeout_s, partial(deliver, reply_of)).leave
        except Exception as error:  # noqa: BLE001 - whatever is raised becomes an answer
            deliver(raised, error)
            return None

    async def _predict_heavy(self, request: Inbound, deliver: Deliver) -> None:
        try:
            reply = await self.predict(request)
        except Exception as error:  # noqa: BLE001 - whatever is raised becomes an answer
            deliver(raised, error)
        else:
            deliver(_unchanged, reply)

    async def predict_batch(self, request: Inbound) -> Reply:
        model, asked = self._understand(request)
        limits = self._settings
        body = await self._receive(request, "files")
        request.decode_at = started = time.perf_counter()
        try:
            pictures, images = await self._reader.many(body, asked.preprocess)
        finally:
            self._budget.give_back(body.held)
        request.decode_s = decode_s = time.perf_counter() - started
        good = [image for image in images if isinstance(image, Normalised)]
        found = await predict(model, good, limits.request_timeout_s) if good else Predictions(model, [], 0, 0)
        rows = iter(found.rows)
        items = [
            answers.failed_item(index, picture, image)
            if isinstance(image, ServiceError)
            else answers.item(index, picture, model, next(rows), asked, image)
            for index, (picture, image) in enumerate(zip(pictures, images, strict=True))
        ]
        answer = BatchAnswer(model.name, model.version, items, len(good), len(items) - len(good))
        return Reply(encode(answer), timings=_timings(decode_s, found))

    async def confidence(self, request: Inbound) -> Reply:
        model, asked = self._understand(request)
        models = [model, *(other for other in self._repository.digit_models() if other.name != model.name)]
        image, decode_s = await self._one_image(request, asked)
        timeout_s = self._settings.request_timeout_s
        found = await asyncio.gather(*(predict(one, [image], timeout_s) for one in models))
        answer = answers.confidence(models, [one.rows[0] for one in found], asked, image)
        timings = _timings(decode_s, max(found, key=lambda one: one.queue_s + one.infer_s))
        return await reply_in_form(request.headers.get(b"accept", b"").decode("latin-1"), answer, image.pixels, timings)

    async def saliency(self, request: Inbound) -> Reply:
        model, asked = self._understand(request)
        image, decode_s = await self._one_image(request, asked)
        found = await occlusion(model, image.pixels, self._settings.request_timeout_s)
        answer = answers.saliency(model, found, asked, image)
        return Reply(encode(answer), timings=_timings(decode_s, found))

    def _understand(self, request: Inbound) -> tuple[ModelVersion, Asked]:
        asked = asked_by(request.raw_query)
        request.model = model = self._repository.find(asked.model, asked.version, digits=True)
        return model, asked

    async def _one_image(self, request: Inbound, asked: Asked) -> tuple[Normalised, float]:
        """The picture of the request as the network sees it, and the seconds that took."""
        body = await self._receive(request, "file")
        request.decode_at = started = time.perf_counter()
        try:
            image = await self._reader.one(body, asked.preprocess)
        finally:
            self._budget.give_back(body.held)
        request.decode_s = decode_s = time.perf_counter() - started
        return image, decode_s

    async def _receive(self, request: Inbound, wanted: str) -> Body:
        limits = self._settings
        return await bodies.receive(
            request,
            wanted=wanted,
            max_bytes=limits.max_body_bytes,
            max_files=limits.max_batch_images,
            budget=self._budget,
        )


def _one_predicted(found: Predictions, asked: Asked, image: Normalised, decode_s: float) -> Reply:
    answer = answers.predicted(found.model, found.rows[0], asked, image)
    return Reply(encode(answer), timings=_timings(decode_s, found))


def _unchanged(reply: Reply) -> Reply:
    return reply


def _timings(decode_s: float, found: Predictions | Saliency) -> str:
    return f"decode;dur={decode_s * 1e3:.3f}, queue;dur={found.queue_s * 1e3:.3f}, infer;dur={found.infer_s * 1e3:.3f}"
