"""What stands under deploy/observability works with a real Prometheus that scrapes a real service."""

import json
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from conftest import ROOT, png, strokes
from live import Live, serving

from service.measures import METRICS

FOLDER = ROOT / "deploy" / "observability"
DASHBOARD = json.loads((FOLDER / "grafana-dashboard.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
EXPRESSIONS = {f"{panel['title']} {target['refId']}": target["expr"] for panel in PANELS for target in panel["targets"]}
EMPTY_IS_WELL = ("Refused or failed, by reason", "Failed")  # nothing was refused

pytestmark = pytest.mark.skipif(shutil.which("prometheus") is None, reason="wants Debian's prometheus package")


def promtool(*arguments: str | Path, text: str | None = None) -> None:
    done = subprocess.run(
        ["promtool", *arguments], cwd=FOLDER, input=text, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def service(models: Path) -> Iterator[Live]:
    with serving(models, DIGITS_WORKERS="2") as running:
        yield running


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


def ask(service: Live, times: int) -> None:
    for number in range(times):
        path = ("/predict", "/predict?model=dense")[number % 2]
        answer = httpx.post(service.url + path, content=png(strokes(number)), headers={"content-type": "image/png"})
        assert answer.status_code == 200


@pytest.fixture(scope="module")
def prometheus(service: Live, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """Prometheus with our configuration, but for the target's port and how often it is scraped."""
    folder = tmp_path_factory.mktemp("prometheus")
    shutil.copy(FOLDER / "alerts.yml", folder)
    text = (FOLDER / "prometheus.yml").read_text()
    text = text.replace("127.0.0.1:8000", urlsplit(service.url).netloc).replace("15s", "1s")
    (folder / "prometheus.yml").write_text(text)
    url = f"127.0.0.1:{free_port()}"
    command = ["prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
    with subprocess.Popen([*command, f"--web.listen-address={url}"], stderr=subprocess.DEVNULL) as process:
        try:
            with httpx.Client(
                base_url=f"http://{url}", timeout=30, transport=httpx.HTTPTransport(retries=10)
            ) as client:
                while client.get("/-/ready").status_code != 200:
                    ask(service, 1)
                scrapes = "sum_over_time(up[5m])"
                while number(client, scrapes) < 4:  # rates need some scrapes with requests between them
                    ask(service, 10)
                yield client
        finally:
            process.terminate()


def result(client: httpx.Client, expression: str) -> list[Any]:
    answer = client.get("/api/v1/query", params={"query": expression})
    assert answer.json()["status"] == "success", answer.text
    found = answer.json()["data"]["result"]
    assert isinstance(found, list)
    return found


def number(client: httpx.Client, expression: str) -> float:
    found = result(client, expression)
    return float(found[0]["value"][1]) if found else 0.0


def test_the_configuration_and_the_alerts_are_right() -> None:
    promtool("check", "config", "prometheus.yml")
    promtool("check", "rules", "alerts.yml")
    promtool("test", "rules", "alerts.test.yml")


def test_every_alert_is_tested_and_documented() -> None:
    alerts = re.findall(r"alert: (\w+)", (FOLDER / "alerts.yml").read_text())
    assert len(alerts) >= 8
    for alert in alerts:
        assert alert in (FOLDER / "alerts.test.yml").read_text()
        assert alert in (ROOT / "docs" / "observability.md").read_text()


def test_promtool_finds_no_fault_in_our_metrics(service: Live) -> None:
    promtool("check", "metrics", text=httpx.get(f"{service.url}/metrics", timeout=30).text)


def test_prometheus_scrapes_the_service_and_counts_what_was_sent(prometheus: httpx.Client, service: Live) -> None:
    (target,) = prometheus.get("/api/v1/targets").json()["data"]["activeTargets"]
    assert (target["health"], target["lastError"]) == ("up", "")
    everything = 'sum(digits_request_seconds_count{route="/predict"})'
    sent = sum(
        float(line.rpartition(" ")[2])
        for line in httpx.get(f"{service.url}/metrics", timeout=30).text.splitlines()
        if line.startswith("digits_request_seconds_count") and 'route="/predict"' in line
    )
    assert sent >= 10
    while number(prometheus, everything) < sent:
        pass
    assert number(prometheus, everything) == sent
    assert number(prometheus, 'sum(digits_request_seconds_bucket{route="/predict",le="+Inf"})') == sent


def test_the_rules_are_loaded_and_nothing_is_alarming(prometheus: httpx.Client) -> None:
    (group,) = prometheus.get("/api/v1/rules").json()["data"]["groups"]
    assert {rule["health"] for rule in group["rules"]} <= {"ok", "unknown"}
    assert not prometheus.get("/api/v1/alerts").json()["data"]["alerts"]


@pytest.mark.parametrize("panel", EXPRESSIONS)
def test_the_dashboards_panels_show_something(prometheus: httpx.Client, panel: str) -> None:
    expression = EXPRESSIONS[panel].replace("$instance", ".*").replace("$__rate_interval", "1m")
    found = result(prometheus, expression)
    assert found or panel.startswith(EMPTY_IS_WELL), expression


def test_panels_have_ids_of_their_own() -> None:
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


def test_every_metric_is_documented() -> None:
    page = (ROOT / "docs" / "observability.md").read_text()
    told = re.findall(r"^\| `(digits_\w+)` \| ?(.*?) ?\|", page, re.MULTILINE)
    documented = {name.removesuffix("_total"): set(re.findall(r"\w+", labels)) for name, labels in told}
    assert documented == {metric.name: set(metric.labels) for metric in METRICS}
