"""What Prometheus is told: one truth for all workers, and sums that are what was sent."""

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest
from conftest import png, strokes
from live import Live, serving
from networks import write_linear_model
from prometheus_client.parser import text_string_to_metric_families
from protocol import tensor

from service.counters import Counters
from service.measures import METRICS, REQUEST_SECONDS, merge
from service.metrics import DigitMetrics, Histogram, Metrics, note

PNG = {"content-type": "image/png"}
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def scrape(live: Live) -> Samples:
    text = httpx.get(f"{live.url}/metrics", timeout=30).text
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def total(samples: Samples, metric: str, **labels: str) -> float:
    """The sum of all series of a metric that have these labels."""
    return sum(value for (name, has), value in samples.items() if name == metric and labels.items() <= has)


@pytest.fixture(scope="module")
def service(models: Path) -> Iterator[Live]:
    with serving(models, DIGITS_WORKERS="2") as running:
        yield running


def test_the_histograms_add_up_to_the_requests_sent(service: Live) -> None:
    before = scrape(service)
    sent, failed, batches = 60, 9, 5
    body, wrong = png(strokes()), b"no picture"
    files = [("files", png(strokes(seed))) for seed in range(4)]
    raw = {"inputs": [tensor("image", np.stack([strokes(), strokes(1)]), "UINT8")]}

    def ask(number: int) -> None:
        with httpx.Client(base_url=service.url, timeout=30) as client:  # new connections, for both workers
            if number < sent:
                assert client.post("/predict", content=body, headers=PNG).status_code == 200
            elif number < sent + failed:
                assert client.post("/predict", content=wrong, headers=PNG).status_code == 422
            elif number < sent + failed + batches:
                assert client.post("/predict/batch?model=dense", files=files).status_code == 200
            else:
                assert client.post("/v2/models/dense/infer", json=raw).status_code == 200

    v2 = 7
    with ThreadPoolExecutor(8) as callers:
        list(callers.map(ask, range(sent + failed + batches + v2)))
    after = scrape(service)

    def grown(metric: str, **labels: str) -> float:
        return total(after, metric, **labels) - total(before, metric, **labels)

    for name in ("digits_request_seconds_count", "digits_requests_total"):
        assert grown(name, route="/predict", model="cnn", status="200") == sent
        assert grown(name, route="/predict", model="cnn", status="422") == failed
        assert grown(name, route="/predict/batch", model="dense", status="200") == batches
        assert grown(name, route="/v2/models/{name}/infer", model="dense", status="200") == v2
    assert grown("digits_request_seconds_bucket", route="/predict", status="200", le="+Inf") == sent
    assert 0 < grown("digits_request_seconds_sum", route="/predict", status="200") < 60
    assert grown("digits_refusals_total", reason="invalid_image") == failed
    assert grown("digits_decode_seconds_count", route="/predict") == sent
    assert grown("digits_queue_seconds_count", model="cnn", version="1") == sent
    assert grown("digits_inference_seconds_count", model="dense", version="1") == batches + v2
    assert grown("digits_micro_batch_images_sum", model="cnn") == sent
    assert grown("digits_micro_batch_images_sum", model="dense") == 4 * batches + 2 * v2
    assert grown("digits_predicted_total", model="dense") == 4 * batches + 2 * v2
    assert grown("digits_confidence_count", model="cnn") == sent
    statistics = httpx.get(f"{service.url}/v2/models/dense/stats").json()["model_stats"][0]
    assert statistics["inference_count"] == total(after, "digits_micro_batch_images_sum", model="dense")
    assert statistics["inference_stats"]["success"]["count"] == total(after, "digits_requests_total", model="dense")


def test_versions_providers_loop_and_processes_are_told(service: Live) -> None:
    samples = scrape(service)
    assert total(samples, "digits_model_version_state", model="cnn", version="1", state="READY") == 2
    assert total(samples, "digits_execution_provider_info", model="cnn", provider="CPUExecutionProvider") == 1
    assert total(samples, "digits_event_loop_lag_seconds_count") > 0
    assert total(samples, "process_cpu_seconds_total") > 0
    assert total(samples, "process_resident_memory_bytes") > 100e6  # of both
    assert total(samples, "digits_queued_images") == 0


def test_every_metric_is_there_from_the_first_scrape(service: Live) -> None:
    text = httpx.get(f"{service.url}/metrics").text
    for metric in METRICS:
        assert f"# HELP {metric.name}" in text
    asked = httpx.get(f"{service.url}/metrics", headers={"accept": "application/openmetrics-text; version=1.0.0"})
    assert asked.headers["content-type"].startswith("application/openmetrics-text")
    assert asked.text.endswith("# EOF\n")


