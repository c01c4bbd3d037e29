"""One measurement: a server, a load, and the CPU time that its answers took."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from benchmarks import loads
from benchmarks.pictures import Request
from benchmarks.processes import Cpus, Server


@dataclass(frozen=True)
class Bench:
    """What every measurement needs: models, a folder for logs, CPUs; how long one lasts, how often it is repeated."""

    repository: Path
    logs: Path
    cpus: Cpus
    seconds: int
    rounds: int


@dataclass(frozen=True)
class Figures:
    """One measurement, or the medians of several. `cpu_us` is the server's, a request; latencies are the clients'."""

    cpu_us: float
    requests_per_s: float
    images_per_s: float
    p50_ms: float | None = None
    p99_ms: float | None = None
    p99_over_p50: float | None = None
    to_tutorial: float | None = None  # CPU time over the tutorial's in the same round
    to_onnx_runtime: float | None = None  # over ONNX Runtime's own at its best batch size, likewise


def measure(bench: Bench, server: Server, request: Request, connections: int) -> Figures:
    """A closed loop of wrk's on `server`. Raises `LoadFailed` where it is not always answered well."""
    before = server.cpu_s()
    load = loads.wrk(server.port, request, connections=connections, seconds=bench.seconds, cpus=bench.cpus.clients)
    cpu_s = server.cpu_s() - before
    rate = load["requests"] / load["seconds"]
    p50, p99 = load["p50_ms"], load["p99_ms"]
    return Figures(1e6 * cpu_s / load["requests"], rate, rate * request.images, p50, p99, p99 / p50)
