"""What the three routes say of pictures without a digit, and of doubtful ones: `cnn` can tell, `plain` cannot."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from conftest import png, strokes
from live import serving
from networks import write_judging_model, write_linear_model
from starlette.testclient import TestClient

from service.app import create_app
from service.settings import Settings

PNG = {"content-type": "image/png"}
LEVELS = [
    {"coverage": 0.9, "least_probability": 0.9, "largest_score": 0.0},
    {"coverage": 0.99, "least_probability": 0.2, "largest_score": 0.5},
    {"coverage": 0.999, "least_probability": 0.0, "largest_score": 1.0},
]
BRIGHT = np.random.default_rng(0).integers(0, 256, (28, 28), np.uint8)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("models")
    write_judging_model(root / "cnn" / "1", seed=1)
    (root / "cnn" / "1" / "model.json").write_text(json.dumps({"conformal": {"levels": LEVELS}}))
    write_linear_model(root / "plain" / "1", seed=1)
    return root


@pytest.fixture(scope="module")
def remote(repository: Path) -> Iterator[httpx.Client]:
    with serving(repository) as running, httpx.Client(base_url=running.url, timeout=60) as client:
        yield client


@pytest.fixture(params=["in process", "live"])
def client(
    request: pytest.FixtureRequest, repository: Path, settings: Callable[..., Settings]
) -> Iterator[httpx.Client]:
    if request.param == "live":
        yield request.getfixturevalue("remote")
    else:
        with TestClient(create_app(settings(model_repository=repository))) as client:
            yield client


def ask(client: httpx.Client, image: bytes, **query: str | float) -> list[dict]:
    """What /predict, /predict/batch and /confidence say of one picture."""
    one = client.post("/predict", params=query, content=image, headers=PNG)
    batch = client.post("/predict/batch", params=query, files=[("files", ("a.png", image))])
    confidence = client.post("/confidence", params=query, content=image, headers=PNG)
    return [one.json(), batch.json()["predictions"][0], confidence.json()]


@pytest.mark.parametrize("preprocess", ["auto", "none"])
def test_a_digit_is_told_as_one_with_its_score(client: httpx.Client, preprocess: str) -> None:
    for answer in ask(client, png(strokes(3)), preprocess=preprocess):
        assert answer["verdict"] in {"digit", "uncertain"}
        assert answer["digit"] == int(np.argmax(answer["probabilities"]))
        assert 0 < answer["out_of_distribution_score"] < 0.5


@pytest.mark.parametrize("level", [0, 130, 255])
@pytest.mark.parametrize(("side", "preprocess"), [(28, "none"), (28, "auto"), (200, "auto")])
def test_a_blank_picture_is_no_digit(client: httpx.Client, level: int, side: int, preprocess: str) -> None:
    for model in ("cnn", "plain"):
        for answer in ask(client, png(np.full((side, side), level)), preprocess=preprocess, model=model):
            assert (answer["digit"], answer["verdict"], answer["reason"]) == (None, "not_a_digit", "blank")
            assert len(answer["probabilities"]) == 10
            assert answer["confidence"] == max(answer["probabilities"])


def test_what_the_network_refuses_is_no_digit(client: httpx.Client) -> None:
    for answer in ask(client, png(BRIGHT), preprocess="none"):
        assert (answer["digit"], answer["verdict"]) == (None, "not_a_digit")
        assert answer["reason"] in {"out_of_distribution", "several_marks"}
        assert answer["out_of_distribution_score"] > 0.5


def test_a_network_that_cannot_tell_gives_no_score_and_refuses_nothing(client: httpx.Client) -> None:
    for answer in ask(client, png(BRIGHT), preprocess="none", model="plain"):
        assert answer["out_of_distribution_score"] is None
        assert answer["digit"] is not None


def test_two_digits_far_apart_are_several_marks(client: httpx.Client) -> None:
    sheet = np.full((200, 300), 255, np.uint8)
    for left in (30, 200):
        sheet[50:150, left : left + 60] = 255 - np.kron(strokes(left), np.ones((4, 4), np.uint8))[6:106, 26:86]
    for model in ("cnn", "plain"):
        for answer in ask(client, png(sheet), model=model):
            assert (answer["digit"], answer["reason"]) == (None, "several_marks")


def test_a_prediction_set_comes_when_it_is_asked_for_and_always_with_confidence(client: httpx.Client) -> None:
    one, item, confidence = ask(client, png(strokes(3)))
    assert "prediction_set" not in one
    assert "prediction_set" not in item
    assert confidence["prediction_set"]["coverage"] == 0.99
    for answer in ask(client, png(strokes(3)), coverage=0.99):
        expected = [d for d, p in enumerate(answer["probabilities"]) if p >= 0.2] or [answer["digit"]]
        assert sorted(answer["prediction_set"]["digits"]) == expected
    sizes = [
        [len(answer["prediction_set"]["digits"]) for answer in ask(client, png(strokes(3)), coverage=coverage)]
        for coverage in (0.9, 0.99, 0.999, 0.9999)
    ]
    assert sizes == sorted(sizes)
    assert sizes[0] == [0, 0, 0]
    assert sizes[-1] == [10, 10, 10]


def test_a_network_without_thresholds_gives_the_digits_that_sum_to_the_coverage(client: httpx.Client) -> None:
    answer = client.post("/predict?model=plain&coverage=0.9", content=png(strokes(3)), headers=PNG).json()
    chosen = [answer["probabilities"][digit] for digit in answer["prediction_set"]["digits"]]
    assert sum(chosen) >= 0.9
    assert sum(chosen[:-1]) < 0.9


@pytest.mark.parametrize("coverage", ["0", "1", "1.5", "-0.9", "nan", "inf", "much", ""])
@pytest.mark.parametrize("route", ["/predict", "/predict/batch", "/confidence"])
def test_a_coverage_out_of_range_is_refused(client: httpx.Client, route: str, coverage: str) -> None:
    answer = client.post(route, params={"coverage": coverage}, files={"file": png(strokes())})
    assert (answer.status_code, answer.json()["code"]) == (422, "validation_error")
    assert "coverage" in answer.json()["detail"]


def test_models_agree_that_there_is_no_digit(client: httpx.Client) -> None:
    answer = client.post("/confidence", content=png(np.zeros((50, 50))), headers=PNG).json()
    assert answer["agreement"] is True
    assert {opinion["verdict"] for opinion in answer["models"].values()} == {"not_a_digit"}
    assert {opinion["digit"] for opinion in answer["models"].values()} == {None}


def test_openapi_tells_verdicts_and_coverage(client: httpx.Client) -> None:
    document = client.get("/openapi.json").json()
    properties = document["components"]["schemas"]["PredictAnswer"]["properties"]
    assert set(properties["verdict"]["enum"]) == {"digit", "uncertain", "not_a_digit"}
    assert "several_marks" in json.dumps(properties["reason"])
    for route in ("/predict", "/predict/batch", "/confidence"):
        assert "coverage" in {parameter["name"] for parameter in document["paths"][route]["post"]["parameters"]}
    assert "coverage" not in json.dumps(document["paths"]["/saliency"])
