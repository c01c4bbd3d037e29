"""The one figure that CI watches: the service's CPU time a request over the tutorial app's, interleaved in one run.

`python -m benchmarks.guard TIMES` prints it so often: how the bound in tests/test_benchmarks.py was chosen.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from benchmarks import answers
from benchmarks.loads import own_client
from benchmarks.networks import newest, write_repository
from benchmarks.pictures import digits
from benchmarks.processes import Cpus
from benchmarks.systems import SERVICE, TUTORIAL, Fleet, single

ROUNDS = 5
SECONDS = 1
CONNECTIONS = 64  # with 16 micro-batches, and so the ratio, depend on how fast the client is: 0.21 to 0.29
PICTURES = 10


def cpu_ratio(folder: Path, *, model: str = "dense") -> float:
    """CPU time a request, over the tutorial app's: the least of some short rounds. Needs Linux, and no wrk.

    Busy neighbours raise it more often than they lower it.

    Raises:
        LoadFailed: an answer was wrong, or none came.
    """
    repository = write_repository(folder / "models")
    pictures = digits(PICTURES)
    expected = answers.expected_digits(newest(repository, model), pictures)
    cpus = Cpus.available()
    ratios = []
    with Fleet(repository, folder, cpus.servers(), pictures) as fleet:
        for system in (SERVICE, TUTORIAL):
            answers.check(system, fleet.server(system, model).port, single(system, model, pictures), expected)
        for _ in range(ROUNDS):
            service, tutorial = (_cpu_us(fleet, system, model, cpus) for system in (SERVICE, TUTORIAL))
            ratios.append(service / tutorial)
    return min(ratios)


def _cpu_us(fleet: Fleet, system: str, model: str, cpus: Cpus) -> float:
    server = fleet.server(system, model)
    before = server.cpu_s()
    load = own_client(
        server.port,
        single(system, model, fleet.pictures),
        connections=CONNECTIONS,
        seconds=SECONDS,
        cpus=cpus.clients,
    )
    return 1e6 * (server.cpu_s() - before) / float(load["requests"])


if __name__ == "__main__":
    for _ in range(int(sys.argv[1])):
        with tempfile.TemporaryDirectory() as name:
            print(f"{cpu_ratio(Path(name)):.3f}", flush=True)
