"""Every error of the contract, and that the next request is answered."""

import base64
import json
import struct
import time
import zlib
from collections.abc import Callable

import httpx
import numpy as np
import pytest
from conftest import png, strokes
from starlette.testclient import TestClient

from service.app import create_app
from service.settings import Settings

FILE = png(strokes())
PNG = {"content-type": "image/png"}
JSON = {"content-type": "application/json"}
FORM = {"content-type": "multipart/form-data; boundary=b"}


def check(client: httpx.Client, answer, status: int, code: str) -> dict:
    """A problem document of this status and code; and the service answers on."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert set(problem) == {"type", "title", "status", "detail", "instance", "code"}
    assert (problem["status"], problem["code"]) == (status, code)
    assert answer.headers["x-request-id"] in problem["instance"]
    assert client.post("/predict", content=FILE, headers=PNG).status_code == 200
    return problem


def part(name: str, content: bytes, filename: str | None = "a.png") -> bytes:
    disposition = f'form-data; name="{name}"' + (f'; filename="{filename}"' if filename is not None else "")
    return b"--b\r\ncontent-disposition: " + disposition.encode() + b"\r\n\r\n" + content + b"\r\n"


MALFORMED = {
    "broken json": (b'{"image": ', JSON),
    "json of another kind": (b"[1, 2]", JSON),
    "json without an image": (b'{"picture": "x"}', JSON),
    "json with two images": (b'{"image": "x", "pixels": [[1]]}', JSON),
    "json with a null image": (b'{"image": null}', JSON),
    "empty json": (b"", JSON),
    "json nested too deep": (b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}", JSON),
    "json that is not utf-8": (b'{"image": "\xff\xfe"}', JSON),
    "an empty raw body": (b"", PNG),
    "multipart without a boundary": (b"--b\r\n", {"content-type": "multipart/form-data"}),
    "multipart that stops early": (part("file", FILE), FORM),
    "multipart that is none": (b"hello", FORM),
    "an empty form": (b"--b--\r\n", FORM),
    "a form without file": (part("image", FILE) + b"--b--\r\n", FORM),
    "a form in which no file was chosen": (part("file", b"", "") + b"--b--\r\n", FORM),
    "a form with two files": (part("file", FILE) + part("file", FILE) + b"--b--\r\n", FORM),
    "a form of thousands of fields": (part("x", b"", None) * 5000 + b"--b--\r\n", FORM),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_malformed_requests(client: httpx.Client, case: str) -> None:
    content, headers = MALFORMED[case]
    check(client, client.post("/predict", content=content, headers=headers), 400, "malformed_request")


@pytest.mark.parametrize("body", [b"{}", b'{"images": []}', b'{"pixels": []}', b"nonsense"])
def test_malformed_batches(client: httpx.Client, body: bytes) -> None:
    check(client, client.post("/predict/batch", content=body, headers=JSON), 400, "malformed_request")


@pytest.mark.parametrize(
    "headers",
    [{}, {"content-type": "text/plain"}, {"content-type": "application/x-www-form-urlencoded"},
     PNG | {"content-encoding": "gzip"}],
)  # fmt: skip
def test_unsupported_media_types(client: httpx.Client, headers: dict) -> None:
    check(client, client.post("/predict", content=FILE, headers=headers), 415, "unsupported_media_type")


def test_a_lone_picture_is_no_batch(client: httpx.Client) -> None:
    answer = client.post("/predict/batch", content=FILE, headers=PNG)
    check(client, answer, 415, "unsupported_media_type")


INVALID = {
    "text": (b"hello", PNG),
    "truncated": (FILE[: len(FILE) // 2], PNG),
    "no base64": (b'{"image": "%%%"}', JSON),
    "base64 of no image": (json.dumps({"image": base64.b64encode(b"hello").decode()}).encode(), JSON),
    "data url without base64": (b'{"image": "data:image/png,abc"}', JSON),
    "an empty file in a form": (part("file", b"") + b"--b--\r\n", FORM),
}


@pytest.mark.parametrize("case", INVALID)
def test_invalid_images(client: httpx.Client, case: str) -> None:
    content, headers = INVALID[case]
    check(client, client.post("/predict", content=content, headers=headers), 422, "invalid_image")


def test_preprocess_none_takes_28_by_28_only(client: httpx.Client) -> None:
    for shape in ((27, 28), (28, 29), (1, 1), (784, 1)):
        body = {"pixels": np.zeros(shape, int).tolist()}
        problem = check(client, client.post("/predict?preprocess=none", json=body), 422, "invalid_image")
        assert f"{shape[1]} x {shape[0]}" in problem["detail"]


VALUES = [
    '{"pixels": [[256]]}', '{"pixels": [[-1]]}', '{"pixels": [[0.5]]}', '{"pixels": [[true]]}', '{"pixels": [["1"]]}',
    '{"pixels": [[1, 2], [3]]}', '{"pixels": []}', '{"pixels": [[]]}', '{"pixels": 5}', '{"pixels": [1, 2]}',
    '{"pixels": [[null]]}', '{"pixels": [[1e400]]}', '{"image": 5}', '{"image": ["a"]}',
]  # fmt: skip


@pytest.mark.parametrize("body", VALUES)
def test_values_out_of_range(client: httpx.Client, body: str) -> None:
    answer = client.post("/predict", content=body.encode(), headers=JSON)
    if "1e400" in body:
        assert answer.status_code in (400, 422)
        return
    check(client, answer, 422, "validation_error")


TOLD = {
    '{"pixels": [[0, 1], [2, "x"]]}': "Row 1, column 1 of 'pixels' is \"x\": expected a whole number 0..255.",
    '{"pixels": [[256]]}': "Row 0, column 0 of 'pixels' is 256: expected a whole number 0..255.",
    '{"pixels": [[7.0, 0.5]]}': "Row 0, column 1 of 'pixels' is 0.5: expected a whole number 0..255.",
    '{"pixels": [[[1, 2, 3]]]}': "Row 0, column 0 of 'pixels' is [1,2,3]: expected a whole number 0..255.",
    '{"pixels": [1, 2]}': "Row 0 of 'pixels' is 1: expected a list",
    '{"pixels": "abc"}': "'pixels' is \"abc\": expected a list of rows",
    '{"pixels": [[1e400]]}': "'pixels' is [[1e400]]: expected a list of rows",
    '{"pixels": "' + "a" * 9000 + '"}': "a...: expected",
    '{"image": 5}': "'image' is 5: expected a string, the base64 of an image file or a data: URL.",
    "[1, 2]": "The body is [1, 2]: expected a JSON object with 'image' or 'pixels'.",
}


@pytest.mark.parametrize("body", TOLD)
def test_what_is_wrong_in_json_is_told_with_its_place_and_what_was_expected(client: httpx.Client, body: str) -> None:
    detail = client.post("/predict", content=body.encode(), headers=JSON).json()["detail"]
    assert TOLD[body] in detail
    assert len(detail) < 200


MENDED = {
    "no file chosen": (part("file", b"", "") + b"--b--\r\n", FORM, "no file was chosen"),
    "a form by hand": (b"hello", FORM, "Let the HTTP client build it"),
    "null": (b'{"image": null}', JSON, "came 'image': null."),
    "an empty object": (b"{}", JSON, "came an empty object."),
    "deep": (b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}", JSON, "nested too deeply"),
    "HEIC": (b"\0\0\0\x18ftypheic" + bytes(100), PNG, "got HEIC. Convert it to JPEG or PNG."),
    "PDF": (b"%PDF-1.7" + bytes(100), PNG, "got PDF. Convert it"),
    "SVG": (b"<svg xmlns='x'/>", PNG, "got SVG. Convert it"),
    "nothing": (b"hello", PNG, "Send the encoded file itself."),
}


@pytest.mark.parametrize("case", MENDED)
def test_the_detail_says_how_to_mend_it(client: httpx.Client, case: str) -> None:
    content, headers, told = MENDED[case]
    assert told in client.post("/predict", content=content, headers=headers).json()["detail"]


def test_what_is_wrong_in_a_batch_is_told_with_its_picture(client: httpx.Client) -> None:
    items = client.post("/predict/batch", json={"pixels": [[[0]], [[0], ["x"]], 5]}).json()["predictions"]
    assert "Row 1, column 0 of 'pixels[1]' is \"x\"" in items[1]["error"]["detail"]
    assert "'pixels[2]' is 5" in items[2]["error"]["detail"]
    refused = client.post("/predict/batch", json={"images": 5}).json()["detail"]
    assert refused == "'images' is 5: expected a list of base64 strings."


@pytest.mark.parametrize(
    "query", ["preprocess=maybe", "preprocess=", "receipt=perhaps", "version=", "model=cnn&version="]
)
@pytest.mark.parametrize("route", ["/predict", "/predict/batch", "/confidence"])
def test_queries_out_of_range(client: httpx.Client, route: str, query: str) -> None:
    check(client, client.post(f"{route}?{query}", content=FILE, headers=PNG), 422, "validation_error")


@pytest.mark.parametrize("query", ["model=resnet", "version=9", "version=x", "model=cnn&version=0", "model="])
def test_unknown_models_and_versions(client: httpx.Client, query: str) -> None:
    if query == "model=":
        assert client.post(f"/predict?{query}", content=FILE, headers=PNG).status_code == 200
        return
    check(client, client.post(f"/predict?{query}", content=FILE, headers=PNG), 404, "model_not_found")


def test_unknown_model_page(client: httpx.Client) -> None:
    check(client, client.get("/models/resnet"), 404, "model_not_found")


def test_unknown_routes_and_methods(client: httpx.Client) -> None:
    check(client, client.get("/nowhere"), 404, "not_found")
    answer = client.get("/predict")
    assert check(client, answer, 405, "method_not_allowed")["detail"].endswith("Send POST.")
    assert answer.headers["allow"] == "POST"


def test_a_body_over_the_limit_is_refused_by_its_length(client: httpx.Client) -> None:
    answer = client.post("/predict", content=b"x" * (10 * 1024 * 1024 + 1), headers=PNG)
    assert "DIGITS_MAX_BODY_BYTES" in check(client, answer, 413, "too_large")["detail"]


def test_a_body_over_the_limit_is_refused_while_it_streams(settings: Callable[..., Settings]) -> None:
    with TestClient(create_app(settings(max_body_bytes=4096))) as client:
        for headers in (PNG, JSON):
            answer = client.post("/predict", content=iter([b"x" * 1024] * 100), headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (413, "too_large")


def bomb(side: int) -> bytes:
    """A valid PNG header of side x side pixels, all zero, compressed."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    rows = zlib.compress(b"\0" * (side + 1) * 1000)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0))
        + chunk(b"IDAT", rows)
        + chunk(b"IEND", b"")
    )


