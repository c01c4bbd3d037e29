"""The routes that do not predict, and what every answer carries."""

import re
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from conftest import png, strokes
from networks import write_linear_model
from starlette.testclient import TestClient

from service.api.problems import STATUS_OF_CODE
from service.api.reply import new_id
from service.app import create_app
from service.settings import Settings


def test_models_tell_what_is_loaded_and_where_it_runs(client: httpx.Client) -> None:
    models = client.get("/models").json()["models"]
    assert [model["name"] for model in models] == ["cnn", "dense"]
    (version,) = models[0]["versions"]
    assert (version["version"], version["state"], version["provider"]) == ("1", "READY", "CPUExecutionProvider")
    assert len(version["sha256"]) == 64
    assert client.get("/models/cnn").json() == models[0]


def test_versions_are_listed_newest_first_and_the_newest_answers(
    tmp_path: Path, settings: Callable[..., Settings]
) -> None:
    for version in (2, 10, 9):
        write_linear_model(tmp_path / "cnn" / str(version), seed=version)
    with TestClient(create_app(settings(model_repository=tmp_path))) as client:
        versions = client.get("/models/cnn").json()["versions"]
        assert [version["version"] for version in versions] == ["10", "9", "2"]
        body = {"pixels": strokes().tolist()}
        assert client.post("/predict", json=body).json()["model_version"] == "10"
        assert client.post("/predict?version=2", json=body).json()["model_version"] == "2"


def test_probes(in_process: TestClient) -> None:
    assert in_process.get("/health/live").json() == {"live": True}
    assert in_process.get("/health/ready").json() == {"ready": True, "models": {"cnn": True, "dense": True}}
    assert in_process.head("/health/ready").status_code == 200
    in_process.app.draining = True
    assert in_process.get("/health/ready").status_code == 503
    assert in_process.get("/health/live").status_code == 200


GETS = ["/", "/docs", "/docs/swagger-ui.css", "/openapi.json", "/models", "/models/cnn", "/metrics", "/health/live",
        "/health/ready", "/v2", "/v2/models/cnn", "/v2/models/cnn/ready", "/v2/models/stats",
        "/models/nobody", "/nowhere", "/reports/nowhere"]  # fmt: skip
VARIES = {"x-request-id", "date"}


@pytest.mark.parametrize("path", GETS)
def test_head_is_get_without_the_body(client: httpx.Client, path: str) -> None:
    whole, head = client.get(path), client.head(path)
    assert (head.status_code, head.content) == (whole.status_code, b"")
    if path == "/metrics":  # it counts the requests meanwhile
        assert head.headers["content-type"] == whole.headers["content-type"]
        return
    fixed = [{name: value for name, value in one.headers.items() if name not in VARIES} for one in (whole, head)]
    assert fixed[0] == fixed[1]


@pytest.mark.parametrize("path", GETS[:13])
def test_what_answers_get_allows_head_too(client: httpx.Client, path: str) -> None:
    refused = client.delete(path)
    assert (refused.status_code, sorted(refused.headers["allow"].split(", "))) == (405, ["GET", "HEAD"])


def test_head_of_what_takes_post_alone_is_refused(client: httpx.Client) -> None:
    refused = client.head("/predict")
    assert (refused.status_code, refused.headers["allow"], refused.content) == (405, "POST", b"")


def test_head_is_not_told_twice_in_openapi(in_process: TestClient) -> None:
    paths = in_process.get("/openapi.json").json()["paths"]
    assert not [path for path, operations in paths.items() if "head" in operations]


def test_a_broken_version_is_told_and_the_others_answer(tmp_path: Path, settings: Callable[..., Settings]) -> None:
    write_linear_model(tmp_path / "cnn" / "1")
    for version, content in ((2, b"not a network"), (3, b"")):
        (tmp_path / "cnn" / str(version)).mkdir()
        (tmp_path / "cnn" / str(version) / "model.onnx").write_bytes(content)
    write_linear_model(tmp_path / "cnn" / "4", outputs=("logits",))
    with TestClient(create_app(settings(model_repository=tmp_path))) as client:
        versions = client.get("/models/cnn").json()["versions"]
        assert {version["version"]: version["state"] for version in versions} == {
            "1": "READY", "2": "FAILED", "3": "FAILED", "4": "FAILED",
        }  # fmt: skip
        assert "probabilities" in versions[0]["reason"]
        body = {"pixels": strokes().tolist()}
        assert client.post("/predict", json=body).json()["model_version"] == "1"
        assert client.post("/predict?version=2", json=body).json()["code"] == "not_ready"
        assert client.get("/health/ready").status_code == 200


