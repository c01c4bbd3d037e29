"""The short cut: places at the door are given back, known heads are no looser than the parser, order is kept."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import pytest
import uvicorn
from conftest import png, strokes
from uvicorn.server import ServerState

from service.api import heads
from service.api.reading import LIGHT_BODY_BYTES
from service.app import DigitService, create_app
from service.hot_protocol import SHORT_CUT_BYTES, SMALL_BYTES, HotProtocol
from service.settings import Settings

BODY = png(strokes())
HEAD = b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-type: image/png\r\ncontent-length: %d\r\n\r\n" % len(BODY)
REQUEST = HEAD + BODY
Story = Callable[[DigitService], Awaitable[None]]


class Link(asyncio.Transport):
    """The client's side of a connection: what was written to it, and whether it is open."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.answered = asyncio.Event()
        self.closed = asyncio.Event()

    def write(self, data: Any) -> None:
        self.written += data
        self.answered.set()

    async def answer(self) -> bytes:
        """All that was written since the last call."""
        await self.answered.wait()
        self.answered.clear()
        written, self.written = self.written, b""
        return written

    def is_closing(self) -> bool:
        return self.closed.is_set()

    def close(self) -> None:
        self.closed.set()

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None:
        assert not self.is_closing()


def connected(app: DigitService) -> tuple[HotProtocol, Link]:
    config = uvicorn.Config(app, http=HotProtocol, proxy_headers=False, ws="none", log_config=None)
    config.load()
    protocol, link = HotProtocol(config, ServerState(), {}), Link()
    protocol.connection_made(link)
    return protocol, link


def tell(story: Story, settings: Settings) -> None:
    async def run() -> None:
        app = create_app(settings)
        async with app.router.lifespan_context(app):
            await story(app)

    asyncio.run(run())


def test_a_client_that_leaves_before_its_request_is_begun_gives_its_place_back(
    settings: Callable[..., Settings],
) -> None:
    async def story() -> None:
        app = create_app(settings(max_queue_size=2))
        async with app.router.lifespan_context(app):
            for _ in range(5):
                protocol, _link = connected(app)
                protocol.data_received(REQUEST)
                protocol.connection_lost(ConnectionResetError())  # before the loop turns
                await asyncio.gather(*protocol.tasks, return_exceptions=True)
                await asyncio.sleep(0)
            protocol, link = connected(app)
            protocol.data_received(REQUEST)
            await link.answered.wait()
            assert link.written.startswith(b"HTTP/1.1 200")

    asyncio.run(story())


def test_the_door_refuses_at_once_and_reads_again_only_from_who_is_still_there(
    settings: Callable[..., Settings],
) -> None:
    async def story() -> None:
        app = create_app(settings(max_queue_size=1))
        async with app.router.lifespan_context(app):
            first, link = connected(app)
            second, refused = connected(app)
            first.data_received(REQUEST)
            second.data_received(REQUEST)
            assert refused.written.startswith(b"HTTP/1.1 503")
            assert b"retry-after: 1" in refused.written
            refused.close()
            second._read_again()
            await link.answered.wait()
            assert link.written.startswith(b"HTTP/1.1 200")

    asyncio.run(story())


def test_a_client_that_leaves_while_the_network_runs_frees_its_place_and_disturbs_nobody(
    settings: Callable[..., Settings],
) -> None:
    async def story(app: DigitService) -> None:
        leaving, _ = connected(app)
        staying, link = connected(app)
        leaving.data_received(REQUEST)
        staying.data_received(REQUEST)
        batcher = app.repository.find("cnn").batcher
        assert batcher is not None
        await asyncio.sleep(0)  # in this turn both pictures are read
        assert batcher.statistics().queued_images == 2
        leaving.connection_lost(None)
        assert batcher.statistics().queued_images == 1
        assert (await link.answer()).startswith(b"HTTP/1.1 200")
        assert batcher.statistics().images == 1

    tell(story, settings(max_queue_size=2))


