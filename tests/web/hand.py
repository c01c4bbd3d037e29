"""Does what a person does at the page."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from mnist_strokes import Point
from playwright.sync_api import Page, expect


def draw(page: Page, strokes: Iterable[Sequence[Point]]) -> None:
    """Draw with the mouse; points are (x, y) from 0 to 1."""
    box = page.locator("#pad").bounding_box()
    for stroke in strokes:
        (x, y), *others = [(box["x"] + px * box["width"], box["y"] + py * box["height"]) for px, py in stroke]
        page.mouse.move(x, y)
        page.mouse.down()
        for x, y in others:
            page.mouse.move(x, y)
        page.mouse.up()


def await_answer(page: Page) -> str:
    """The verdict, once nothing is being asked any more: the command under it is written last."""
    page.locator("#curl:not(:empty)").wait_for()
    expect(page.locator("#answer")).to_have_attribute("aria-busy", "false")
    return page.locator("#verdict").inner_text()


def drop(page: Page, *files: tuple[str, str, bytes]) -> None:
    """Let files (name, media type, content) go over the page."""
    transfer = page.evaluate_handle(
        """(files) => {
            const transfer = new DataTransfer();
            for (const [name, type, bytes] of files)
                transfer.items.add(new File([new Uint8Array(bytes)], name, { type }));
            return transfer;
        }""",
        [[name, type_, list(content)] for name, type_, content in files],
    )
    for event in ("dragover", "drop"):
        page.dispatch_event("main", event, {"dataTransfer": transfer})


def paste(page: Page, file: Path) -> None:
    """Paste a picture, as a browser gives it that was copied in another program."""
    page.evaluate(
        """(bytes) => {
            const clipboardData = new DataTransfer();
            clipboardData.items.add(new File([new Uint8Array(bytes)], "image.png", { type: "image/png" }));
            document.dispatchEvent(new ClipboardEvent("paste", { clipboardData, bubbles: true }));
        }""",
        list(file.read_bytes()),
    )


def drop_from_disk(page: Page, *paths: Path) -> None:
    """Let what lies on the disk go over the page, as a file manager does; also folders."""
    session = page.context.new_cdp_session(page)
    data = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        session.send("Input.dispatchDragEvent", {"type": kind, "x": 200, "y": 200, "data": data})
    session.detach()
