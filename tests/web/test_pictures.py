"""Pictures from elsewhere: chosen, dropped, pasted, bundled; and what the page tells of them."""

import json
import re
import subprocess

from hand import await_answer, draw, drop, paste
from live import ROOT
from mnist_strokes import sample, strokes
from playwright.sync_api import Page, expect

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
    draw(page, strokes(sample(2, 1)))
    expect(page.locator("#digit")).to_have_text("2")


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
    assert right >= 9


def test_how_long_and_how_sure_are_told(page: Page) -> None:
    drop(page, ("seven.png", "image/png", SEVEN.read_bytes()))
    await_answer(page)
    assert re.search(r"Reading the picture\s+[\d.]+ ms", page.locator("#timings").inner_text())
    assert re.search(r"Altogether\s+[\d.]+ ms", page.locator("#timings").inner_text())
    assert re.search(r"Entropy.*\d nats", page.locator("#facts").inner_text(), re.DOTALL)


def run(line: str) -> dict:
    done = subprocess.run(["bash", "-c", line], cwd=EXAMPLES, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_the_curl_line_asks_the_same(page: Page) -> None:
    draw(page, strokes(sample(5, 0)))
    with page.expect_response("**/confidence?*") as last:
        draw(page, [[(0.05, 0.95), (0.05, 0.95)]])
    await_answer(page)
    line = page.locator("#curl").inner_text()
    assert run(line) == last.value.json()
    page.locator("#copy").click()
    expect(page.locator("#copy")).to_have_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()") == line


def test_the_curl_line_of_a_file_names_the_file(page: Page) -> None:
    page.locator("#files").set_input_files(PHOTO)
    await_answer(page)
    line = page.locator("#curl").inner_text()
    assert "photo.jpg" in line
    assert run(line)["digit"] == 7


def test_a_file_that_is_no_picture_is_told_in_words(page: Page, expected_messages: list[str]) -> None:
    expected_messages.append("Failed to load resource: the server responded with a status of 422")
    drop(page, ("notes.txt", "text/plain", b"milk, bread"))
    expect(page.get_by_role("alert")).to_contain_text("not a picture")
    expect(page.locator("#digit")).to_have_text("?")
    draw(page, strokes(sample(1, 1)))
    await_answer(page)
    assert page.get_by_role("alert").is_hidden()


def test_a_blank_picture_is_no_digit_and_a_few_marks_are_told(page: Page) -> None:
    page.locator("#files").set_input_files({"name": "a.png", "mimeType": "image/png", "buffer": SEVEN.read_bytes()})
    await_answer(page)
    draw(page, [[(0.5, 0.5), (0.5, 0.5)]])
    expect(page.locator("#steps")).not_to_be_empty()
