"""Drawing on the page with mouse, finger and keyboard."""

from collections.abc import Callable

import pytest
from hand import await_answer, draw
from live import Live
from mnist_strokes import Point, sample, strokes
from playwright.sync_api import Page, Request, expect

ONE = [[(0.5, 0.2), (0.5, 0.8)]]


@pytest.mark.parametrize("nth", [8, 9])
@pytest.mark.parametrize("digit", range(10))
def test_a_digit_drawn_as_people_draw_it_is_read(page: Page, digit: int, nth: int) -> None:
    draw(page, strokes(sample(digit, nth)))
    await_answer(page)
    assert page.locator("#digit").inner_text() == str(digit)
    assert str(digit) in page.locator("#verdict").inner_text()
    assert page.locator("#bars .best th").inner_text() == str(digit)
    for column in (1, 2):
        share = page.locator("#bars tr.best td .told").nth(column - 1).inner_text()
        assert share.endswith("%")


@pytest.mark.parametrize(
    ("digit", "written"),
    [
        (1, [[(0.22, 0.6), (0.58, 0.15), (0.58, 0.85)]]),
        (4, [[(0.6, 0.82), (0.6, 0.18), (0.28, 0.6), (0.75, 0.6)]]),
        (7, [[(0.3, 0.22), (0.7, 0.22), (0.45, 0.82)], [(0.4, 0.52), (0.68, 0.52)]]),
    ],
)
def test_corners_of_a_fast_hand_stay_corners(page: Page, digit: int, written: list[list[Point]]) -> None:
    draw(page, written)  # a European 1 whose corner is rounded is a 7
    await_answer(page)
    assert page.locator("#digit").inner_text() == str(digit)


def test_the_answer_follows_a_stroke_while_it_goes_on(page: Page) -> None:
    draw(page, ONE)
    await_answer(page)
    page.mouse.down()
    box = page.locator("#pad").bounding_box()
    page.mouse.move(box["x"] + 100, box["y"] + 100)
    page.mouse.move(box["x"] + 250, box["y"] + 300)
    with page.expect_response("**/confidence?*"):
        page.mouse.move(box["x"] + 300, box["y"] + 120)
    page.mouse.up()


def test_one_request_is_in_flight_at_a_time_and_the_last_drawing_is_answered(page: Page) -> None:
    in_flight: set[Request] = set()
    most, asked = [0], []

    def begun(request: Request) -> None:
        if "/confidence" in request.url:
            in_flight.add(request)
            asked.append(request.post_data_buffer)
            most[0] = max(most[0], len(in_flight))

    page.on("request", begun)
    page.on("requestfinished", lambda request: in_flight.discard(request))  # noqa: PLW0108
    for nth in range(3):
        draw(page, strokes(sample(3, nth)))
        page.locator("#clear").click()
    draw(page, strokes(sample(8, 9)))
    await_answer(page)
    assert page.locator("#digit").inner_text() == "8"
    assert most == [1]
    assert len(asked) > 3


def test_a_finger_draws_without_moving_the_page(open_page: Callable[..., Page], service: Live) -> None:
    page = open_page(service.url, viewport={"width": 390, "height": 700}, has_touch=True, is_mobile=True)
    box = page.locator("#pad").bounding_box()
    touch = page.context.new_cdp_session(page)
    for stroke in strokes(sample(0, 8)):
        for at, (x, y) in enumerate(stroke):
            point = {"x": box["x"] + x * box["width"], "y": box["y"] + y * box["height"]}
            kind = "touchMove" if at else "touchStart"
            touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [point]})
        touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    await_answer(page)
    assert page.locator("#digit").inner_text() == "0"
    assert page.evaluate("scrollY") == 0
    assert page.locator("#digit").bounding_box()["y"] < box["y"]  # the answer is seen beside the finger
    assert page.locator("#pad").bounding_box() == box
    assert page.locator("#photograph").is_visible()


def test_a_second_finger_neither_draws_nor_ends_the_stroke(open_page: Callable[..., Page], service: Live) -> None:
    page = open_page(service.url, viewport={"width": 390, "height": 700}, has_touch=True, is_mobile=True)
    box = page.locator("#pad").bounding_box()
    touch = page.context.new_cdp_session(page)

    def send(kind: str, *points: tuple[int, float, float]) -> None:
        at = [{"id": id_, "x": box["x"] + x * box["width"], "y": box["y"] + y * box["height"]} for id_, x, y in points]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": at})

    send("touchStart", (0, 0.5, 0.15))
    send("touchMove", (0, 0.5, 0.3))
    send("touchStart", (0, 0.5, 0.3), (1, 0.9, 0.9))
    send("touchMove", (0, 0.5, 0.4), (1, 0.6, 0.9))
    for at in (0.4, 0.5, 0.6, 0.7, 0.8):
        send("touchMove", (0, 0.5, at))  # the other has gone: what is no longer told of is lifted
    send("touchEnd")
    await_answer(page)
    assert page.locator("#digit").inner_text() == "1"
    page.locator("#undo").click()
    expect(page.locator("#digit")).to_have_text("?")  # it was one stroke


