"""The routes that predict, every body form of the contract."""

import base64
import json

import httpx
import numpy as np
import pytest
from conftest import png, strokes

IMAGE = strokes()
FILE = png(IMAGE)
BASE64 = base64.b64encode(FILE).decode()

FORMS = {
    "multipart": {"files": {"file": ("seven.png", FILE, "image/png")}},
    "raw": {"content": FILE, "headers": {"content-type": "image/png"}},
    "raw with another image type in the header": {"content": FILE, "headers": {"content-type": "image/jpeg"}},
    "octets": {"content": FILE, "headers": {"content-type": "application/octet-stream"}},
    "base64": {"json": {"image": BASE64}},
    "data url": {"json": {"image": f"data:image/png;base64,{BASE64}"}},
    "base64 in lines without padding": {"json": {"image": base64.encodebytes(FILE).decode().rstrip("=\n")}},
    "pixels": {"json": {"pixels": IMAGE.tolist()}},
    "pixels as whole floats": {"json": {"pixels": IMAGE.astype(float).tolist()}},
}


@pytest.mark.parametrize("form", FORMS)
def test_every_body_form_gets_the_same_answer(client: httpx.Client, form: str) -> None:
    answer = client.post("/predict", **FORMS[form])
    assert answer.status_code == 200, answer.text
    assert answer.json() == client.post("/predict", **FORMS["raw"]).json()


def test_a_prediction_is_a_distribution_with_its_largest_as_confidence(client: httpx.Client) -> None:
    body = client.post("/predict", **FORMS["raw"]).json()
    assert list(body) == [
        "model_name", "model_version", "digit", "confidence", "probabilities", "verdict", "reason",
        "out_of_distribution_score",
    ]  # fmt: skip
    assert body["model_name"] == "cnn"
    assert body["model_version"] == "1"
    assert len(body["probabilities"]) == 10
    assert sum(body["probabilities"]) == pytest.approx(1, abs=1e-5)
    assert body["confidence"] == max(body["probabilities"])
    assert body["digit"] == body["probabilities"].index(body["confidence"])


def test_model_and_version_are_chosen_by_query(client: httpx.Client) -> None:
    dense = client.post("/predict?model=dense&version=1", **FORMS["raw"]).json()
    assert dense["model_name"] == "dense"
    assert dense["probabilities"] != client.post("/predict", **FORMS["raw"]).json()["probabilities"]


def test_a_receipt_shows_what_the_network_saw(client: httpx.Client) -> None:
    receipt = client.post("/predict?receipt=true&preprocess=none", **FORMS["pixels"]).json()["receipt"]
    assert receipt["pixels"] == IMAGE.tolist()
    assert isinstance(receipt["steps"], list)
    assert isinstance(receipt["warnings"], list)


def test_a_large_photo_is_read_like_its_small_original(client: httpx.Client) -> None:
    large = 255 - np.kron(IMAGE, np.ones((20, 20), np.uint8))
    answer = client.post("/predict?receipt=true", content=png(large), headers={"content-type": "image/png"})
    assert "inverted" in answer.json()["receipt"]["steps"]


def test_timings_travel_with_the_answer(client: httpx.Client) -> None:
    for route, body in (("/predict", FORMS["raw"]), ("/confidence", FORMS["raw"]), ("/predict/batch", batch_of(2))):
        timings = client.post(route, **body).headers["server-timing"]
        assert [part.split(";dur=")[0].strip() for part in timings.split(",")] == ["decode", "queue", "infer"]
        assert all(float(part.split("dur=")[1]) >= 0 for part in timings.split(","))


def batch_of(count: int) -> dict:
    return {"files": [("files", (f"{n}.png", png(strokes(n)), "image/png")) for n in range(count)]}


BATCHES = {
    "multipart": batch_of(3),
    "base64": {"json": {"images": [base64.b64encode(png(strokes(n))).decode() for n in range(3)]}},
    "pixels": {"json": {"pixels": [strokes(n).tolist() for n in range(3)]}},
}


@pytest.mark.parametrize("form", BATCHES)
def test_a_batch_answers_in_the_order_of_its_images(client: httpx.Client, form: str) -> None:
    body = client.post("/predict/batch", **BATCHES[form]).json()
    assert (body["succeeded"], body["failed"]) == (3, 0)
    assert [item["index"] for item in body["predictions"]] == [0, 1, 2]
    for n, item in enumerate(body["predictions"]):
        alone = client.post("/predict", json={"pixels": strokes(n).tolist()}).json()
        assert item["digit"] == alone["digit"]
        assert item["probabilities"] == pytest.approx(alone["probabilities"], abs=1e-6)
    names = [item["filename"] for item in body["predictions"]]
    assert names == (["0.png", "1.png", "2.png"] if form == "multipart" else [None] * 3)


