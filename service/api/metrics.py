"""`/metrics`: what all workers measured, as one, in Prometheus' text or OpenMetrics."""

from __future__ import annotations

import asyncio
import operator
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import accumulate

from fastapi import APIRouter, Request, Response
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from service.api.openapi import text_answers
from service.counters import Counters
from service.measures import METRICS, Metric, merge
from service.sampling import Sampler


class Everyones(Collector):
    """Collects the numbers of all workers from what they share, and their processes' from the system."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters

    def collect(self) -> Iterator[Family]:
        merged, processes = merge(self._counters)
        for metric in METRICS:
            yield _family(metric, merged.get(metric.name, {}))
        yield from _of_processes(processes)


def _family(metric: Metric, children: dict[tuple[str, ...], list[float]]) -> Family:
    if metric.kind == "histogram":
        family = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
        bounds = [*map(str, metric.buckets), "+Inf"]
        for labels, (*counts, total) in sorted(children.items()):
            family.add_metric(labels, buckets=list(zip(bounds, accumulate(counts), strict=True)), sum_value=total)
        return family
    kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
    other = kind(metric.name, metric.help, labels=metric.labels)
    for labels, (number,) in sorted(children.items()):
        other.add_metric(labels, number)
    return other


def _of_processes(processes: Iterable[int]) -> Iterator[Family]:
    """The standard `process_` metrics, added up over the workers; of start times, the first."""
    found: dict[str, Family] = {}
    for process in processes:
        for family in ProcessCollector(pid=partial(int, process), registry=None).collect():
            known = found.setdefault(family.name, family)
            if known is family:
                continue
            add = min if "start_time" in family.name else operator.add
            known.samples = [
                one._replace(value=add(one.value, more.value))
                for one, more in zip(known.samples, family.samples, strict=True)
            ]
    yield from found.values()


def metrics_routes(sampler: Sampler) -> APIRouter:
    router = APIRouter()
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Everyones(sampler.counters))

    @router.get(
        "/metrics",
        tags=["health"],
        summary="Prometheus metrics of all workers",
        responses=text_answers("Prometheus' text, or OpenMetrics for who asks", "unauthorized", "internal"),
    )
    async def metrics(request: Request) -> Response:
        await sampler.all_shown()
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        text = await asyncio.get_running_loop().run_in_executor(None, encode, registry)
        return Response(text, headers={"content-type": content_type})

    return router