def test_too_many_pixels_are_told_from_the_header(client: httpx.Client) -> None:
    started = time.process_time()
    answer = client.post("/predict", content=bomb(30_000), headers=PNG)
    spent = time.process_time() - started
    assert "DIGITS_MAX_IMAGE_PIXELS" in check(client, answer, 413, "too_large")["detail"]
    assert spent < 1  # decoding 900 million pixels takes far longer


def test_too_many_pixels_in_json(settings: Callable[..., Settings]) -> None:
    with TestClient(create_app(settings(max_image_pixels=1000))) as client:
        answer = client.post("/predict", json={"pixels": np.zeros((40, 40), int).tolist()})
        assert (answer.status_code, answer.json()["code"]) == (413, "too_large")


def test_more_images_than_a_batch_takes(settings: Callable[..., Settings]) -> None:
    with TestClient(create_app(settings(max_batch_images=3))) as client:
        for body in (
            {"files": [("files", ("a.png", FILE))] * 4},
            {"json": {"images": [base64.b64encode(FILE).decode()] * 4}},
            {"json": {"pixels": [strokes().tolist()] * 4}},
        ):
            answer = client.post("/predict/batch", **body)
            assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
            assert "DIGITS_MAX_BATCH_IMAGES" in answer.json()["detail"]