def test_who_leaves_before_the_answer_is_counted_and_logged_once(settings: Callable[..., Settings]) -> None:
    async def story(app: DigitService) -> None:
        ended: list[tuple[str, int]] = []
        app.edge.access_log.write = lambda _method, path, status, *_: ended.append((path, status))  # type: ignore[method-assign]

        async def left(sent: bytes, turns: int) -> list[tuple[str, int]]:
            ended.clear()
            protocol, _ = connected(app)
            protocol.data_received(sent)
            for _ in range(turns):
                await asyncio.sleep(0)
            protocol.connection_lost(ConnectionResetError())
            await asyncio.gather(*protocol.tasks, return_exceptions=True)
            return ended

        assert await left(REQUEST, 0) == [("/predict", 499)]
        assert await left(REQUEST, 1) == [("/predict", 499)]
        assert await left(REQUEST[:-1], 0) == [("/predict", 499)]
        assert await left(REQUEST.replace(b"/predict", b"/saliency"), 1) == [("/saliency", 499)]
        assert await left(b"", 0) == []
        app.edge.take_place()  # which all of them gave back

    tell(story, settings(max_queue_size=1))


def test_a_small_body_whose_picture_takes_long_is_answered_and_may_be_left(settings: Callable[..., Settings]) -> None:
    drawing = np.full((90, 70), 255, np.uint8)
    drawing[20:70, 30:40] = 0
    body = png(drawing)
    assert len(body) < LIGHT_BODY_BYTES
    request = HEAD.replace(b"%d" % len(BODY), b"%d" % len(body)) + body

    async def story(app: DigitService) -> None:
        leaving, unread = connected(app)
        staying, link = connected(app)
        leaving.data_received(request)
        staying.data_received(request)
        await asyncio.sleep(0)  # in this turn both go to a thread
        leaving.connection_lost(None)
        assert (await link.answer()).startswith(b"HTTP/1.1 200")
        staying.data_received(request)
        again, both = connected(app)  # who left holds no place
        again.data_received(request)
        assert (await link.answer()).startswith(b"HTTP/1.1 200")
        assert (await both.answer()).startswith(b"HTTP/1.1 200")
        assert unread.written == b""

    tell(story, settings(max_queue_size=2))


def test_a_head_that_came_before_is_answered_like_the_first_time(settings: Callable[..., Settings]) -> None:
    async def story(app: DigitService) -> None:
        bodies = []
        for _ in range(3):  # the third time on a connection of its own
            protocol, link = connected(app)
            for _ in range(2):
                protocol.data_received(REQUEST)
                bodies.append((await link.answer()).partition(b"\r\n\r\n")[2])
        assert list(app.edge.known_heads) == [HEAD]
        assert len(bodies) == 6
        assert len(set(bodies)) == 1

    tell(story, settings())


@pytest.mark.parametrize(
    "sent",
    [
        b"\r\n\r\n" + REQUEST,
        b"\r\n" + REQUEST,
        REQUEST.replace(b"\r\nhost", b"\nhost"),
        REQUEST.replace(b"\r\n\r\n", b"\n\n", 1),
        REQUEST.replace(b"host: x", b"host: x\r\nconnection: close"),
        REQUEST.replace(b"host: x", b"host: x\r\nexpect: 100-continue"),
        REQUEST.replace(b"host: x", b"host: x\r\ntransfer-encoding: chunked"),
        REQUEST.replace(b"host: x", b"x-long: " + b"x" * 2000),
        REQUEST.replace(b"POST", b"PUT"),
        REQUEST.replace(b"/predict", b"/models"),
        REQUEST + REQUEST,
        HEAD,
        HEAD + BODY[:-1],
    ],
)
def test_nothing_unusual_is_learned(settings: Callable[..., Settings], sent: bytes) -> None:
    async def story(app: DigitService) -> None:
        protocol, _ = connected(app)
        protocol.data_received(sent)
        assert [raw for raw in app.edge.known_heads if raw != HEAD] == []
        # Nor may the head without its whole body be taken for a request, or for the start of another.
        assert sent != HEAD or not app.edge.known_heads

    tell(story, settings())


