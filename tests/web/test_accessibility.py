"""axe-core finds nothing to complain of, in light and dark, wide and narrow, empty, answered and failed."""

from collections.abc import Callable

import pytest
from axe_playwright_python.sync_playwright import Axe
from hand import await_answer, draw, drop
from live import ROOT, Live
from mnist_strokes import sample, strokes
from playwright.sync_api import Page, expect

SEVEN = (ROOT / "service/examples/seven.png").read_bytes()
LOOKS = [(scheme, width) for scheme in ("light", "dark") for width in (360, 1280)]


def check(page: Page) -> None:
    page.wait_for_timeout(250)  # colours and bars move for a moment; axe would measure them half way
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "it scrolls sideways"


@pytest.mark.parametrize(("scheme", "width"), LOOKS)
def test_axe_finds_nothing(
    open_page: Callable[..., Page], service: Live, expected_messages: list[str], scheme: str, width: int
) -> None:
    expected_messages.append("Failed to load resource: the server responded with a status of 422")
    page = open_page(service.url, color_scheme=scheme, viewport={"width": width, "height": 800})
    check(page)
    page.get_by_role("link", name="Models").click()
    page.locator("#models article").first.wait_for()
    page.get_by_text("The whole card").first.click()
    check(page)
    page.get_by_role("link", name="Many pictures").click()
    drop(page, ("seven.png", "image/png", SEVEN), ("notes.txt", "text/plain", b"milk, bread"))
    page.locator("#many-table .failed").wait_for()
    check(page)
    page.get_by_role("link", name="Draw").click()
    draw(page, strokes(sample(2, 8)))
    await_answer(page)
    page.locator("#looked-note:not(:empty)").wait_for()
    check(page)
    page.locator("#random").click()
    expect(page.locator("#truth")).to_be_visible()
    check(page)
    drop(page, ("notes.txt", "text/plain", b"milk, bread"))
    expect(page.get_by_role("alert")).to_be_visible()
    check(page)