def test_a_stroke_that_leaves_the_pad_goes_on_and_comes_back(page: Page) -> None:
    draw(page, [[(0.5, 0.5), (1.4, 0.5), (1.4, 0.6), (0.5, 0.6)]])
    await_answer(page)
    page.locator("#undo").click()
    expect(page.locator("#digit")).to_have_text("?")


def test_a_scribble_of_thousands_of_points_is_answered_at_its_end(page: Page) -> None:
    scribble = [(0.5 + 0.4 * ((7 * n) % 13 - 6) / 6, 0.5 + 0.4 * ((5 * n) % 11 - 5) / 5) for n in range(3000)]
    page.locator("#pad").evaluate(
        """(pad, points) => {
            const box = pad.getBoundingClientRect();
            const fire = (kind, [x, y]) => pad.dispatchEvent(new PointerEvent(kind, {
                pointerId: 7, button: 0, clientX: box.x + x * box.width, clientY: box.y + y * box.height }));
            fire("pointerdown", points[0]);
            for (const point of points) fire("pointermove", point);
            fire("pointerup", points.at(-1));
        }""",
        scribble,
    )
    await_answer(page)
    assert page.locator("#answer").get_attribute("data-verdict") == "not_a_digit"


def test_over_a_slow_line_the_picture_of_where_it_looked_gives_way_to_the_next_stroke(page: Page) -> None:
    draw(page, ONE)
    await_answer(page)
    page.locator("#clear").click()
    line = page.context.new_cdp_session(page)
    line.send("Network.enable")
    slow = {"offline": False, "latency": 2000, "downloadThroughput": -1, "uploadThroughput": -1}
    line.send("Network.emulateNetworkConditions", slow)
    with page.expect_request("**/saliency?*"):
        draw(page, ONE)
    with page.expect_event("requestfailed", lambda request: "/saliency" in request.url):
        draw(page, strokes(sample(7, 8)))
    line.send("Network.emulateNetworkConditions", slow | {"latency": 0})
    expect(page.locator("#digit")).not_to_have_text("1")  # of the second stroke, too


def test_the_keyboard_draws(page: Page) -> None:
    page.locator("#pad").focus()
    for _ in range(12):
        page.keyboard.press("ArrowUp")
    page.keyboard.press("Space")
    for _ in range(24):
        page.keyboard.press("ArrowDown")
    page.keyboard.press("Space")
    await_answer(page)
    assert page.locator("#digit").inner_text() == "1"
    page.keyboard.press("Delete")
    expect(page.locator("#digit")).to_have_text("?")


def test_undo_takes_the_last_stroke_back_and_clear_all(page: Page) -> None:
    draw(page, strokes(sample(1, 8)))
    await_answer(page)
    before = page.locator("#curl").inner_text()
    draw(page, [[(0.1, 0.1), (0.9, 0.1), (0.9, 0.9)]])
    expect(page.locator("#curl")).not_to_have_text(before)
    page.keyboard.press("Control+z")
    expect(page.locator("#curl")).to_have_text(before)
    page.locator("#undo").click()
    expect(page.locator("#digit")).to_have_text("?")
    assert page.locator("#undo").is_disabled()
    assert page.locator("#why").is_hidden()


def test_a_thicker_pen_draws_more(page: Page) -> None:
    draw(page, ONE)
    await_answer(page)
    thin = page.locator("#curl").inner_text()
    page.locator("#clear").click()
    page.locator("#pen").fill("72")
    draw(page, ONE)
    await_answer(page)
    assert page.locator("#curl").inner_text() != thin


def test_everything_can_be_reached_by_keyboard_and_told(page: Page) -> None:
    reached = []
    for _ in range(12):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id || document.activeElement.textContent.trim()"))
    assert reached[0] == "Skip to the content"
    assert [name for name in reached if name in {"pad", "pen", "choose", "random"}] == [
        "pad",
        "pen",
        "choose",
        "random",
    ]
    draw(page, strokes(sample(7, 8)))
    await_answer(page)
    assert page.get_by_role("status").inner_text().startswith("It is a 7. ")