@pytest.mark.parametrize("given", ["abc-123", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"])
def test_a_sane_request_id_comes_back(client: httpx.Client, given: str) -> None:
    for answer in (client.get("/models", headers={"x-request-id": given}),
                   client.post("/predict", headers={"x-request-id": given})):  # fmt: skip
        assert answer.headers["x-request-id"] == given


@pytest.mark.parametrize("given", ["", "a b", "x" * 200, "a;b", "é"])
def test_any_other_request_id_is_replaced(client: httpx.Client, given: str) -> None:
    answers = [client.get("/nowhere", headers={"x-request-id": given.encode()}) for _ in range(2)]
    ids = {answer.headers["x-request-id"] for answer in answers}
    assert len(ids) == 2
    assert given not in ids


UNTOLD = {"not_found", "method_not_allowed"}  # of no route's own


def test_openapi_names_every_body_form_and_error(client: httpx.Client) -> None:
    document = client.get("/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    for path in ("/predict", "/confidence"):
        operation = document["paths"][path]["post"]
        assert set(operation["requestBody"]["content"]) >= {
            "multipart/form-data", "application/json", "application/octet-stream", "image/png", "image/jpeg",
        }  # fmt: skip
        assert {parameter["name"] for parameter in operation["parameters"]} == {
            "model", "version", "preprocess", "coverage", "receipt",
        }  # fmt: skip
        assert set(operation["responses"]) == {
            "200", "400", "401", "404", "408", "413", "415", "422", "431", "500", "503", "504",
        }  # fmt: skip
    told = str(document["paths"])
    assert all(f"`{code}`" in told for code in STATUS_OF_CODE if code not in UNTOLD)


def test_no_two_requests_get_the_same_id() -> None:
    ids = {new_id() for _ in range(1000)}
    assert len(ids) == 1000
    assert all(re.fullmatch("[0-9a-f]{32}", one) for one in ids)


def test_openapi_tells_the_request_id_of_every_answer_and_what_needs_no_key(client: httpx.Client) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    for path, operations in paths.items():
        for operation in operations.values():
            assert all("X-Request-ID" in answer["headers"] for answer in operation["responses"].values())
            assert "500" in operation["responses"]
            assert ("security" in operation) == (path.startswith(("/health", "/v2/health")) or path.endswith("/ready"))


def test_openapi_tells_what_the_probes_of_v2_answer_while_not_ready(client: httpx.Client) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    assert set(paths["/v2/health/ready"]["get"]["responses"]) == {"200", "408", "431", "500", "503"}
    for path in ("/v2/models/{name}/ready", "/v2/models/{name}/versions/{version}/ready"):
        told = paths[path]["get"]["responses"]
        assert set(told) == {"200", "404", "408", "431", "500", "503"}
        assert told["503"]["content"] == told["200"]["content"]


def test_every_reference_in_openapi_leads_somewhere(client: httpx.Client) -> None:
    document = client.get("/openapi.json").json()
    names = set(document["components"]["schemas"])

    def references(node: object) -> set[str]:
        if isinstance(node, dict):
            found = {node["$ref"].rsplit("/", 1)[1]} if "$ref" in node else set()
            return found.union(*(references(value) for value in node.values()))
        return set().union(*(references(value) for value in node)) if isinstance(node, list) else set()

    assert references(document) <= names


def test_the_documentation_page_needs_no_address_outside(client: httpx.Client) -> None:
    page = client.get("/docs").text
    assert "http" not in page.replace("http-equiv", "")
    assert client.get("/docs/swagger-ui-bundle.js").headers["content-type"].startswith("text/javascript")
    assert client.get("/docs/other.js").status_code == 404


def test_hot_routes_answer_the_same_behind_the_framework(in_process: TestClient) -> None:
    file = png(strokes())
    direct = in_process.post("/predict", content=file, headers={"content-type": "image/png"})
    in_process.app.edge.hot = {}
    framework = in_process.post("/predict", content=file, headers={"content-type": "image/png"})
    assert framework.json() == direct.json()
    assert set(framework.headers) == set(direct.headers)
    assert in_process.post("/predict", content=b"", headers={"content-type": "image/png"}).status_code == 400


@pytest.mark.parametrize("path", ["", "cnn-1/", "cnn-1/index.html", "%00"])
def test_before_there_is_a_folder_of_reports_none_is_found(
    path: str, tmp_path: Path, settings: Callable[..., Settings]
) -> None:
    app = create_app(settings(reports=tmp_path / "later"))
    with TestClient(app, raise_server_exceptions=False) as client:
        answer = client.get(f"/reports/{path}")
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
        (tmp_path / "later/cnn-1").mkdir(parents=True)
        (tmp_path / "later/cnn-1/index.html").write_text("<h1>cnn 1</h1>")
        assert client.get("/reports/cnn-1/").text == "<h1>cnn 1</h1>"
        head = client.head("/reports/cnn-1/")
        assert (head.content, head.headers["content-length"]) == (b"", "14")
        assert client.delete("/reports/cnn-1/").headers["allow"] == "GET, HEAD"


def test_a_file_in_place_of_the_folder_of_reports_is_not_served(
    tmp_path: Path, settings: Callable[..., Settings]
) -> None:
    (tmp_path / "file").write_text("none of a reader's business")
    with TestClient(create_app(settings(reports=tmp_path / "file")), raise_server_exceptions=False) as client:
        assert client.get("/reports/").status_code == 404


def test_the_report_of_a_version_is_told_and_served(tmp_path: Path, settings: Callable[..., Settings]) -> None:
    with TestClient(create_app(settings(reports=tmp_path))) as client:
        assert client.get("/models/cnn").json()["versions"][0]["report"] is None
        (tmp_path / "cnn-1").mkdir()
        (tmp_path / "cnn-1/index.html").write_text("<h1>cnn 1</h1>")
        report = client.get("/models/cnn").json()["versions"][0]["report"]
        assert client.get(report).text == "<h1>cnn 1</h1>"
        assert client.get("/reports/dense-1/index.html").json()["code"] == "not_found"
        assert client.get("/reports/..%2f..%2fpyproject.toml").status_code == 404
