"""Where to add what is measured. Whoever adds keeps what it adds to: a look-up by name costs more than the addition.

What comes with every request is only put down, and counted when it is shown: many at once cost less (docs/log.md).
"""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from service.counters import Counters
from service.measures import (
    ALL_SECONDS,
    CONFIDENCES,
    DECODE_SECONDS,
    FIRST_FAILURE,
    INFERENCE_SECONDS,
    LAST_INFERENCE,
    LOOP_LAG_SECONDS,
    MICRO_BATCH_IMAGES,
    PREDICTED,
    PROVIDER,
    QUEUE_SECONDS,
    QUEUED_IMAGES,
    REFUSALS,
    REQUEST_SECONDS,
    REQUESTS,
    RUN_SECONDS,
    VERSION_STATE,
    Metric,
)

# A bare array: whoever puts a value down calls nothing of Python's.
Noted: TypeAlias = "array[float]"


class Number:
    """A counter or gauge with its labels."""

    __slots__ = ("_numbers", "_place")

    def __init__(self, counters: Counters, metric: Metric, *labels: str) -> None:
        self._numbers = counters.numbers
        self._place = counters.block(metric.name, labels, 1)

    def add(self, amount: float = 1.0) -> None:
        self._numbers[self._place] += amount

    def set(self, value: float) -> None:
        self._numbers[self._place] = value


class Histogram:
    """A histogram with its labels: a number for each bucket and one for what is above them all, then the sum."""

    __slots__ = ("_bounds", "_first", "_numbers", "_sum")

    def __init__(self, counters: Counters, metric: Metric, *labels: str) -> None:
        self._numbers = counters.numbers
        self._bounds = metric.buckets
        self._first = counters.block(metric.name, labels, len(metric.buckets) + 2)
        self._sum = self._first + len(metric.buckets) + 1

    def observe_all(self, values: npt.NDArray[Any]) -> None:
        """(n,) values at once."""
        for place, count in enumerate(np.bincount(np.searchsorted(self._bounds, values)).tolist(), self._first):
            self._numbers[place] += count
        self._numbers[self._sum] += float(values.sum())


def note(counters: Counters, count: Callable[[npt.NDArray[Any]], None]) -> Noted:
    """Where to put down values that `count` gets together, as (n,) of them, at the next `Counters.flush`."""
    values = array("d")

    def count_all() -> None:
        if values:
            count(np.array(values))
            del values[:]

    counters.before_flush(count_all)
    return values


def observations(counters: Counters, metric: Metric, *labels: str) -> Noted:
    """Where to put down what a histogram observes."""
    return note(counters, Histogram(counters, metric, *labels).observe_all)


class VersionMetrics:
    """What is measured of one version of a model."""

    def __init__(self, counters: Counters, name: str, version: str) -> None:
        self._queue_seconds = observations(counters, QUEUE_SECONDS, name, version)
        self._inference_seconds = observations(counters, INFERENCE_SECONDS, name, version)
        self._micro_batch_images = observations(counters, MICRO_BATCH_IMAGES, name, version)
        self._last_inference = Number(counters, LAST_INFERENCE, name, version)
        self.queued_images = Number(counters, QUEUED_IMAGES, name, version)
        self._run_seconds: dict[int, Noted] = {}
        self._run = partial(observations, counters, RUN_SECONDS, name, version)

    def ran(self, images: int, seconds: float) -> None:
        """One run of the network is done."""
        self._micro_batch_images.append(images)
        if images not in self._run_seconds:
            self._run_seconds[images] = self._run(str(images))
        self._run_seconds[images].append(seconds)
        self._last_inference.set(time.time())

    def answered(self, queue_s: Sequence[float], infer_s: float) -> None:
        """Requests have their answers: what each waited, and what the run took that they shared."""
        self._queue_seconds.extend(queue_s)
        self._inference_seconds.extend([infer_s] * len(queue_s))


