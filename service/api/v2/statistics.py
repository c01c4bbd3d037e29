"""Triton's statistics of a version, from the numbers that Prometheus is told, too."""

from __future__ import annotations

from collections.abc import Iterable

from service.api.v2.messages import Duration, InferenceStatistics, ModelStatistics
from service.inference.version import ModelVersion
from service.metrics import (
    INFERENCE_SECONDS,
    LAST_INFERENCE,
    MICRO_BATCH_IMAGES,
    QUEUE_SECONDS,
    REQUESTS,
    Merged,
    Metric,
)

FIRST_FAILURE = "400"


def statistics(merged: Merged, versions: Iterable[ModelVersion]) -> list[ModelStatistics]:
    """One entry for each of `versions`."""
    return [_one(merged, version.name, version.version) for version in versions]


def _one(merged: Merged, name: str, version: str) -> ModelStatistics:
    def histogram(metric: Metric) -> tuple[int, float]:
        *counts, total = merged.get(metric.name, {}).get((name, version), [0.0])
        return int(sum(counts)), total

    def duration(metric: Metric) -> Duration:
        count, seconds = histogram(metric)
        return Duration(count, round(seconds * 1e9))

    answered = failed = 0
    for (_, model, of_version, status), (count,) in merged.get(REQUESTS.name, {}).items():
        if (model, of_version) == (name, version):
            answered += int(count) if status < FIRST_FAILURE else 0
            failed += int(count) if status >= FIRST_FAILURE else 0
    runs, images = histogram(MICRO_BATCH_IMAGES)
    queue, infer = duration(QUEUE_SECONDS), duration(INFERENCE_SECONDS)
    (last,) = merged.get(LAST_INFERENCE.name, {}).get((name, version), [0.0])
    stages = InferenceStatistics(Duration(answered, queue.ns + infer.ns), Duration(failed, 0), queue, infer)
    return ModelStatistics(name, version, round(last * 1e3), round(images), runs, stages)