def test_a_known_head_waits_for_its_body_and_takes_no_more_than_it(settings: Callable[..., Settings]) -> None:
    async def story(app: DigitService) -> None:
        protocol, link = connected(app)
        protocol.data_received(REQUEST)
        first = (await link.answer()).partition(b"\r\n\r\n")[2]
        protocol.data_received(HEAD)
        protocol.data_received(BODY[:50])
        protocol.data_received(BODY[50:] + HEAD)  # the next one begins with the end of this one
        assert (await link.answer()).endswith(first)
        protocol.data_received(BODY)
        assert (await link.answer()).endswith(first)

    tell(story, settings())


def test_pipelined_requests_with_a_known_head_are_answered_in_order(settings: Callable[..., Settings]) -> None:
    ids = [b"first", b"second", b"third", b"fourth"]

    async def story(app: DigitService) -> None:
        protocol, link = connected(app)
        for name in ids * 2:
            protocol.data_received(REQUEST.replace(b"host: x", b"x-request-id: " + name))
        written = b""
        while written.count(b"HTTP/1.1 200") < 2 * len(ids):
            written += await link.answer()
        told = [line.partition(b": ")[2] for line in written.split(b"\r\n") if line.startswith(b"x-request-id")]
        assert told == ids * 2

    tell(story, settings())


def test_who_sends_and_never_reads_is_not_answered_without_end(settings: Callable[..., Settings]) -> None:
    async def story(app: DigitService) -> None:
        protocol, link = connected(app)
        protocol.data_received(REQUEST)
        await link.answer()
        protocol.pause_writing()  # as the transport does once the client's buffers and its own are full
        for _ in range(3):
            protocol.data_received(REQUEST)
        await asyncio.sleep(0)
        while (batcher := app.repository.find("cnn").batcher) is not None and batcher.statistics().images < 2:
            await asyncio.sleep(0)
        assert not link.written
        protocol.resume_writing()
        written = b""
        while written.count(b"HTTP/1.1 200") < 3:
            written += await link.answer()

    tell(story, settings())


def test_heads_are_forgotten_rather_than_kept_without_bound(settings: Callable[..., Settings]) -> None:
    async def story(app: DigitService) -> None:
        protocol, link = connected(app)
        for number in range(heads.MOST_HEADS + 10):
            protocol.data_received(REQUEST.replace(b"host: x", b"host: %d" % number).replace(BODY, b"x" * len(BODY)))
            await link.answer()
        assert len(app.edge.known_heads) == 10

    tell(story, settings(access_log=False))


PROBE = b"GET /health/live HTTP/1.1\r\nhost: x\r\n\r\n"


@pytest.mark.parametrize("asked", [REQUEST, PROBE], ids=["short cut", "framework"])
@pytest.mark.parametrize(
    ("before", "come"),
    [(b"", 0), (REQUEST, 0), (b"", 20), (b"", -1)],
    ids=["new", "idle", "in its head", "nearly whole"],
)
def test_a_request_that_is_on_its_way_when_we_stop_is_answered_and_told_to_be_the_last(
    settings: Callable[..., Settings], asked: bytes, before: bytes, come: int
) -> None:
    async def story(app: DigitService) -> None:
        protocol, link = connected(app)
        if before:
            protocol.data_received(before)
            await link.answer()
        protocol.data_received(asked[:come])
        protocol.shutdown()
        assert not link.is_closing()
        protocol.data_received(asked[come:])
        answer = b""
        while not answer.endswith(b"}"):
            answer += await link.answer()
        assert answer.startswith(b"HTTP/1.1 200")
        assert b"\r\nconnection: close\r\n" in answer
        await link.closed.wait()

    tell(story, settings())


@pytest.mark.parametrize("sent", [b"", REQUEST, HEAD[:20]])
def test_who_asks_nothing_is_hung_up_on_a_moment_after_we_stop(settings: Callable[..., Settings], sent: bytes) -> None:
    async def story(app: DigitService) -> None:
        protocol, link = connected(app)
        protocol.data_received(sent)
        if sent == REQUEST:
            await link.answer()
        protocol.shutdown()
        await link.closed.wait()
        assert not link.written

    tell(story, settings())