class DigitMetrics:
    """What a model that reads digits says, to see it drift. `confidences` is where to put them down, by digit."""

    def __init__(self, counters: Counters, name: str) -> None:
        self._confidence = Histogram(counters, CONFIDENCES, name)
        self._digits = {
            digit: Number(counters, PREDICTED, name, "none" if digit is None else str(digit))
            for digit in (None, *range(10))
        }
        self.confidences = {digit: note(counters, partial(self._predicted, digit)) for digit in self._digits}

    def all_predicted(self, probabilities: npt.NDArray[Any]) -> None:
        """(n, 10) at once."""
        for digit, count in enumerate(np.bincount(probabilities.argmax(axis=1), minlength=10).tolist()):
            self._digits[digit].add(count)
        self._confidence.observe_all(probabilities.max(axis=1))

    def _predicted(self, digit: int | None, confidences: npt.NDArray[Any]) -> None:
        self._digits[digit].add(len(confidences))
        self._confidence.observe_all(confidences)


class Metrics:
    """Everything that this process measures."""

    def __init__(self, counters: Counters | None = None) -> None:
        self.counters = counters or Counters()
        self.loop_lag_seconds = observations(self.counters, LOOP_LAG_SECONDS)
        self._requests: dict[tuple[str, str, str, int], Noted] = {}
        self._request_seconds: dict[tuple[str, str, int], Histogram] = {}
        self._decode_seconds: dict[tuple[str, str, str], Noted] = {}
        self._refusals: dict[str, Number] = {}
        self._versions: dict[tuple[str, str], VersionMetrics] = {}
        self._digits: dict[str, DigitMetrics] = {}
        self._gauges: dict[tuple[Metric, tuple[str, str, str]], Number] = {}

    def request(self, route: str, model: str, version: str, status: int, seconds: float) -> None:
        """One request has ended. `route` is a template, or there would be a series for every path that anybody asks."""
        key = (route, model, version, status)
        noted = self._requests.get(key)
        if noted is None:
            noted = self._requests[key] = self._of_requests(*key)
        noted.append(seconds)

    def _of_requests(self, route: str, model: str, version: str, status: int) -> Noted:
        outcome = "success" if status < FIRST_FAILURE else "failure"
        short = route, model, status  # all versions of a model together
        if short not in self._request_seconds:
            self._request_seconds[short] = Histogram(self.counters, REQUEST_SECONDS, route, model, str(status))
        requests = Number(self.counters, REQUESTS, route, model, version, str(status))
        all_seconds = Number(self.counters, ALL_SECONDS, model, version, outcome)
        histogram = self._request_seconds[short]

        def count(seconds: npt.NDArray[Any]) -> None:
            requests.add(len(seconds))
            all_seconds.add(float(seconds.sum()))
            histogram.observe_all(seconds)

        return note(self.counters, count)

    def decoded(self, route: str, model: str, version: str, seconds: float) -> None:
        """The body of a request was turned into what a network takes."""
        key = (route, model, version)
        noted = self._decode_seconds.get(key)
        if noted is None:
            noted = self._decode_seconds[key] = observations(self.counters, DECODE_SECONDS, *key)
        noted.append(seconds)

    def refused(self, code: str) -> None:
        """A request was answered with this error."""
        if code not in self._refusals:
            self._refusals[code] = Number(self.counters, REFUSALS, code)
        self._refusals[code].add()

    def of_version(self, name: str, version: str) -> VersionMetrics:
        if (name, version) not in self._versions:
            self._versions[name, version] = VersionMetrics(self.counters, name, version)
        return self._versions[name, version]

    def of_digits(self, name: str) -> DigitMetrics:
        if name not in self._digits:
            self._digits[name] = DigitMetrics(self.counters, name)
        return self._digits[name]

    def states(self, now: set[tuple[str, str, str]], providers: set[tuple[str, str, str]]) -> None:
        """Which versions are in which state, and which run where; what is not among them any more is told as 0."""
        gauges = {(VERSION_STATE, labels) for labels in now} | {(PROVIDER, labels) for labels in providers}
        for gauge in gauges - self._gauges.keys():
            self._gauges[gauge] = Number(self.counters, gauge[0], *gauge[1])
        for gauge, number in self._gauges.items():
            number.set(float(gauge in gauges))
