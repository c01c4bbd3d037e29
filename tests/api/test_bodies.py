"""Bodies that arrive in pieces: the limits hold at every piece, and nothing stays counted."""

import asyncio
from collections.abc import Sequence

import pytest

from service.api.bodies import Body, Budget, Disconnected, receive
from service.api.reply import Inbound
from service.errors import MalformedRequest, Overloaded, TooLarge

RAW = b"image/png"
FORM = b"multipart/form-data; boundary=b"


def read(chunks: Sequence[bytes | None], budget: Budget, content_type: bytes = RAW, max_bytes: int = 100) -> Body:
    """The body made of these chunks; None is a client that leaves."""
    left = list(chunks)

    async def next_message() -> dict[str, object]:
        chunk = left.pop(0)
        if chunk is None:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": chunk, "more_body": bool(left)}

    request = Inbound("POST", b"/predict", b"", {b"content-type": content_type}, next_message)
    return asyncio.run(receive(request, wanted="file", max_bytes=max_bytes, max_files=9, budget=budget))


def test_pieces_are_put_together_and_counted_until_given_back() -> None:
    budget = Budget(100)
    body = read([b"ab", b"", b"cd"], budget)
    assert (bytes(body.content), body.size, body.held, budget.held) == (b"abcd", 4, 4, 4)


def test_a_body_in_one_piece_costs_nothing() -> None:
    budget = Budget(1)
    assert read([b"abcd"], budget).held == budget.held == 0


@pytest.mark.parametrize(
    ("chunks", "content_type", "error"),
    [
        ([b"x" * 60, b"x" * 60], RAW, TooLarge),
        ([b"x" * 120], RAW, TooLarge),
        ([b"x" * 30, b"x" * 30], RAW, Overloaded),
        ([b"x" * 10, None], RAW, Disconnected),
        ([b"--b\r\n", b"\x00\x00"], FORM, MalformedRequest),
    ],
)
def test_whatever_ends_a_body_early_gives_its_bytes_back(
    chunks: list[bytes | None], content_type: bytes, error: type[Exception]
) -> None:
    budget = Budget(50 if error is Overloaded else 1000)
    with pytest.raises(error):
        read(chunks, budget, content_type)
    assert budget.held == 0


def test_a_refusal_for_memory_names_its_setting_and_when_to_come_back() -> None:
    with pytest.raises(Overloaded, match="DIGITS_MAX_PENDING_BYTES") as refusal:
        read([b"x" * 30, b"x" * 30], Budget(50))
    assert refusal.value.retry_after_s > 0
