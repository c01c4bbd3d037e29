"""Places at the door: each is given back, also for a client that is gone before its request was begun."""

import asyncio
from collections.abc import Callable
from typing import Any

import uvicorn
from conftest import png, strokes
from uvicorn.server import ServerState

from service.app import DigitService, create_app
from service.hot_protocol import HotProtocol
from service.settings import Settings

BODY = png(strokes())
REQUEST = (
    b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-type: image/png\r\ncontent-length: %d\r\n\r\n" % len(BODY) + BODY
)


class Link(asyncio.Transport):
    """The client's side of a connection: what was written to it, and whether it is open."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.closing = False

    def write(self, data: Any) -> None:
        self.written += data

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        self.closing = True

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None:
        assert not self.closing


def connected(app: DigitService) -> tuple[HotProtocol, Link]:
    config = uvicorn.Config(app, http=HotProtocol, proxy_headers=False, ws="none", log_config=None)
    config.load()
    protocol, link = HotProtocol(config, ServerState(), {}), Link()
    protocol.connection_made(link)
    return protocol, link


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
            await asyncio.gather(*protocol.tasks)
            assert link.written.startswith(b"HTTP/1.1 200")

    asyncio.run(story())


def test_the_door_refuses_at_once_and_reads_again_only_from_who_is_still_there(
    settings: Callable[..., Settings],
) -> None:
    async def story() -> None:
        app = create_app(settings(max_queue_size=1))
        async with app.router.lifespan_context(app):
            first, answered = connected(app)
            second, refused = connected(app)
            first.data_received(REQUEST)
            second.data_received(REQUEST)
            assert refused.written.startswith(b"HTTP/1.1 503")
            assert b"retry-after: 1" in refused.written
            refused.close()
            second._read_again()
            await asyncio.gather(*first.tasks)
            assert answered.written.startswith(b"HTTP/1.1 200")

    asyncio.run(story())