def test_paths_that_somebody_makes_up_are_one_series(service: Live) -> None:
    for path in ("/a", "/b", "/v2/c", "/predict/%20"):
        httpx.get(service.url + path)
    routes = {dict(labels)["route"] for name, labels in scrape(service) if name == "digits_requests_total"}
    assert "none" in routes
    assert not routes & {"/a", "/b", "/v2/c", "/predict/%20"}


def test_what_a_worker_counted_outlives_it(models: Path) -> None:
    with serving(models, DIGITS_WORKERS="2") as live:
        for _ in range(30):
            httpx.post(f"{live.url}/predict", content=png(strokes()), headers=PNG)
        assert total(scrape(live), "digits_requests_total", route="/predict") == 30
        children = Path(f"/proc/{live.process.pid}/task/{live.process.pid}/children").read_text().split()
        workers = [int(child) for child in children if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]
        os.kill(workers[0], signal.SIGKILL)
        for _ in range(300):  # until the supervisor has replaced it
            try:
                samples = scrape(live)
            except httpx.TransportError:
                continue
            if total(samples, "digits_model_version_state", model="cnn", state="READY") == 2:
                break
        assert total(samples, "digits_requests_total", route="/predict") == 30
        assert total(samples, "digits_model_version_state", model="cnn", state="READY") == 2


def test_a_swap_is_seen(tmp_path: Path) -> None:
    write_linear_model(tmp_path / "cnn" / "1")
    with serving(tmp_path, DIGITS_WORKERS="1", DIGITS_REPOSITORY_POLL_S="0.05") as live:
        write_linear_model(tmp_path / "cnn" / "2")
        (tmp_path / "cnn" / "3").mkdir()
        (tmp_path / "cnn" / "3" / "model.onnx").write_bytes(b"broken")
        while not total(samples := scrape(live), "digits_model_version_state", version="3", state="FAILED"):
            pass
        assert total(samples, "digits_model_version_state", version="1", state="READY") == 1


def test_processes_add_up_and_gauges_of_the_dead_do_not(tmp_path: Path) -> None:
    ours, theirs = Metrics(Counters(tmp_path)), Metrics(Counters(tmp_path))
    for metrics, seconds in ((ours, 0.004), (theirs, 20.0)):
        metrics.request("/predict", "cnn", "1", 200, seconds)
        metrics.states({("cnn", "1", "READY")}, set())
        metrics.counters.flush()
    dead = next(tmp_path.glob("*.keys"))
    for suffix in (".numbers", ".keys"):
        dead.with_suffix(suffix).rename(tmp_path / f"999999999-1{suffix}")
    merged, processes = merge(ours.counters)
    assert processes == [os.getpid()]
    *counts, seconds = merged[REQUEST_SECONDS.name][("/predict", "cnn", "200")]
    assert (sum(counts), seconds) == (2, 20.004)
    assert counts[REQUEST_SECONDS.buckets.index(0.005)] == 1
    assert merged["digits_model_version_state"][("cnn", "1", "READY")] == [1]


def test_a_value_on_a_bound_belongs_below_it() -> None:
    counters = Counters()
    Histogram(counters, REQUEST_SECONDS, "", "", "").observe_all(np.array([0.005]))
    assert counters.numbers.index(1.0) == REQUEST_SECONDS.buckets.index(0.005)


def test_too_many_series_cost_no_memory_without_end() -> None:
    counters = Counters()
    places = {counters.block("digits_requests", (str(number),), 1000) for number in range(200)}
    assert len(counters.numbers) <= 1 << 17
    assert max(places) < len(counters.numbers)


def test_what_is_put_down_is_counted_once_when_it_is_shown() -> None:
    counters, counted = Counters(), []
    values = note(counters, lambda values: counted.append(values.tolist()))
    for some in ([0.25, 0.5], [1.0], []):
        values.extend(some)
        counters.flush()
    assert counted == [[0.25, 0.5], [1.0]]


def test_a_network_of_one_output_and_the_routes_count_predictions_alike() -> None:
    probabilities = np.eye(10) * 0.8 + 0.02
    one, many = Counters(), Counters()
    routes = DigitMetrics(one, "cnn")
    for digit, row in enumerate(probabilities):
        routes.confidences[digit].append(row.max())
    one.flush()
    DigitMetrics(many, "cnn").all_predicted(probabilities)
    assert many.numbers == pytest.approx(one.numbers)
    assert sum(one.numbers) == pytest.approx(10 + 10 + 8.2)  # digits, bucket, sum of confidences
