"""The page's files as they are served; tests/web drives them in a browser."""

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from starlette.testclient import TestClient

from service.app import create_app
from service.settings import Settings

SVG_NAMESPACE = "http://www.w3.org/2000/svg"


def files(client: httpx.Client) -> dict[str, httpx.Response]:
    """Every file that the page or one of its modules names, by its path."""
    found: dict[str, httpx.Response] = {}
    paths = ["/"]
    while paths:
        path = paths.pop()
        if path in found:
            continue
        answer = found[path] = client.get(path)
        assert answer.status_code == 200, path
        if not path.endswith(".png"):
            folder = path.rpartition("/")[0]
            paths += [f"/{name}" for name in re.findall(r'(?:href|src)="(web/[^"]+)"', answer.text)]
            paths += [f"{folder}/{name}" for name in re.findall(r'from "\./([^"]+)"', answer.text)]
            paths += [f"{folder}/{name}" for name in re.findall(r'new URL\("([^"]+)", import', answer.text)]
    return found


def test_the_page_is_small_whole_and_names_no_address_outside(client: httpx.Client) -> None:
    found = files(client)
    assert {path.rpartition(".")[2] for path in found} == {"/", "css", "js", "svg", "png"}
    assert sum(len(answer.content) for answer in found.values()) < 150_000
    for path, answer in found.items():
        if not path.endswith(".png"):
            assert "//" not in re.sub(r"(?m)^\s*//.*$|;?\s// .*$", "", answer.text).replace(SVG_NAMESPACE, ""), path


def test_nothing_runs_that_is_not_a_file_of_the_page(client: httpx.Client) -> None:
    answer = client.get("/")
    policy = answer.headers["content-security-policy"]
    assert "unsafe" not in policy
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?! type=\"module\" src=)", answer.text)
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_files_are_kept_for_ever_under_their_digest_and_the_page_itself_is_asked_for(client: httpx.Client) -> None:
    for path, answer in files(client).items():
        kept = answer.headers["cache-control"]
        assert kept == ("no-cache" if path == "/" else "public, max-age=31536000, immutable")
        again = client.get(path, headers={"if-none-match": answer.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
    assert client.get("/", headers={"if-none-match": '"another"'}).status_code == 200


def test_text_is_compressed_for_who_takes_it(client: httpx.Client) -> None:
    plain = client.get("/", headers={"accept-encoding": "identity"})
    packed = client.get("/", headers={"accept-encoding": "gzip"})
    assert "content-encoding" not in plain.headers
    assert packed.headers["content-encoding"] == "gzip"
    assert int(packed.headers["content-length"]) < int(plain.headers["content-length"]) / 2
    assert packed.text == plain.text
    assert packed.headers["vary"] == "Accept-Encoding"


@pytest.mark.parametrize("path", ["/web/app.js", "/web/0/app.js", "/web/", "/web/../app.py", "/web/%2e%2e/app.py"])
def test_there_is_nothing_else_in_the_folder(client: httpx.Client, path: str) -> None:
    assert client.get(path).status_code == 404


def test_head_tells_the_same_without_the_page(client: httpx.Client) -> None:
    answer = client.head("/")
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["etag"] == client.get("/").headers["etag"]


def test_the_pages_need_no_key_and_what_they_ask_does(settings: Callable[..., Settings]) -> None:
    with TestClient(create_app(settings(api_key="secret"))) as client:
        assert all(answer.status_code == 200 for answer in files(client).values())
        assert client.get("/models").status_code == 401
        swagger = re.findall(r'(?:href|src)="((?:docs|web)/[^"]+)"', client.get("/docs").text)
        assert len(swagger) == 5
        assert {client.get(f"/{path}").status_code for path in swagger} == {200}
        assert client.get("/openapi.json").status_code == 401


def test_docs_loads_only_its_own_files_and_runs_nothing_else(client: httpx.Client) -> None:
    answer = client.get("/docs")
    assert answer.headers["content-security-policy"] == client.get("/").headers["content-security-policy"]
    assert "//" not in answer.text
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script>", answer.text)


@pytest.fixture
def guarded(settings: Callable[..., Settings], tmp_path: Path) -> Iterator[TestClient]:
    """A service with a key and two reports."""
    for version in ("cnn-1", "dense-1"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "index.html").write_text(version)
    with TestClient(create_app(settings(api_key="secret", reports=tmp_path))) as client:
        yield client


def report(client: TestClient) -> str:
    answer = client.get("/models/cnn", headers={"x-api-key": "secret"})
    return answer.json()["versions"][0]["report"]


def test_a_link_to_a_report_opens_it_without_a_key_and_nothing_else(guarded: TestClient) -> None:
    link = report(guarded)
    assert guarded.get(link).text == "cnn-1"
    path, _, seal = link.partition("?")
    for other in (path, f"/reports/dense-1/index.html?{seal}", f"/models?{seal}", f"/reports/../models?{seal}"):
        assert guarded.get(other).status_code == 401
    later = re.sub(r"until=(\d+)", lambda found: f"until={int(found[1]) + 1}", link)
    assert guarded.get(later).status_code == 401
    assert guarded.get(f"{path}?seal=").status_code == 401
    assert guarded.post("/predict?" + seal, content=b"").status_code == 401


def test_a_link_to_a_report_opens_it_for_an_hour(guarded: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    link, now = report(guarded), time.time()
    monkeypatch.setattr(time, "time", lambda: now + 3590)
    assert guarded.get(link).status_code == 200
    monkeypatch.setattr(time, "time", lambda: now + 3610)
    assert guarded.get(link).status_code == 401