@pytest.mark.parametrize("headers", [{}, {"x-api-key": "wrong"}, {"authorization": "Bearer wrong"},
                                     {"authorization": "Basic a2V5"}])  # fmt: skip
def test_without_the_api_key(settings: Callable[..., Settings], headers: dict) -> None:
    with TestClient(create_app(settings(api_key="key"))) as client:
        for answer in (client.post("/predict", content=FILE, headers=PNG | headers),
                       client.get("/models", headers=headers)):  # fmt: skip
            assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")
            assert answer.headers["www-authenticate"] == "Bearer"


def test_with_the_api_key(settings: Callable[..., Settings]) -> None:
    with TestClient(create_app(settings(api_key="key"))) as client:
        for headers in ({"x-api-key": "key"}, {"authorization": "Bearer key"}, {"authorization": "bearer key"}):
            assert client.post("/predict", content=FILE, headers=PNG | headers).status_code == 200
        assert client.get("/health/live").status_code == 200
        assert client.get("/health/ready").status_code == 200
        assert "bearer" in client.get("/openapi.json", headers=headers).json()["components"]["securitySchemes"]


def test_before_the_models_are_loaded(settings: Callable[..., Settings]) -> None:
    client = TestClient(create_app(settings()))  # its lifespan has not begun
    answer = client.post("/predict", content=FILE, headers=PNG)
    assert (answer.status_code, answer.json()["code"]) == (503, "not_ready")
    assert answer.headers["retry-after"] == "1"
    assert client.get("/health/ready").status_code == 503
    assert client.get("/health/live").status_code == 200


def test_a_bug_is_told_without_its_traceback(in_process: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    model = in_process.app.repository.find("cnn")

    def broken(_inputs: object) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr(model.batcher, "_run", broken)
    answer = in_process.post("/predict", content=FILE, headers=PNG)
    assert (answer.status_code, answer.json()["code"]) == (500, "internal")
    assert "secret" not in answer.text
    monkeypatch.undo()
    check(in_process, answer, 500, "internal")
