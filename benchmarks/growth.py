"""How the service's cost grows: with the size of a picture, the length of a batch, the number of workers, and the load
offered. And what it does beside answering: how long the event loop is held, how long a start takes.
"""

from __future__ import annotations

import http.client
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from benchmarks import loads
from benchmarks.client import percentile
from benchmarks.measure import Bench, measure
from benchmarks.pictures import Request, digits, form, photo
from benchmarks.processes import Server
from benchmarks.systems import MOSEC, PICTURES, SERVICE, TUTORIAL, batch, is_installed, single, start

Rows = list[dict[str, Any]]

SIDES = ((28, 28), (112, 112), (448, 448), (1000, 750), (2000, 1500), (4000, 3000))
BATCH_SIZES = (1, 4, 16, 64, 256)
WORKERS = (1, 2)
STARTS = 3
OFFERED = (0.5, 1.0, 1.5, 2.0, 3.0)  # times the capacity
OVERLOAD_ROUNDS = 3
QUEUE_IMAGES = 256
OPEN_CONNECTIONS = 1024
PROBE_PAUSE_S = 0.01


def picture_sizes(bench: Bench) -> Rows:
    """JPEG photos from 28 x 28 to 12 megapixels, one at a time: a request's CPU and time, ours and the tutorial's."""
    rows: Rows = []
    with _running(bench, SERVICE) as service, _running(bench, TUTORIAL) as tutorial:
        for width, height in SIDES:
            content = photo(width, height)
            content_type, body = form("file", [content])
            row: dict[str, Any] = {
                "width": width,
                "height": height,
                "megapixels": width * height / 1e6,
                "bytes": len(content),
            }
            for name, server, request in (
                (SERVICE, service, Request("/predict?model=dense", "image/jpeg", (content,))),
                (TUTORIAL, tutorial, Request("/predict", content_type, (body,))),
            ):
                row[name] = _loaded(bench, server, request, connections=1)
            rows.append(row)
    return rows


def batch_sizes(bench: Bench) -> Rows:
    """1 to 256 PNGs in one request, one request at a time."""
    rows: Rows = []
    with _running(bench, SERVICE) as service, _running(bench, TUTORIAL) as tutorial:
        for size in BATCH_SIZES:
            row: dict[str, Any] = {"images": size}
            for name, server in ((SERVICE, service), (TUTORIAL, tutorial)):
                row[name] = _loaded(bench, server, batch(name, "dense", digits(size)), connections=1)
            rows.append(row)
    return rows


def workers(bench: Bench) -> Rows:
    """Each worker on a CPU of its own; `shared` says whether the clients had to share one of them."""
    rows: Rows = []
    for count in WORKERS:
        if count > len(bench.cpus.allowed):
            continue
        with _running(bench, SERVICE, workers=count, DIGITS_WORKERS=str(count)) as server:
            figures = _loaded(bench, server, _request("dense"), connections=64)
            resident_mb = server.resident_bytes() / 1e6
        rows.append({"workers": count, "shared": bench.cpus.shared(count), "resident_mb": resident_mb, **figures})
    return rows


