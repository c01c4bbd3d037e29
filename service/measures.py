"""What is measured: names, labels, buckets, and the numbers of all workers as one, for Prometheus and /v2."""

from __future__ import annotations

import operator
from collections import defaultdict
from typing import Literal, NamedTuple

from service.counters import Counters

Kind = Literal["counter", "gauge", "histogram", "latest", "info"]

Merged = dict[str, dict[tuple[str, ...], list[float]]]  # by metric and label values

REQUEST_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
STAGE_S = (0.0001, 0.00025, *REQUEST_S[:11])
IMAGES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0)
CONFIDENCE = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 0.999)


class Metric(NamedTuple):
    """One metric. It adds up over all workers that ever were, a gauge over those that live; `latest` is the newest of
    all, `info` 1 where it is true of one that lives.
    """

    name: str
    kind: Kind
    labels: tuple[str, ...]
    help: str
    buckets: tuple[float, ...] = ()


VERSION = ("model", "version")
REQUESTS = Metric(
    "digits_requests",
    "counter",
    ("route", *VERSION, "status"),
    "Requests answered, by route, model, version and status.",
)
REQUEST_SECONDS = Metric(
    "digits_request_seconds",
    "histogram",
    ("route", "model", "status"),
    "From the request's head read to its answer ready, in seconds.",
    REQUEST_S,
)
DECODE_SECONDS = Metric(
    "digits_decode_seconds", "histogram", ("route", *VERSION), "From the body read to what the network sees.", STAGE_S
)
QUEUE_SECONDS = Metric(
    "digits_queue_seconds", "histogram", VERSION, "How long a request waited for its micro-batch to begin.", STAGE_S
)
INFERENCE_SECONDS = Metric(
    "digits_inference_seconds", "histogram", VERSION, "How long the runs took that a request was in.", STAGE_S
)
MICRO_BATCH_IMAGES = Metric("digits_micro_batch_images", "histogram", VERSION, "Images, or rows, in one run.", IMAGES)
LAST_INFERENCE = Metric("digits_last_inference_timestamp_seconds", "latest", VERSION, "When a version last ran.")
QUEUED_IMAGES = Metric("digits_queued_images", "gauge", VERSION, "Images that wait for a network, sampled.")
REFUSALS = Metric("digits_refusals", "counter", ("reason",), "Requests refused or failed, by the code of the error.")
VERSION_STATE = Metric(
    "digits_model_version_state", "gauge", (*VERSION, "state"), "How many workers have a version in this state."
)
PROVIDER = Metric(
    "digits_execution_provider_info", "info", (*VERSION, "provider"), "The provider in use, as the session reports it."
)
LOOP_LAG_SECONDS = Metric(
    "digits_event_loop_lag_seconds", "histogram", (), "How much later than asked the event loop ran a timer.", STAGE_S
)
PREDICTED = Metric(
    "digits_predicted",
    "counter",
    ("model", "digit"),
    "Predictions by digit; none is what the model takes for no digit.",
)
CONFIDENCES = Metric("digits_confidence", "histogram", ("model",), "The largest of ten probabilities.", CONFIDENCE)
METRICS = (
    REQUESTS,
    REQUEST_SECONDS,
    DECODE_SECONDS,
    QUEUE_SECONDS,
    INFERENCE_SECONDS,
    MICRO_BATCH_IMAGES,
    LAST_INFERENCE,
    QUEUED_IMAGES,
    REFUSALS,
    VERSION_STATE,
    PROVIDER,
    LOOP_LAG_SECONDS,
    PREDICTED,
    CONFIDENCES,
)
# What only the statistics of /v2 tell: exact batch sizes are too many series for Prometheus.
ALL_SECONDS = Metric("all_seconds", "counter", (*VERSION, "outcome"), "Whole requests, by success and failure.")
RUN_SECONDS = Metric("run_seconds", "histogram", (*VERSION, "images"), "Runs of each size: how many, how long.")
FIRST_FAILURE = 400


def merge(counters: Counters) -> tuple[Merged, list[int]]:
    """The numbers of all workers by metric and labels, and the processes of those that live."""
    kinds = {metric.name: metric.kind for metric in (*METRICS, ALL_SECONDS, RUN_SECONDS)}
    merged: Merged = defaultdict(dict)
    processes: list[int] = []
    for process, alive, blocks in counters.everyones():
        if alive:
            processes.append(process)
        for block in blocks:
            kind = kinds[block.metric]
            if alive or kind not in ("gauge", "info"):
                before = merged[block.metric].get(block.labels, [0.0] * len(block.numbers))
                add = operator.add if kind in ("counter", "gauge", "histogram") else max
                merged[block.metric][block.labels] = list(map(add, before, block.numbers))
    return merged, processes
