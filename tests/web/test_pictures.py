"""Pictures from elsewhere: chosen, dropped, pasted, bundled; and what the page tells of them."""

import json
import re
import subprocess
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest
from hand import await_answer, draw, drop, paste
from live import ROOT, serving
from mnist_strokes import sample, strokes
from PIL import Image
from playwright.sync_api import Page, Route, expect

EXAMPLES = ROOT / "service" / "examples"
PHOTO, SEVEN = EXAMPLES / "photo.jpg", EXAMPLES / "seven.png"


def test_a_chosen_photo_is_read_and_its_steps_are_told(page: Page) -> None:
    page.locator("#files").set_input_files(PHOTO)
    assert await_answer(page) == "It is a 7"
    assert page.locator("#steps li").count() > 1
    assert "Dark ink turned light" in page.locator("#steps").inner_text()
    assert page.locator("#seen").evaluate(
        "(canvas) => canvas.getContext('2d').getImageData(0, 0, 28, 28).data.some(Boolean)"
    )
    page.locator("#clear").click()
    page.locator("#files").set_input_files(PHOTO)  # the same file once more
    assert await_answer(page) == "It is a 7"


def test_a_dropped_picture_is_read(page: Page) -> None:
    drop(page, ("seven.png", "image/png", SEVEN.read_bytes()))
    assert await_answer(page) == "It is a 7"
    draw(page, strokes(sample(2, 8)))
    expect(page.locator("#digit")).to_have_text("2")


def test_only_files_are_invited_to_drop(page: Page) -> None:
    drag = """(kind) => {
        const dataTransfer = new DataTransfer();
        if (kind === "file") dataTransfer.items.add(new File(["7"], "7.txt"));
        else dataTransfer.items.add("7", "text/plain");
        document.body.dispatchEvent(new DragEvent("dragover", { dataTransfer, bubbles: true }));
    }"""
    page.evaluate(drag, "text")
    assert page.locator("#drop").is_hidden()
    page.evaluate(drag, "file")
    assert page.locator("#drop").is_visible()


def test_a_pasted_picture_is_read(page: Page) -> None:
    paste(page, SEVEN)
    assert await_answer(page) == "It is a 7"


def test_a_random_test_digit_comes_with_its_true_label(page: Page) -> None:
    right = 0
    for _ in range(10):
        with page.expect_response("**/confidence?*"):
            page.locator("#random").click()
        await_answer(page)
        told = page.locator("#truth").inner_text()
        true, outcome = re.fullmatch(r"True digit (\d): (.+)", told).groups()
        right += outcome == "read right"
        assert (outcome == "read right") == (page.locator("#digit").inner_text() == true)
    assert right >= 8


def test_how_long_and_how_sure_are_told(page: Page) -> None:
    drop(page, ("seven.png", "image/png", SEVEN.read_bytes()))
    await_answer(page)
    assert re.search(r"Reading the picture\s+[\d.]+ ms", page.locator("#timings").inner_text())
    assert re.search(r"Altogether\s+[\d.]+ ms", page.locator("#timings").inner_text())
    assert re.search(r"Entropy.*\d nats", page.locator("#facts").inner_text(), re.DOTALL)