@pytest.mark.parametrize("count", [1, 31, 32, 33, 100, 256])
def test_a_batch_may_be_larger_than_a_micro_batch(client: httpx.Client, count: int) -> None:
    body = client.post("/predict/batch", **batch_of(count)).json()
    assert body["succeeded"] == count
    last = client.post("/predict", json={"pixels": strokes(count - 1).tolist()}).json()
    assert body["predictions"][-1]["probabilities"] == pytest.approx(last["probabilities"], abs=1e-6)


def test_one_bad_image_fails_alone(client: httpx.Client) -> None:
    files = [("files", ("a.png", FILE)), ("files", ("b.txt", b"hello")), ("files", ("c.png", FILE))]
    body = client.post("/predict/batch", files=files).json()
    good, bad, also_good = body["predictions"]
    assert (body["succeeded"], body["failed"]) == (2, 1)
    assert good["digit"] == also_good["digit"]
    assert (bad["index"], bad["filename"], bad["error"]["code"]) == (1, "b.txt", "invalid_image")
    assert set(bad) == {"index", "filename", "error"}


def test_bad_items_of_a_json_batch_fail_alone(client: httpx.Client) -> None:
    body = client.post("/predict/batch", json={"images": ["%%%", BASE64, 7, ""]}).json()
    assert [item.get("error", {}).get("code") for item in body["predictions"]] == [
        "invalid_image", None, "validation_error", "invalid_image",
    ]  # fmt: skip
    body = client.post("/predict/batch", json={"pixels": [[[1, 2], [3]], IMAGE.tolist(), [[256]], 5]}).json()
    assert [item.get("error", {}).get("code") for item in body["predictions"]] == [
        "validation_error", None, "validation_error", "validation_error",
    ]  # fmt: skip


def test_a_batch_of_nothing_but_bad_images_is_still_an_answer(client: httpx.Client) -> None:
    answer = client.post("/predict/batch", files=[("files", ("a", b"x")), ("files", ("b", b"y"))])
    assert answer.status_code == 200
    assert (answer.json()["succeeded"], answer.json()["failed"]) == (0, 2)


def test_batch_items_may_carry_receipts(client: httpx.Client) -> None:
    body = client.post("/predict/batch?receipt=true", **batch_of(2)).json()
    assert all(len(item["receipt"]["pixels"]) == 28 for item in body["predictions"])


def test_confidence_compares_every_model(client: httpx.Client) -> None:
    body = client.post("/confidence", **FORMS["raw"]).json()
    ranked = body["ranking"]
    assert [place["probability"] for place in ranked] == sorted(body["probabilities"], reverse=True)
    assert ranked[0] == {"digit": body["digit"], "probability": body["confidence"]}
    assert body["margin"] == pytest.approx(ranked[0]["probability"] - ranked[1]["probability"], abs=1e-6)
    entropy = -sum(p * np.log(p) for p in body["probabilities"] if p)
    assert body["entropy"] == pytest.approx(entropy, abs=1e-6)
    assert set(body["models"]) == {"cnn", "dense"}
    assert body["models"]["cnn"]["probabilities"] == body["probabilities"]
    digits = {opinion["digit"] for opinion in body["models"].values()}
    assert body["agreement"] == (len(digits) == 1)


def test_confidence_leads_with_the_model_that_was_asked(client: httpx.Client) -> None:
    body = client.post("/confidence?model=dense", **FORMS["raw"]).json()
    assert body["probabilities"] == body["models"]["dense"]["probabilities"]


def test_the_answers_are_what_openapi_says(client: httpx.Client) -> None:
    schemas = client.get("/openapi.json").json()["components"]["schemas"]
    answers = {
        "PredictAnswer": client.post("/predict?receipt=true", **FORMS["raw"]),
        "BatchAnswer": client.post("/predict/batch", **BATCHES["pixels"]),
        "ConfidenceAnswer": client.post("/confidence", **FORMS["raw"]),
        "ModelList": client.get("/models"),
        "Problem": client.post("/predict", content=b"", headers={"content-type": "image/png"}),
    }
    for name, answer in answers.items():
        body = json.loads(answer.content)
        assert set(schemas[name]["required"]) <= set(body) <= set(schemas[name]["properties"]), name


@pytest.mark.parametrize("form", FORMS)
def test_saliency_tells_a_value_for_every_pixel(client: httpx.Client, form: str) -> None:
    answer = client.post("/saliency?receipt=true", **FORMS[form])
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert [len(row) for row in body["saliency"]] == [28] * 28
    assert body["digit"] == client.post("/predict", **FORMS[form]).json()["digit"]
    assert body["images"] > 1
    assert np.shape(body["receipt"]["pixels"]) == (28, 28)
    assert [part.split(";")[0] for part in answer.headers["server-timing"].split(", ")] == ["decode", "queue", "infer"]