def test_a_body_that_is_awaited_when_we_stop_has_longer_than_a_moment(settings: Callable[..., Settings]) -> None:
    async def story(app: DigitService) -> None:
        protocol, link = connected(app)
        protocol.data_received(HEAD)
        protocol.shutdown()
        protocol._close_unless_asked()
        protocol.data_received(BODY)
        assert (await link.answer()).startswith(b"HTTP/1.1 200")
        assert link.is_closing()

    tell(story, settings())


async def settled(protocol: HotProtocol) -> None:
    await asyncio.gather(*protocol.tasks, return_exceptions=True)
    await asyncio.sleep(0)


def test_a_large_body_in_pieces_holds_its_bytes_of_the_budget_until_it_is_answered_or_its_sender_is_gone(
    settings: Callable[..., Settings],
) -> None:
    large = png(np.random.default_rng(0).integers(0, 256, (300, 300), np.uint8))
    head = HEAD.replace(b"content-length: %d" % len(BODY), b"content-length: %d" % len(large))
    assert SMALL_BYTES < len(large) < SHORT_CUT_BYTES

    async def story(app: DigitService) -> None:
        protocol, link = connected(app)
        protocol.data_received(head)
        protocol.data_received(large[:1000])
        assert app.budget.held == len(large)
        protocol.data_received(large[1000:])
        assert (await link.answer()).startswith(b"HTTP/1.1 200")
        await settled(protocol)
        assert app.budget.held == 0
        protocol.data_received(head + large[:1000])
        assert app.budget.held == len(large)
        protocol.connection_lost(None)
        assert app.budget.held == 0

    tell(story, settings())


def test_a_large_body_that_finds_no_room_is_refused_in_words(settings: Callable[..., Settings]) -> None:
    async def story(app: DigitService) -> None:
        protocol, link = connected(app)
        app.budget.take(app.budget.max_bytes - 1000)
        protocol.data_received(HEAD.replace(b"content-length: %d" % len(BODY), b"content-length: 100000") + BODY)
        protocol.data_received(b"x" * 2000)
        assert (await link.answer()).startswith(b"HTTP/1.1 503")
        await settled(protocol)
        assert app.budget.held == app.budget.max_bytes - 1000

    tell(story, settings())


async def refusal(app: DigitService, *chunks: bytes) -> bytes:
    """What is answered to these bytes before the connection is closed."""
    protocol, link = connected(app)
    for chunk in chunks:
        if not link.is_closing():
            protocol.data_received(chunk)
            await asyncio.sleep(0)
    assert link.is_closing()
    return await link.answer()


@pytest.mark.parametrize("piece", [8192, 1_000_000])
@pytest.mark.parametrize("long", ["url", "header"])
def test_a_head_over_its_bound_is_refused_however_it_comes(
    settings: Callable[..., Settings], piece: int, long: str
) -> None:
    filler = b"a" * 70_000
    head = b"GET /%b HTTP/1.1\r\nhost: x\r\nx: %b\r\n\r\n" % ((filler, b"") if long == "url" else (b"", filler))

    async def story(app: DigitService) -> None:
        answer = await refusal(app, *(head[at : at + piece] for at in range(0, len(head), piece)))
        assert answer.startswith(b"HTTP/1.1 431 ")

    tell(story, settings())


def test_a_head_within_its_bound_is_read(settings: Callable[..., Settings]) -> None:
    async def story(app: DigitService) -> None:
        protocol, link = connected(app)
        protocol.data_received(b"GET /health/live HTTP/1.1\r\nhost: x\r\nx: %b\r\n\r\n" % (b"a" * 60_000))
        assert (await link.answer()).startswith(b"HTTP/1.1 200 ")

    tell(story, settings())


def test_a_broken_chunk_is_told_although_the_handler_waits_for_it(settings: Callable[..., Settings]) -> None:
    head = b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-type: image/png\r\ntransfer-encoding: chunked\r\n\r\n"

    async def story(app: DigitService) -> None:
        assert (await refusal(app, head, b"ZZ\r\n")).startswith(b"HTTP/1.1 400 ")

    tell(story, settings())