def run(line: str, folder: Path = EXAMPLES) -> dict:
    done = subprocess.run(["bash", "-c", line], cwd=folder, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_the_curl_line_asks_the_same(page: Page) -> None:
    answers = []
    page.on("response", lambda response: "/confidence?" in response.url and answers.append(response))
    draw(page, strokes(sample(5, 0)))
    await_answer(page)
    line = page.locator("#curl").inner_text()
    assert run(line) == answers[-1].json()
    page.locator("#copy").click()
    expect(page.locator("#copy")).to_have_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()") == line


def test_the_curl_line_of_a_file_names_the_file(page: Page) -> None:
    page.locator("#files").set_input_files(PHOTO)
    await_answer(page)
    line = page.locator("#curl").inner_text()
    assert "photo.jpg" in line
    assert run(line)["digit"] == 7


def test_the_curl_line_of_a_service_with_a_key_leaves_the_key_out(
    open_page: Callable[..., Page], monkeypatch: pytest.MonkeyPatch, expected_messages: list[str]
) -> None:
    expected_messages.append("Failed to load resource: the server responded with a status of 401")
    with serving(ROOT / "models", DIGITS_API_KEY="open sesame") as live:
        page = open_page(live.url)
        page.locator("#files").set_input_files(PHOTO)
        page.get_by_label("API key").fill("open sesame")
        page.get_by_label("API key").press("Enter")
        await_answer(page)
        expect(page.locator("#curl-note")).to_contain_text("Put your key into DIGITS_API_KEY first.")
        monkeypatch.setenv("DIGITS_API_KEY", "open sesame")
        assert run(page.locator("#curl").inner_text())["digit"] == 7


def test_the_line_is_copied_where_a_browser_gives_no_clipboard(page: Page) -> None:
    page.evaluate("Object.defineProperty(navigator, 'clipboard', { value: undefined })")  # as over plain HTTP
    draw(page, strokes(sample(5, 0)))
    await_answer(page)
    page.locator("#copy").click()
    expect(page.locator("#copy")).to_have_text("Copied")
    line = page.locator("#curl").inner_text()
    page.reload()
    assert page.evaluate("navigator.clipboard.readText()") == line


def test_names_of_files_are_text_in_the_page_and_in_the_shell(page: Page, tmp_path: Path) -> None:
    for name in ('it\'s "7" & <b>$(date).png', "🖋️ سبعة.png", "-o.png"):
        (tmp_path / name).write_bytes(SEVEN.read_bytes())
        page.locator("#files").set_input_files(tmp_path / name)
        assert await_answer(page) == "It is a 7"
        assert run(page.locator("#curl").inner_text(), tmp_path)["digit"] == 7
        page.locator("#clear").click()
    drop(page, ("<img src=x>.txt", "text/plain", b"milk"), ("\u202egpj.exe", "image/png", SEVEN.read_bytes()))
    expect(page.locator("#many-table tbody th").first).to_have_text("<img src=x>.txt")
    assert page.locator("#many-table th img").count() == 0


def test_a_photo_of_twelve_megapixels_is_read(page: Page, tmp_path: Path) -> None:
    photo = tmp_path / "large.jpg"
    with Image.open(PHOTO) as image:
        image.resize((4000, 3000)).save(photo)
    page.locator("#files").set_input_files(photo)
    assert await_answer(page) == "It is a 7"


def test_a_file_that_is_no_picture_is_told_in_words(page: Page, expected_messages: list[str]) -> None:
    expected_messages.append("Failed to load resource: the server responded with a status of 422")
    drop(page, ("notes.txt", "text/plain", b"milk, bread"))
    expect(page.get_by_role("alert")).to_contain_text("not a picture")
    expect(page.locator("#digit")).to_have_text("?")
    draw(page, strokes(sample(1, 8)))
    await_answer(page)
    assert page.get_by_role("alert").is_hidden()


def test_what_is_no_digit_is_told_with_its_reason(page: Page) -> None:
    blank = BytesIO()
    Image.new("L", (60, 60), 255).save(blank, "PNG")
    drop(page, ("blank.png", "image/png", blank.getvalue()))
    await_answer(page)
    assert page.locator("#verdict").inner_text() == "Nothing there"
    assert page.locator("#digit").inner_text() == "–"
    draw(page, [[(0.15, 0.2), (0.15, 0.8)], [(0.85, 0.2), (0.85, 0.8)]])
    expect(page.locator("#verdict")).to_have_text("More than one mark")


def test_a_doubtful_digit_is_told_with_what_it_could_be(page: Page) -> None:
    page.route("**/confidence?*", answer_doubtfully)
    draw(page, strokes(sample(4, 8)))
    await_answer(page)
    assert page.locator("#verdict").inner_text() == "Could be 4 or 9"
    assert page.locator("#answer").get_attribute("data-verdict") == "uncertain"


def answer_doubtfully(route: Route) -> None:
    """The service's own answer as it would be, were the networks to hesitate: which drawing they do at is theirs."""
    answer = route.fetch().json()
    answer |= {"verdict": "uncertain", "reason": "ambiguous", "prediction_set": {"coverage": 0.99, "digits": [4, 9]}}
    route.fulfill(json=answer)
