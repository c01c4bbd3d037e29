"""The cases in which the systems are compared, and the one interleaved run that measures them all.

What survives a noisy machine best is the CPU time of a request; and of that only ratios within one run.
"""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

from benchmarks import answers, loads
from benchmarks.measure import Bench, Figures, measure
from benchmarks.networks import newest
from benchmarks.pictures import Pixels, Request, digits
from benchmarks.systems import ECHO, MOSEC, PICTURES, SERVICE, TUTORIAL, Fleet, batch, is_installed, single, tensor

ONNX_RUNTIME = "onnxruntime alone"
BATCH_IMAGES, TENSOR_IMAGES = 64, 256


@dataclass(frozen=True)
class Case:
    """One kind of request, sent to several systems."""

    title: str
    model: str
    connections: int
    systems: tuple[str, ...]
    form: Literal["raw", "multipart", "batch", "tensor"] = "raw"

    def request(self, system: str) -> Request:
        if self.form == "tensor":
            return tensor(self.model, pictures_of(self))
        if self.form == "batch":
            return batch(system, self.model, pictures_of(self))
        return single(system, self.model, pictures_of(self), multipart=self.form == "multipart")


CASES = {
    "dense-raw": Case("dense, raw body", "dense", 64, (ECHO, SERVICE, TUTORIAL, MOSEC, ONNX_RUNTIME)),
    "dense-multipart": Case("dense, multipart", "dense", 64, (SERVICE, TUTORIAL), "multipart"),
    "dense-single": Case("dense, one connection", "dense", 1, (ECHO, SERVICE, TUTORIAL, MOSEC)),
    "cnn-raw": Case("four convolutions, raw body", "cnn", 64, (SERVICE, TUTORIAL, MOSEC, ONNX_RUNTIME)),
    "batch": Case("dense, 64 PNGs a request", "dense", 4, (SERVICE, TUTORIAL), "batch"),
    "tensor": Case("dense, 256 raw images a request", "dense", 4, (SERVICE, ONNX_RUNTIME), "tensor"),
}


@dataclass
class Result:
    """A system in a case: all rounds, their medians, and its resident memory after them."""

    rounds: list[Figures]
    median: Figures
    resident_mb: float | None = None


Cases = dict[str, dict[str, Result]]  # by case, then by system


def pictures_of(case: Case) -> list[Pixels]:
    return digits({"batch": BATCH_IMAGES, "tensor": TENSOR_IMAGES}.get(case.form, PICTURES))


def compare(bench: Bench, fleet: Fleet, names: Sequence[str], systems: Sequence[str] | None = None) -> Cases:
    """Check all answers; then every case and system in every round, so that a busy moment hits them all.

    Raises:
        LoadFailed: a system answered wrongly or not at all.
    """
    wanted = {name: _systems(CASES[name], systems) for name in names}
    for name in names:
        _check(bench, fleet, CASES[name], wanted[name])
    rounds: dict[str, list[dict[str, Figures]]] = {name: [] for name in names}
    for number in range(bench.rounds):
        for name in names:
            first = number % len(wanted[name])
            turn = wanted[name][first:] + wanted[name][:first]
            print(f"round {number + 1} of {bench.rounds}: {CASES[name].title}", file=sys.stderr)
            figures = {system: _measure(bench, fleet, CASES[name], system) for system in turn}
            rounds[name].append(_with_ratios(figures))
    return {
        name: {system: _result(fleet, CASES[name], system, rounds[name]) for system in wanted[name]} for name in names
    }


def _systems(case: Case, systems: Sequence[str] | None) -> list[str]:
    return [name for name in case.systems if (systems is None or name in systems) and is_installed(name)]


def _check(bench: Bench, fleet: Fleet, case: Case, systems: Sequence[str]) -> None:
    expected = answers.expected_digits(newest(bench.repository, case.model), pictures_of(case))
    for system in systems:
        if system not in (ECHO, ONNX_RUNTIME):
            answers.check(system, fleet.server(system, case.model).port, case.request(system), expected)


def _measure(bench: Bench, fleet: Fleet, case: Case, system: str) -> Figures:
    if system == ONNX_RUNTIME:
        us = min(onnx_runtime_us(bench, case.model).values())
        return Figures(us, 1e6 / us, 1e6 / us)
    return measure(bench, fleet.server(system, case.model), case.request(system), case.connections)


def onnx_runtime_us(bench: Bench, model: str) -> dict[int, float]:
    """ONNX Runtime's own CPU microseconds an image at each batch size, on the servers' CPU."""
    command = [sys.executable, "-m", "benchmarks.peers.session_loop", str(newest(bench.repository, model))]
    found = json.loads(loads.run([*command, str(bench.seconds)], bench.cpus.servers()))
    return {int(size): us for size, us in found.items()}


def _with_ratios(figures: dict[str, Figures]) -> dict[str, Figures]:
    tutorial, alone = figures.get(TUTORIAL), figures.get(ONNX_RUNTIME)
    return {
        system: replace(
            one,
            to_tutorial=one.cpu_us / tutorial.cpu_us if tutorial and system != ONNX_RUNTIME else None,
            to_onnx_runtime=one.cpu_us / alone.cpu_us if alone and system != ECHO else None,
        )
        for system, one in figures.items()
    }


def _result(fleet: Fleet, case: Case, system: str, rounds: list[dict[str, Figures]]) -> Result:
    own = [one[system] for one in rounds]
    median = Figures(**{field.name: _median([getattr(one, field.name) for one in own]) for field in fields(Figures)})
    resident = None if system == ONNX_RUNTIME else fleet.server(system, case.model).resident_bytes() / 1e6
    return Result(own, median, resident)


def _median(values: list[Any]) -> Any:
    return None if None in values else statistics.median(values)
