"""The documentation tells the truth: settings, errors and routes are all in it, and its commands run."""

import os
import re
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from conftest import ROOT
from live import serving

from service.api.problems import STATUS_OF_CODE
from service.app import create_app
from service.settings import Settings

README = (ROOT / "README.md").read_text()
CURL_LINES = [line for line in README.splitlines() if line.startswith("curl ")]


def test_every_setting_is_documented_with_its_default_and_nothing_else_is() -> None:
    table = re.findall(
        r"^\| `(DIGITS_\w+)` \| (.*?) \| (.*) \|$", (ROOT / "docs/settings.md").read_text(), re.MULTILINE
    )
    told = {name: (default, meaning) for name, default, meaning in table}
    assert set(told) == {f"DIGITS_{name.upper()}" for name in Settings.model_fields}
    for name, field in Settings.model_fields.items():
        default, meaning = told[f"DIGITS_{name.upper()}"]
        assert meaning == field.description
        if isinstance(field.default, (int, float)) and not isinstance(field.default, bool):
            assert float(default) == field.default


def test_every_error_code_is_documented() -> None:
    table = dict(re.findall(r"^\| (\d+) \| `(\w+)` \|", (ROOT / "docs/api.md").read_text(), re.MULTILINE))
    codes = re.findall(r"^\| (\d+) \| `(\w+)` \|", (ROOT / "docs/api.md").read_text(), re.MULTILINE)
    assert table
    assert {code: int(status) for status, code in codes} == STATUS_OF_CODE | {"internal": 500}


def test_every_route_is_documented() -> None:
    text = (ROOT / "docs/api.md").read_text() + (ROOT / "docs/open-inference-protocol.md").read_text()
    for path in create_app(Settings()).openapi()["paths"]:
        assert path in text, path


def test_every_file_that_the_architecture_names_is_there() -> None:
    block = (ROOT / "docs/architecture.md").read_text().split("## The files")[1].split("```")[1]
    named = set(re.findall(r"\b(\w+\.py)\b", block))
    there = {path.name for path in [*ROOT.glob("service/**/*.py"), *ROOT.glob("training/**/*.py")]}
    assert named <= there
    untold = there - named
    assert untold <= {"__init__.py", "__main__.py"}


def test_every_promise_is_held_by_a_test_that_is_there() -> None:
    rows = re.findall(r"^\| (?!they suffer|---)(.*) \|$", (ROOT / "docs/promises.md").read_text(), re.MULTILINE)
    tests = {
        name for path in ROOT.glob("tests/**/test_*.py") for name in re.findall(r"def (test_\w+)", path.read_text())
    }
    assert len(rows) >= 25
    for row in rows:
        held_by = set(re.findall(r"`(test_\w+|\.ci/\w+)`", row.rpartition("|")[2]))
        assert held_by, row
        assert {name for name in held_by if not (ROOT / name).exists()} <= tests, row


@pytest.mark.parametrize("document", sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]), ids=lambda path: path.name)
def test_links_between_documents_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)", document.read_text()):
        assert urlsplit(target).scheme or (document.parent / target).exists(), target


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory):
    """Curl's configuration that leads the documented port to a service of this test."""
    with serving(ROOT / "models") as live:
        home = tmp_path_factory.mktemp("curl")
        (home / ".curlrc").write_text(
            f'connect-to = "127.0.0.1:8000:127.0.0.1:{urlsplit(live.url).port}"\nfail\nsilent\n'
        )
        yield {**os.environ, "CURL_HOME": str(home)}


def test_there_are_curl_lines() -> None:
    assert len(CURL_LINES) >= 8


@pytest.mark.parametrize("line", CURL_LINES)
def test_the_readmes_curl_lines_work_as_they_stand(line: str, environment: dict[str, str]) -> None:
    done = subprocess.run(["bash", "-c", line], cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    if "seven.png" in line or "photo.jpg" in line:
        assert '"digit":7' in done.stdout
