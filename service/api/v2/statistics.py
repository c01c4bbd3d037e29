"""Triton's statistics of a version, from the numbers that Prometheus is told, too."""

from __future__ import annotations

from collections.abc import Iterable

from service.api.v2.messages import BatchStatistics, Duration, InferenceStatistics, ModelStatistics
from service.inference.version import ModelVersion
from service.measures import (
    ALL_SECONDS,
    DECODE_SECONDS,
    FIRST_FAILURE,
    INFERENCE_SECONDS,
    LAST_INFERENCE,
    MICRO_BATCH_IMAGES,
    QUEUE_SECONDS,
    REQUESTS,
    RUN_SECONDS,
    Merged,
    Metric,
)


def statistics(merged: Merged, versions: Iterable[ModelVersion]) -> list[ModelStatistics]:
    """One entry for each of `versions`."""
    return [_one(merged, version.name, version.version) for version in versions]


def _one(merged: Merged, name: str, version: str) -> ModelStatistics:
    def series(metric: Metric) -> list[tuple[dict[str, str], list[float]]]:
        told = [(dict(zip(metric.labels, labels, strict=True)), numbers) for labels, numbers in of(metric)]
        return [
            (labels, numbers) for labels, numbers in told if (labels["model"], labels["version"]) == (name, version)
        ]

    def of(metric: Metric) -> Iterable[tuple[tuple[str, ...], list[float]]]:
        return merged.get(metric.name, {}).items()

    def histogram(metric: Metric) -> tuple[int, float]:
        found = [numbers for _, numbers in series(metric)]
        return int(sum(sum(counts) for *counts, _ in found)), sum(total for *_, total in found)

    def duration(metric: Metric) -> Duration:
        count, seconds = histogram(metric)
        return Duration(count, _ns(seconds))

    requests = {"success": 0, "failure": 0}
    for labels, (count,) in series(REQUESTS):
        requests["success" if int(labels["status"]) < FIRST_FAILURE else "failure"] += int(count)
    seconds = dict.fromkeys(requests, 0.0)
    for labels, (total,) in series(ALL_SECONDS):
        seconds[labels["outcome"]] += total
    success, failure = (Duration(requests[outcome], _ns(seconds[outcome])) for outcome in requests)
    queue, decode, infer = (duration(metric) for metric in (QUEUE_SECONDS, DECODE_SECONDS, INFERENCE_SECONDS))
    rest = Duration(success.count, max(0, success.ns - queue.ns - decode.ns - infer.ns))
    runs, images = histogram(MICRO_BATCH_IMAGES)
    last = max((number for _, (number,) in series(LAST_INFERENCE)), default=0.0)
    sizes = sorted(
        (int(labels["images"]), Duration(int(count), _ns(total))) for labels, (count, total) in series(RUN_SECONDS)
    )
    return ModelStatistics(
        name,
        version,
        round(last * 1e3),
        round(images),
        runs,
        InferenceStatistics(success, failure, queue, decode, infer, rest),
        [BatchStatistics(size, taken) for size, taken in sizes],
    )


def _ns(seconds: float) -> int:
    return round(seconds * 1e9)
