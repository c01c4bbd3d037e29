"""`/confidence` as a chart."""

from io import BytesIO
from xml.etree import ElementTree as ET

import httpx
import numpy as np
import pytest
from conftest import png, strokes
from PIL import Image

from service.api.charts import png_chart, svg_chart
from service.api.schemas import ConfidenceAnswer

FILE = png(strokes())
NAMESPACE = {"svg": "http://www.w3.org/2000/svg"}
SHARES = [0.001, 0.002, 0.0, 0.02, 0.3, 0.0, 0.0, 0.12, 0.0, 0.557]


def answer(**changes: object) -> ConfidenceAnswer:
    fields = {
        "model_name": "c<n>n", "model_version": "1", "digit": 9, "confidence": 0.557, "probabilities": SHARES,
        "verdict": "uncertain", "reason": "ambiguous", "ranking": [], "margin": 0, "entropy": 0,
        "prediction_set": None, "out_of_distribution_score": None, "models": {}, "agreement": True,
    }  # fmt: skip
    return ConfidenceAnswer(**{**fields, **changes})


def ask(client: httpx.Client, accept: str) -> httpx.Response:
    return client.post("/confidence", content=FILE, headers={"content-type": "image/png", "accept": accept})


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        ("*/*", "application/json"),
        ("text/html", "application/json"),
        ("image/svg+xml", "image/svg+xml"),
        ("image/png", "image/png"),
        ("image/png;q=0.4, image/svg+xml;q=0.5", "image/svg+xml"),
    ],
)
def test_the_accept_header_chooses_the_form(client: httpx.Client, accept: str, form: str) -> None:
    got = ask(client, accept)
    assert got.status_code == 200
    assert got.headers["content-type"] == form
    assert got.headers["vary"] == "Accept"
    assert "infer;dur=" in got.headers["server-timing"]


def test_the_chart_tells_what_the_json_tells(client: httpx.Client) -> None:
    told = ask(client, "application/json").json()
    chart = ET.fromstring(ask(client, "image/svg+xml").content)
    words = [text.text for text in chart.iterfind("svg:text", NAMESPACE)]
    shown = [float(word[:-2].strip("> ")) for word in words if word.endswith(" %")]
    assert shown == pytest.approx([100 * share for share in told["probabilities"]], abs=0.11)
    bars = [float(box.get("width")) for box in chart.iterfind("svg:rect", NAMESPACE)][2::2]
    assert int(np.argmax(bars)) == int(np.argmax(told["probabilities"]))


def test_an_svg_chart_is_valid_and_says_the_same_in_words() -> None:
    chart = ET.fromstring(svg_chart(answer(), strokes()))
    assert chart.get("role") == "img"
    assert chart.find("svg:title", NAMESPACE).text == "Most likely 9, 55.7 % sure"
    assert "c<n>n. 0: 0.1 %, 1: 0.2 %" in chart.find("svg:desc", NAMESPACE).text
    assert chart.find("svg:image", NAMESPACE).get("href").startswith("data:image/png;base64,")
    no_digit = answer(digit=None, verdict="not_a_digit", reason="several_marks")
    chart = ET.fromstring(svg_chart(no_digit, strokes()))
    assert chart.find("svg:title", NAMESPACE).text == "Not a digit: several marks"
    assert [text.text for text in chart.iterfind("svg:text", NAMESPACE)][:2] == ["?", "not a digit"]


def test_a_png_chart_shows_the_bars_and_the_picture() -> None:
    chart = np.asarray(Image.open(BytesIO(png_chart(answer(), strokes()))))
    assert chart.shape == (600, 960, 3)
    best = (chart == (0x00, 0x72, 0xB2)).all(axis=2)
    assert best.any(axis=0).sum() == pytest.approx(0.557 * 2 * 184, abs=2)
    assert (chart[224:504, 40:320].reshape(28, 10, 28, 10, 3)[:, 5, :, 5, 0] == strokes()).all()


def test_a_long_name_of_a_model_runs_into_nothing() -> None:
    plain = np.asarray(Image.open(BytesIO(png_chart(answer(model_name="cnn"), strokes()))))
    named = np.asarray(Image.open(BytesIO(png_chart(answer(model_name="n" * 300), strokes()))))
    rows, columns = np.nonzero((plain != named).any(axis=2))
    assert rows.min() > 2 * 272  # below the last bar
    assert columns.max() < 2 * 470


def test_openapi_tells_the_charts(client: httpx.Client) -> None:
    told = client.get("/openapi.json").json()["paths"]["/confidence"]["post"]["responses"]["200"]["content"]
    assert set(told) == {"application/json", "image/svg+xml", "image/png"}
