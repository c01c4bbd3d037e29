"""What the page says while the service cannot answer, and that it asks again by itself."""

import socket
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from hand import await_answer, draw, drop, drop_from_disk
from live import ROOT, serving
from mnist_strokes import sample, strokes
from playwright.sync_api import Page, expect

MODELS = ROOT / "models"
SEVEN = (ROOT / "service/examples/seven.png").read_bytes()
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


def test_every_view_asks_for_the_key_and_goes_on_with_it(
    open_page: Callable[..., Page], expected_messages: list[str], tmp_path: Path
) -> None:
    expected_messages.append(FAILED + "the server responded with a status of 401")
    report = tmp_path / f"cnn-{max(int(path.name) for path in (MODELS / 'cnn').iterdir())}"
    report.mkdir()
    (report / "index.html").write_text("<title>Report</title><h1>All about it</h1>")
    with serving(MODELS, DIGITS_API_KEY="open sesame", DIGITS_REPORTS=str(tmp_path)) as live:
        for way in ("#models", "#many", "docs"):
            page = open_page(f"{live.url}/{way}")
            if way == "#many":
                drop(page, ("seven.png", "image/png", SEVEN), ("seven.png", "image/png", SEVEN))
            expect(page.get_by_role("alert")).to_contain_text("wants an API key")
            page.get_by_label("API key").fill("open sesame")
            page.get_by_label("API key").press("Enter")
            expect(page.get_by_role("alert")).to_be_hidden()
            shown = {
                "#models": "#models article",
                "#many": "#many-table tbody tr",
                "docs": "#operations-digits-predict",
            }
            page.locator(shown[way]).first.wait_for()
            if way == "#models":
                page.get_by_role("link", name="Training report").click()
                expect(page.get_by_role("heading")).to_have_text("All about it")
                page.go_back()
                page.get_by_role("link", name="API").click()
                page.locator(shown["docs"]).wait_for()  # the key of the page is good for it


def test_a_view_that_fails_is_not_asked_again_and_again(
    open_page: Callable[..., Page], expected_messages: list[str]
) -> None:
    expected_messages.append(FAILED + "the server responded with a status of 401")
    with serving(MODELS, DIGITS_API_KEY="open sesame") as live:
        page = open_page(live.url)
        asked = []
        page.on("request", lambda request: asked.append(request.url))
        page.get_by_role("link", name="Models").click()
        expect(page.get_by_role("alert")).to_contain_text("wants an API key")
        page.wait_for_load_state("networkidle")
        assert [url for url in asked if "/web/" not in url] == [f"{live.url}/models"]


def test_a_list_goes_on_when_the_service_is_back(open_page: Callable[..., Page], expected_messages: list[str]) -> None:
    expected_messages.append(FAILED)
    with serving(MODELS) as first:
        page = open_page(f"{first.url}/#many")
        first.stop()
    drop(page, *[(f"{number}.png", "image/png", SEVEN) for number in range(3)])
    expect(page.get_by_role("alert")).to_contain_text("does not answer")
    with serving(MODELS, DIGITS_PORT=str(urlsplit(first.url).port)):
        expect(page.locator("#many-said")).to_contain_text("3 read, 0 not")
        expect(page.get_by_role("alert")).to_be_hidden()


def test_a_folder_is_told_and_spoils_no_file_beside_it(page: Page, tmp_path: Path) -> None:
    folder, seven = tmp_path / "scans", tmp_path / "seven.png"
    folder.mkdir()
    seven.write_bytes(SEVEN)
    drop_from_disk(page, folder)
    expect(page.get_by_role("alert")).to_contain_text("scans: The file cannot be read. If it is a folder")
    page.get_by_role("button", name="Dismiss").click()
    expect(page.get_by_role("alert")).to_be_hidden()
    drop_from_disk(page, folder, seven)
    expect(page.locator("#many-said")).to_contain_text("1 read, 1 not")
    expect(page.locator("#many-table .failed")).to_contain_text("folder")


def test_a_test_digit_that_cannot_be_fetched_is_told(
    open_page: Callable[..., Page], expected_messages: list[str]
) -> None:
    expected_messages.append(FAILED)
    with serving(MODELS) as live:
        page = open_page(live.url)
        live.stop()
        page.locator("#random").click()
        expect(page.get_by_role("alert")).to_contain_text("does not answer")


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
                b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nContent-Length: 999999\r\n\r\n"
            )
            draw(page, strokes(sample(9, 8)))
            expect(page.get_by_role("alert")).to_contain_text("busy")
        expect(page.locator("#digit")).to_have_text("9")
        expect(page.get_by_role("alert")).to_be_hidden()
