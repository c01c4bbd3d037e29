"""Pictures of one turn of the loop are read together, each for its own request."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import pytest
from conftest import png, strokes

from service.api import gathering
from service.api.gathering import MOST, Gatherer, Ticket
from service.api.reading import PREPROCESS, SEVERAL, Reader
from service.api.submitted import Submitted
from service.errors import InvalidImage
from service.imaging.normalise import Normalised
from service.settings import Settings

AUTO, NONE = PREPROCESS["auto"], PREPROCESS["none"]
CENTRED = np.zeros((28, 28), np.uint8)
CENTRED[4:24, 12:16] = 255


class Desk:
    """Requests that go on with what became of their pictures, in the order in which they do."""

    def __init__(self, settings: Settings) -> None:
        self.read: dict[str, Any] = {}
        self.ended: list[str] = []
        self._gatherer = Gatherer(Reader(settings, None))  # type: ignore[arg-type] - nothing here needs a thread

    def ask(self, name: str, content: Any, preprocess: Any = AUTO) -> Ticket:
        def go_on(image: Any, decode_s: float) -> Callable[[], object]:
            assert decode_s > 0
            self.read[name] = image
            return lambda: self.ended.append(name)

        return self._gatherer.add(Submitted(content), preprocess, go_on)


@pytest.fixture
def complaints(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    logged: list[str] = []
    monkeypatch.setattr(gathering.log, "exception", logged.append)
    return logged


def tell(story: Callable[[Desk], Awaitable[None]], settings: Settings) -> None:
    async def run() -> None:
        await story(Desk(settings))

    asyncio.run(run())


def test_each_request_gets_its_own_picture_or_error_in_the_next_turn(settings: Callable[..., Settings]) -> None:
    async def story(desk: Desk) -> None:
        desk.ask("auto", png(CENTRED))
        desk.ask("other", png(CENTRED[:, ::-1]))
        desk.ask("raw", png(CENTRED[::-1]), NONE)
        desk.ask("wrong size", png(CENTRED[1:]), NONE)
        desk.ask("broken", InvalidImage("what is wrong"))
        desk.ask("heavy", png(np.zeros((200, 200), np.uint8)))
        assert desk.read == {}
        await asyncio.sleep(0)
        assert (desk.read["auto"].pixels == CENTRED).all()
        assert (desk.read["other"].pixels == CENTRED[:, ::-1]).all()
        assert (desk.read["raw"].pixels == CENTRED[::-1]).all()
        assert isinstance(desk.read["wrong size"], InvalidImage)
        assert desk.read["broken"].detail == "what is wrong"
        assert desk.read["heavy"] is None

    tell(story, settings())


def test_a_picture_is_the_same_read_alone_and_among_others(settings: Callable[..., Settings]) -> None:
    pictures = [CENTRED, 255 - CENTRED, np.roll(CENTRED, 3, 1), strokes()] * 2
    assert len(pictures) >= SEVERAL

    async def story(desk: Desk) -> None:
        for index, picture in enumerate(pictures):
            desk.ask(f"alone {index}", png(picture))
            await asyncio.sleep(0)
        for index, picture in enumerate(pictures):
            desk.ask(f"among {index}", png(picture))
        await asyncio.sleep(0)
        for index in range(len(pictures)):
            alone, among = desk.read[f"alone {index}"], desk.read[f"among {index}"]
            assert isinstance(alone, Normalised)
            assert (alone.pixels == among.pixels).all()
            assert (alone.steps, alone.warnings) == (among.steps, among.warnings)

    tell(story, settings())


def test_who_left_before_is_not_read_and_who_leaves_after_ends_what_followed(
    settings: Callable[..., Settings],
) -> None:
    async def story(desk: Desk) -> None:
        gone, stays = desk.ask("gone", png(CENTRED)), desk.ask("stays", png(CENTRED))
        gone.leave()
        await asyncio.sleep(0)
        assert list(desk.read) == ["stays"]
        assert desk.ended == []
        stays.leave()
        assert desk.ended == ["stays"]

    tell(story, settings())


def test_no_turn_reads_more_than_its_share_and_none_is_forgotten(settings: Callable[..., Settings]) -> None:
    async def story(desk: Desk) -> None:
        for number in range(2 * MOST + 1):
            desk.ask(str(number), png(CENTRED))
        counts = []
        for _ in range(3):
            await asyncio.sleep(0)
            counts.append(len(desk.read))
        assert counts == [MOST, 2 * MOST, 2 * MOST + 1]
        assert list(desk.read) == [str(number) for number in range(2 * MOST + 1)]

    tell(story, settings())


def test_a_request_that_fails_on_its_picture_disturbs_no_other(
    settings: Callable[..., Settings], complaints: list[str]
) -> None:
    async def story(desk: Desk) -> None:
        desk.ask("first", png(CENTRED))
        desk._gatherer.add(Submitted(png(CENTRED)), AUTO, lambda _image, _decode_s: {}["no such key"])
        desk.ask("last", png(CENTRED))
        await asyncio.sleep(0)
        assert list(desk.read) == ["first", "last"]
        assert complaints == ["a request failed on its picture"]

    tell(story, settings())


def test_what_cannot_be_read_together_is_left_to_be_read_alone(
    settings: Callable[..., Settings], complaints: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Reader, "light", lambda *_: {}["no such key"])

    async def story(desk: Desk) -> None:
        desk.ask("first", png(CENTRED))
        desk.ask("second", png(CENTRED))
        await asyncio.sleep(0)
        assert desk.read == {"first": None, "second": None}
        assert complaints == ["pictures could not be read together"]

    tell(story, settings())
