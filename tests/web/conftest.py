"""The page in a real Chromium against a real service with the committed networks. `make test-web` runs these."""

import os
import shutil
from collections.abc import Callable, Iterator
from urllib.parse import urljoin

import pytest
from live import ROOT, Live, serving
from playwright.sync_api import Browser, Page, sync_playwright

# Nothing but the page speaks to anybody; a GPU there is not.
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium with an empty profile: `$CHROMIUM`, or the one on the path."""
    path = os.environ.get("CHROMIUM") or shutil.which("chromium")
    assert path, "These tests want Chromium: apt-get install chromium, or name it in CHROMIUM."
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield running
        running.close()


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    # With reports of its own, none: the page links to those that somebody wrote into the working tree.
    with serving(ROOT / "models", DIGITS_REPORTS=str(tmp_path_factory.mktemp("reports"))) as running:
        yield running


@pytest.fixture
def expected_messages() -> list[str]:
    """Beginnings of console messages that a test provokes; Chromium tells every answer over 399 there."""
    return []


@pytest.fixture
def open_page(browser: Browser, expected_messages: list[str]) -> Iterator[Callable[..., Page]]:
    """Opens the page of a service. It may say nothing on the console and ask nobody else."""
    contexts, told = [], []

    def open_(url: str, **options: object) -> Page:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        context.grant_permissions(["clipboard-read", "clipboard-write"])
        context.set_default_timeout(20_000)
        contexts.append(context)
        page, own = context.new_page(), (urljoin(url, "/"), "blob:", "data:")
        page.on("console", lambda message: told.append(message.text))
        page.on("pageerror", lambda error: told.append(f"error: {error}"))
        page.on("request", lambda request: request.url.startswith(own) or told.append(request.url))
        page.goto(url)
        return page

    yield open_
    for context in contexts:
        context.close()
    assert [text for text in told if not text.startswith(tuple(expected_messages))] == []


@pytest.fixture
def page(open_page: Callable[..., Page], service: Live) -> Page:
    return open_page(service.url)
