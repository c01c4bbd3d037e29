"""What the figures should be (issue 3, "The numbers"): a bound that must hold, and one to aim at."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.cases import ONNX_RUNTIME, TENSOR_IMAGES, Cases, Result
from benchmarks.growth import Rows
from benchmarks.systems import MOSEC, SERVICE

MOSEC_CPU_US = 47.0  # its best in an earlier run, for runs without it


@dataclass(frozen=True)
class Goal:
    """A figure and what it should be; `at_most` tells which side is good."""

    what: str
    measured: float | None
    must: float
    aim: float
    at_most: bool = True

    def verdict(self) -> str:
        if self.measured is None:
            return "not measured"
        sign = 1 if self.at_most else -1
        if sign * self.measured <= sign * self.aim:
            return "aim reached"
        return "good" if sign * self.measured <= sign * self.must else "MISSED"


def goals(cases: Cases, experiments: dict[str, Rows]) -> list[Goal]:
    """Those that the run has figures for."""
    return [*_of_cases(cases), *_of_experiments(experiments)]


def _of_cases(cases: Cases) -> Iterator[Goal]:
    ours = {name: results[SERVICE] for name, results in cases.items()}
    if "dense-raw" in ours:
        yield from _dense_raw(cases["dense-raw"])
    if form := ours.get("dense-multipart"):
        yield Goal("dense, multipart: CPU us a request", form.median.cpu_us, 85.0, 50.0)
    if lone := ours.get("dense-single"):
        yield Goal("dense, one connection: p50 in ms", lone.median.p50_ms, 0.45, 0.25)
    if cnn := ours.get("cnn-raw"):
        yield Goal("four convolutions: CPU, of ONNX Runtime alone", cnn.median.to_onnx_runtime, 1.5, 1.15)
    if batch := ours.get("batch"):
        yield Goal("64 PNGs a request: images/s", batch.median.images_per_s, 30e3, 40e3, at_most=False)
    if tensor := ours.get("tensor"):
        of_alone = cases["tensor"][ONNX_RUNTIME].median.cpu_us * TENSOR_IMAGES / tensor.median.cpu_us
        yield Goal(
            "256 raw images a request: images a CPU second, of ONNX Runtime's", of_alone, 0.7, 0.9, at_most=False
        )
    if ours:
        resident = max(result.resident_mb or 0 for result in ours.values())
        yield Goal("resident memory of the worker after the load, MB", resident, 160.0, 160.0)


def _dense_raw(results: dict[str, Result]) -> Iterator[Goal]:
    ours = results[SERVICE].median
    mosec = results[MOSEC].median.cpu_us if MOSEC in results else MOSEC_CPU_US
    yield Goal("dense, raw body: CPU us a request (aim: mosec's)", ours.cpu_us, 75.0, mosec)
    yield Goal("dense, raw body: CPU, of the tutorial app", ours.to_tutorial, 0.1, 0.1)
    yield Goal("dense, raw body: p99 over p50", ours.p99_over_p50, 3.0, 2.0)


def _of_experiments(experiments: dict[str, Rows]) -> Iterator[Goal]:
    for row in experiments.get("overload", ()):
        if row["factor"] == 2:
            what = f"{row['model']}, twice the capacity: goodput, of"
            yield Goal(f"{what} the open loop's peak", row["of_peak"], 0.9, 0.98, at_most=False)
            yield Goal(f"{what} the closed loop's rate", row["goodput"], 0.9, 0.98, at_most=False)
    for row in experiments.get("starts", ()):
        if row["system"] == SERVICE:
            yield Goal("start to first answer: CPU s", row["cpu_s"], 1.5, 1.5)
