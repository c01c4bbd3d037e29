"""What the page says while the service cannot answer, and that it asks again by itself."""

import socket
from collections.abc import Callable
from urllib.parse import urlsplit

from hand import await_answer, draw, drop
from live import ROOT, serving
from mnist_strokes import sample, strokes
from playwright.sync_api import Page, expect

MODELS = ROOT / "models"
FAILED = "Failed to load resource: "


def test_a_service_that_stopped_is_asked_again_when_it_is_back(
    open_page: Callable[..., Page], expected_messages: list[str]
) -> None:
    expected_messages.append(FAILED)
    with serving(MODELS) as first:
        page = open_page(first.url)
        draw(page, strokes(sample(4, 8)))
        await_answer(page)
        first.stop()
    draw(page, strokes(sample(4, 8)))
    expect(page.get_by_role("alert")).to_contain_text("does not answer")
    with serving(MODELS, DIGITS_PORT=str(urlsplit(first.url).port)):
        expect(page.get_by_role("alert")).to_be_hidden()
        expect(page.locator("#digit")).to_have_text("4")


def test_a_service_with_a_key_asks_for_it_once(open_page: Callable[..., Page], expected_messages: list[str]) -> None:
    expected_messages.append(FAILED + "the server responded with a status of 401")
    with serving(MODELS, DIGITS_API_KEY="open sesame") as live:
        page = open_page(live.url)
        draw(page, strokes(sample(6, 8)))
        expect(page.get_by_role("alert")).to_contain_text("wants an API key")
        expect(page.get_by_label("API key")).to_be_focused()
        for key in ("wrong", "open sesame"):
            page.get_by_label("API key").fill(key)
            with page.expect_response("**/confidence?*"):
                page.get_by_label("API key").press("Enter")
        await_answer(page)
        assert page.locator("#digit").inner_text() == "6"
        assert "open sesame" not in page.content()
        page.reload()
        draw(page, strokes(sample(1, 8)))
        await_answer(page)


def test_what_is_too_large_is_told(open_page: Callable[..., Page], expected_messages: list[str]) -> None:
    expected_messages.append(FAILED + "the server responded with a status of 413")
    with serving(MODELS, DIGITS_MAX_BODY_BYTES="4096") as live:
        page = open_page(live.url)
        drop(page, ("large.png", "image/png", b"\x89PNG" + bytes(5000)))
        expect(page.get_by_role("alert")).to_contain_text("too large")
        expect(page.get_by_role("alert")).to_contain_text("DIGITS_MAX_BODY_BYTES")


def test_a_busy_service_is_asked_again_when_it_said(
    open_page: Callable[..., Page], expected_messages: list[str]
) -> None:
    expected_messages.append(FAILED + "the server responded with a status of 503")
    with serving(MODELS, DIGITS_MAX_QUEUE_SIZE="1") as live:
        page = open_page(live.url)
        address = urlsplit(live.url)
        with socket.create_connection((address.hostname, address.port)) as slow:  # its upload holds the only place
            slow.sendall(
                b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nContent-Length: 99999\r\n\r\n"
            )
            draw(page, strokes(sample(9, 8)))
            expect(page.get_by_role("alert")).to_contain_text("busy")
        expect(page.locator("#digit")).to_have_text("9")
        expect(page.get_by_role("alert")).to_be_hidden()
