"""Several pictures at once, and the models view."""

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path

from hand import await_answer, draw, drop
from live import ROOT, Live, serving
from mnist_strokes import sample, strokes
from playwright.sync_api import Page, expect

MODELS = ROOT / "models"
VERSION = max(int(path.name) for path in (MODELS / "cnn").iterdir())
SEVEN = (ROOT / "service/examples/seven.png").read_bytes()
PHOTO = (ROOT / "service/examples/photo.jpg").read_bytes()
FILES = [
    ("seven.png", "image/png", SEVEN),
    ("=notes, old.txt", "text/plain", b"milk, bread"),
    ("photo.jpg", "image/jpeg", PHOTO),
]


def column(page: Page, number: int) -> list[str]:
    return page.locator(f"#many-table tbody tr > :nth-child({number})").all_inner_texts()


def saved(page: Page, button: str) -> str:
    with page.expect_download() as download:
        page.get_by_role("button", name=button).click()
    return download.value.path().read_text()


def test_several_files_are_read_in_a_table_with_their_errors(page: Page) -> None:
    drop(page, *FILES)
    expect(page.locator("#many-said")).to_contain_text("2 read, 1 not")
    assert page.url.endswith("#many")
    assert column(page, 2) == ["seven.png", "=notes, old.txt", "photo.jpg"]
    assert column(page, 3) == ["7", "–", "7"]
    assert "not a picture" in page.locator("#many-table .failed").inner_text()
    assert page.locator("#many-table img").count() == 2
    drop(page, FILES[0])  # here a single one joins the list
    expect(page.locator("#many-said")).to_contain_text("3 read, 1 not")


def test_the_table_sorts_both_ways_with_errors_last(page: Page) -> None:
    pictures = []
    for digit in (3, 1, 2):
        draw(page, strokes(sample(digit, 8)))
        await_answer(page)
        bytes_ = page.evaluate(
            """async () => {
                const blob = await new Promise((done) => document.querySelector("#pad").toBlob(done));
                return [...new Uint8Array(await blob.arrayBuffer())];
            }"""
        )
        pictures.append((f"{10 - digit}.png", "image/png", bytes(bytes_)))
        page.locator("#clear").click()
    drop(page, *pictures, FILES[1])
    expect(page.locator("#many-said")).to_contain_text("3 read, 1 not")
    page.get_by_role("button", name="Digit", exact=True).click()
    assert column(page, 3) == ["1", "2", "3", "–"]
    assert page.locator('th[aria-sort="ascending"]').inner_text().startswith("Digit")
    page.get_by_role("button", name="Digit", exact=True).click()
    assert column(page, 3) == ["3", "2", "1", "–"]
    page.get_by_role("button", name="File", exact=True).click()
    assert [name for name in column(page, 2) if name[0] != "="] == ["7.png", "8.png", "9.png"]


def test_the_list_is_saved_as_csv_and_json(page: Page) -> None:
    drop(page, *FILES)
    expect(page.locator("#many-said")).to_contain_text("2 read, 1 not")
    table = list(csv.DictReader(saved(page, "Save as CSV").splitlines()))
    assert [line["filename"] for line in table] == ["seven.png", "'=notes, old.txt", "photo.jpg"]
    assert [line["digit"] for line in table] == ["7", "", "7"]
    assert table[1]["error"] == "invalid_image"
    assert max(range(10), key=lambda digit: float(table[0][f"p{digit}"])) == 7
    assert table[1]["p7"] == ""
    listed = json.loads(saved(page, "Save as JSON"))
    assert [item["digit"] for item in listed] == [7, None, 7]
    assert listed[0]["confidence"] == max(listed[0]["probabilities"])
    assert listed[1]["error"]["code"] == "invalid_image"
    page.get_by_role("button", name="Clear the list").click()
    assert page.locator("#many-scroll").is_hidden()


def test_more_than_one_request_takes_is_read_in_several(
    open_page: Callable[..., Page], expected_messages: list[str]
) -> None:
    expected_messages.append("Failed to load resource: the server responded with a status of 413")
    with serving(MODELS, DIGITS_MAX_BATCH_IMAGES="20", DIGITS_MAX_BODY_BYTES="65536") as live:
        page = open_page(live.url)
        many = [(f"{number}.png", "image/png", SEVEN) for number in range(50)]
        drop(page, *many, ("large.png", "image/png", b"\x89PNG" + bytes(70_000)))
        expect(page.locator("#many-said")).to_contain_text("50 read, 1 not")
        assert column(page, 3) == ["7"] * 50 + ["–"]
        assert "too large" in page.locator("#many-table .failed").inner_text()


def test_a_phone_shows_all_of_a_row_without_scrolling(open_page: Callable[..., Page], service: Live) -> None:
    page = open_page(service.url, viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True)
    drop(page, *FILES)
    expect(page.locator("#many-said")).to_contain_text("2 read, 1 not")
    assert page.locator("#many-scroll").evaluate("(box) => box.scrollWidth <= box.clientWidth")
    for row in page.get_by_role("row").all()[1:]:  # it is a table still, for who hears it
        assert row.get_by_role("rowheader").is_visible()
        assert row.get_by_role("cell").last.bounding_box()["width"] > 150
    page.get_by_role("button", name="File", exact=True).click()
    assert page.locator('th[aria-sort="ascending"]').inner_text().startswith("File")


def test_three_hundred_files_at_once_are_read(page: Page) -> None:
    drop(page, *[(f"{number}.png", "image/png", SEVEN) for number in range(300)])
    expect(page.locator("#many-said")).to_contain_text("300 read, 0 not", timeout=60_000)
    assert column(page, 2)[::299] == ["0.png", "299.png"]


def test_where_the_network_looked_is_shown_after_a_stroke(page: Page) -> None:
    draw(page, strokes(sample(2, 8)))
    expect(page.locator("#looked-note")).to_contain_text("more of a 2")
    coloured = """(canvas) => {
        const { data } = canvas.getContext("2d").getImageData(0, 0, 28, 28);
        return data.some((level, at) => at % 4 === 0 && level !== data[at + 2]);
    }"""
    assert page.locator("#looked").evaluate(coloured)
    assert not page.locator("#seen").evaluate(coloured)


def test_the_models_are_told_with_what_they_run_on(page: Page) -> None:
    page.get_by_role("link", name="Models").click()
    cnn = page.locator("#models article").first
    expect(cnn).to_contain_text("CPUExecutionProvider")
    expect(cnn).to_contain_text("99.")
    expect(cnn.get_by_role("heading")).to_contain_text(f"cnn {VERSION}")
    expect(cnn).to_contain_text("→ 10")
    expect(cnn.get_by_role("img")).to_have_attribute("aria-label", re.compile("Loss over .* epochs: training"))
    expect(cnn).to_contain_text(f"digits report cnn --version {VERSION} writes it")
    cnn.get_by_text("The whole card").click()
    expect(cnn.locator("pre")).to_contain_text("recipe")
    assert page.title() == "Models · digit-service"
    page.go_back()
    expect(page.locator("#draw-view")).to_be_visible()


def test_a_report_is_linked_from_its_model(open_page: Callable[..., Page], tmp_path: Path) -> None:
    report = tmp_path / f"cnn-{VERSION}"
    report.mkdir()
    (report / "index.html").write_text("<h1>All about it</h1>")
    with serving(MODELS, DIGITS_REPORTS=str(tmp_path)) as live:
        page = open_page(f"{live.url}/#models")
        page.get_by_role("link", name="Training report").click()
        expect(page.get_by_role("heading")).to_have_text("All about it")
