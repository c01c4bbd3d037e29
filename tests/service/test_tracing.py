"""Traces, as a collector gets them from a real service over OTLP."""

import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from conftest import png, strokes
from live import Live, serving
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from protocol import tensor

from service.errors import StartupError
from service.tracing import Tracing

PNG = {"content-type": "image/png"}
TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


class Collector(ThreadingHTTPServer):
    """Takes OTLP over HTTP; `spans` by name, `arrived` whenever there are more."""

    def __init__(self) -> None:
        self.spans: dict[str, Any] = {}
        self.services: set[str] = set()
        self.arrived = threading.Condition()
        super().__init__(("127.0.0.1", 0), Receiver)

    def span(self, name: str) -> Any:
        with self.arrived:
            assert self.arrived.wait_for(lambda: name in self.spans, timeout=60), sorted(self.spans)
            return self.spans[name]


class Receiver(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        message = ExportTraceServiceRequest.FromString(self.rfile.read(int(self.headers["content-length"])))
        with self.server.arrived:
            for resource in message.resource_spans:
                told = {one.key: one.value.string_value for one in resource.resource.attributes}
                self.server.services.add(told["service.name"])
                for scope in resource.scope_spans:
                    self.server.spans.update({span.name: span for span in scope.spans})
            self.server.arrived.notify_all()
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Not into the tests' output."""


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as listening:
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        yield listening
        listening.shutdown()
        thread.join()


@pytest.fixture
def traced(models: Path, collector: Collector) -> Iterator[Live]:
    exporter = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{collector.server_port}",
        "OTEL_BSP_SCHEDULE_DELAY": "50",
    }
    with serving(models, DIGITS_TRACES="true", **exporter) as running:
        yield running


def attributes(span: Any) -> dict[str, Any]:
    return {one.key: one.value.string_value or one.value.int_value for one in span.attributes}


def test_a_request_is_a_span_below_the_clients_with_its_stages_inside(traced: Live, collector: Collector) -> None:
    headers = {**PNG, "traceparent": f"00-{TRACE}-{PARENT}-01", "x-request-id": "seven"}
    answer = httpx.post(f"{traced.url}/predict", content=png(strokes()), headers=headers)
    span = collector.span("POST /predict")
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE, PARENT)
    assert answer.headers["traceparent"] == f"00-{TRACE}-{span.span_id.hex()}-01"
    told = attributes(span)
    assert (told["http.route"], told["http.response.status_code"]) == ("/predict", 200)
    assert (told["digits.model"], told["digits.version"], told["digits.request_id"]) == ("cnn", "1", "seven")
    before = span.start_time_unix_nano
    for name in ("decode", "queue", "inference"):
        stage = collector.span(name)
        assert stage.parent_span_id == span.span_id
        assert before - 1_000_000 <= stage.start_time_unix_nano <= stage.end_time_unix_nano
        assert stage.end_time_unix_nano <= span.end_time_unix_nano + 1_000_000
        before = stage.start_time_unix_nano
    assert collector.services == {"digit-service"}


def test_the_first_inference_over_the_protocol_has_all_stages_too(traced: Live, collector: Collector) -> None:
    body = {"inputs": [tensor("image", strokes()[None], "UINT8")]}
    headers = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
    answer = httpx.post(f"{traced.url}/v2/models/cnn/versions/1/infer", json=body, headers=headers)
    span = collector.span("POST /v2/models/{name}/versions/{version}/infer")
    assert answer.headers["traceparent"] == f"00-{TRACE}-{span.span_id.hex()}-01"
    assert (attributes(span)["digits.model"], attributes(span)["digits.version"]) == ("cnn", "1")
    for name in ("decode", "queue", "inference"):
        assert collector.span(name).parent_span_id == span.span_id


def test_a_client_that_does_not_sample_is_obeyed_and_one_without_a_trace_gets_one(
    traced: Live, collector: Collector
) -> None:
    headers = {**PNG, "traceparent": f"00-{TRACE}-{PARENT}-00"}
    answer = httpx.post(f"{traced.url}/predict", content=png(strokes()), headers=headers)
    assert answer.headers["traceparent"].startswith(f"00-{TRACE}-")
    assert answer.headers["traceparent"].endswith("-00")
    for broken in ("", "nonsense", f"00-{'0' * 32}-{PARENT}-01"):
        answer = httpx.get(f"{traced.url}/models/cnn", headers={"traceparent": broken})
        assert TRACE not in answer.headers["traceparent"]
    assert attributes(collector.span("GET /models/{name}"))["http.response.status_code"] == 200
    assert "POST /predict" not in collector.spans


def test_failures_and_inference_over_the_protocol_are_traced_and_probes_are_not(
    traced: Live, collector: Collector
) -> None:
    assert "traceparent" not in httpx.get(f"{traced.url}/health/ready").headers
    for _ in range(2):  # the second takes the short cut
        answer = httpx.post(f"{traced.url}/v2/models/cnn/infer", content=b"{")
        assert answer.status_code == 400
    span = collector.span("POST /v2/models/{name}/infer")
    assert attributes(span)["http.response.status_code"] == 400


def test_without_the_extra_the_start_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.resources", None)
    with pytest.raises(StartupError, match=r"pip install 'digit-service\[otel\]'"):
        Tracing()


def test_answers_carry_no_trace_where_none_is_asked_for(live: Live) -> None:
    headers = {**PNG, "traceparent": f"00-{TRACE}-{PARENT}-01"}
    assert "traceparent" not in httpx.post(f"{live.url}/predict", content=png(strokes()), headers=headers).headers