def overload(bench: Bench) -> Rows:
    """Goodput (200 within a second) in an open loop, below and above what a closed loop got just before: the capacity.

    `goodput` is a share of that capacity; `goodput_by_cpu` the same with both divided by the CPU time that the server
    got, which is what holds where neighbours take the CPU away; `of_peak` of the most that any rate brought. Of some
    rounds through all rates, each has the one of median goodput.
    """
    rows: Rows = []
    for model in ("dense", "cnn"):
        with _running(bench, SERVICE, DIGITS_MAX_QUEUE_SIZE=str(QUEUE_IMAGES)) as server:
            rounds = [[_open_loop(bench, server, model, factor) for factor in OFFERED] for _ in range(OVERLOAD_ROUNDS)]
        middle = [
            sorted(tries, key=lambda row: float(row["goodput"]))[OVERLOAD_ROUNDS // 2]
            for tries in zip(*rounds, strict=True)
        ]
        peak = max(row["in_time"] for row in middle)
        for factor, row in zip(OFFERED, middle, strict=True):
            rows.append({"model": model, "factor": factor, "of_peak": row["in_time"] / peak, **row})
    return rows


def _open_loop(bench: Bench, server: Server, model: str, factor: float) -> dict[str, Any]:
    closed = _loaded(bench, server, _request(model), connections=64)
    capacity = closed["requests_per_s"]
    before = server.cpu_s()
    found = loads.own_client(
        server.port,
        _request(model),
        connections=OPEN_CONNECTIONS,
        seconds=bench.seconds,
        cpus=bench.cpus.clients,
        rate=factor * capacity,
    )
    cpu_us = 1e6 * (server.cpu_s() - before) / max(1, found["in_time"])
    return {
        "capacity": capacity,
        "offered": (found["sent"] + found["unsent"]) / found["seconds"],
        "goodput": found["in_time"] / found["seconds"] / capacity,
        "goodput_by_cpu": closed["cpu_us"] / cpu_us,
        **found,
    }


def loop_lag(bench: Bench) -> Rows:
    """How long /health/live takes while 64 connections load the same event loop, beside one that idles."""
    with _running(bench, SERVICE) as server:
        rows: Rows = []
        for load in ("idle", "dense", "cnn"):
            latencies: list[float] = []
            stop = threading.Event()
            prober = threading.Thread(target=_probe, args=(server.port, latencies, stop))
            prober.start()
            if load == "idle":
                time.sleep(bench.seconds)
            else:
                _loaded(bench, server, _request(load), connections=64)
            stop.set()
            prober.join()
            ordered = sorted(latencies)
            rows.append(
                {
                    "load": load,
                    "probes": len(ordered),
                    "p50_ms": 1e3 * statistics.median(ordered),
                    "p99_ms": 1e3 * percentile(ordered, 0.99),
                    "longest_ms": 1e3 * ordered[-1],
                }
            )
    return rows


def _probe(port: int, latencies: list[float], stop: threading.Event) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    while not stop.wait(PROBE_PAUSE_S):
        started = time.perf_counter()
        connection.request("GET", "/health/live")
        connection.getresponse().read()
        latencies.append(time.perf_counter() - started)
    connection.close()


def starts(bench: Bench) -> Rows:
    """From the command to the first answer: seconds, CPU seconds, resident memory then; medians of some starts."""
    rows: Rows = []
    for system in (SERVICE, TUTORIAL, MOSEC):
        if not is_installed(system):
            continue
        found = []
        for _ in range(STARTS):
            with _running(bench, system) as server:
                wall_s = time.perf_counter() - server.started_at
                found.append((wall_s, server.cpu_s(), server.resident_bytes() / 1e6))
        wall, cpu, resident = (statistics.median(column) for column in zip(*found, strict=True))
        rows.append({"system": system, "seconds": wall, "cpu_s": cpu, "resident_mb": resident})
    return rows


EXPERIMENTS = {
    "overload": overload,
    "loop-lag": loop_lag,
    "starts": starts,
    "workers": workers,
    "picture-sizes": picture_sizes,
    "batch-sizes": batch_sizes,
}


def _request(model: str) -> Request:
    return single(SERVICE, model, digits(PICTURES))


@contextmanager
def _running(bench: Bench, system: str, workers: int = 1, **environment: str) -> Iterator[Server]:
    """A server of its own that has answered once."""
    log = bench.logs / f"{system}-alone.log"
    cpus = bench.cpus.servers(workers)
    with start(system, "dense", bench.repository, cpus=cpus, log=log, environment=environment) as server:
        loads.wait_for_first_answer(server, single(system, "dense", digits(1)))
        yield server


def _loaded(bench: Bench, server: Server, request: Request, *, connections: int) -> dict[str, float]:
    figures = asdict(measure(bench, server, request, connections))
    return {name: value for name, value in figures.items() if value is not None}
