"""OpenTelemetry traces, for who installed the `otel` extra and set DIGITS_TRACES: a span a request and one a stage.

Where to, how many and as whom say the standard OTEL_ variables. W3C `traceparent` is taken and given back.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping
from typing import Any

from service import __version__
from service.errors import StartupError

TRACEPARENT = b"traceparent"
W3C = ("traceparent", "tracestate")
FIRST_ERROR = 500
TIMING = re.compile(r"(\w+);dur=([\d.]+)")
Stages = list[tuple[str, float, float]]  # name, when it began (time.perf_counter) and how many seconds it took


def stages(decode_at: float, decode_s: float | None, timings: str) -> Stages:
    """Where a request's time went: reading what came, then what Server-Timing tells, one after the other."""
    if decode_s is None:
        return []
    found: Stages = [("decode", decode_at, decode_s)]
    began = decode_at + decode_s
    for name, milliseconds in TIMING.findall(timings):
        if name != "decode":
            found.append(("inference" if name == "infer" else name, began, seconds := float(milliseconds) / 1e3))
            began += seconds
    return found


class Tracing:
    """Spans of requests. `processor` is for tests; by default they are sent in batches over OTLP (HTTP).

    Raises:
        StartupError: the extra is not installed.
    """

    def __init__(self, processor: Any = None) -> None:
        try:
            from opentelemetry import trace
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.resources import SERVICE_NAME, Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
            from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
        except ImportError as error:
            raise StartupError(
                f"DIGITS_TRACES is set and OpenTelemetry is not installed ({error}). "
                "Run: pip install 'digit-service[otel]'"
            ) from None
        name = {} if "OTEL_SERVICE_NAME" in os.environ else {SERVICE_NAME: "digit-service"}
        self._provider = TracerProvider(resource=Resource.create(name), shutdown_on_exit=False)
        self._provider.add_span_processor(processor or BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("digit-service", __version__)
        self._propagator = TraceContextTextMapPropagator()
        self._in_span = trace.set_span_in_context
        self._server, self._failed = trace.SpanKind.SERVER, trace.StatusCode.ERROR

    def begin(self, method: str, headers: Mapping[bytes, bytes]) -> Any:
        """The span of a request that begins now, below the client's if it sent one."""
        carrier = {name: headers[name.encode()].decode("latin-1") for name in W3C if name.encode() in headers}
        context = self._propagator.extract(carrier)
        return self._tracer.start_span(method, context, self._server, start_time=time.time_ns())

    def traceparent(self, span: Any) -> bytes:
        """The header that tells the client which span was its request's."""
        carrier: dict[str, str] = {}
        self._propagator.inject(carrier, self._in_span(span))
        return carrier["traceparent"].encode()

    def end(self, span: Any, route: str, status: int, attributes: Mapping[str, str], stages: Stages) -> None:
        """Name the span, give it its stages as children, and hand it on to be sent."""
        if span.is_recording():
            now, now_ns = time.perf_counter(), time.time_ns()
            context = self._in_span(span)
            for name, began, seconds in stages:
                start = now_ns - round((now - began) * 1e9)
                child = self._tracer.start_span(name, context, start_time=start)
                child.end(start + round(seconds * 1e9))
            span.update_name(f"{span.name} {route}")
            span.set_attributes({"http.route": route, "http.response.status_code": status, **attributes})
            if status >= FIRST_ERROR:
                span.set_status(self._failed)
            span.end(now_ns)

    def close(self) -> None:
        """Send what is left."""
        self._provider.shutdown()
