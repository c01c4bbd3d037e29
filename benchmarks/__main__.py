"""Measures the service beside its floors and peers in one interleaved run: `make bench`, or `python -m benchmarks`.

    python -m benchmarks --quick                       40 seconds: one case, the service and the tutorial app
    python -m benchmarks                               everything, about 8 minutes
    python -m benchmarks --cases dense-raw,overload    some of it
    python -m benchmarks --models models               the committed networks instead of random ones

Results go to benchmarks/results/. docs/performance.md tells what is measured, and why so.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import report
from benchmarks.cases import CASES, compare
from benchmarks.goals import goals
from benchmarks.growth import EXPERIMENTS, Rows
from benchmarks.loads import LoadFailed, has_wrk
from benchmarks.measure import Bench
from benchmarks.networks import write_repository
from benchmarks.pictures import digits
from benchmarks.processes import Cpus
from benchmarks.systems import MOSEC, PICTURES, SERVICE, TUTORIAL, Fleet, is_installed

BUSY = 0.5  # load average from which other processes disturb the run
RESULTS = Path(__file__).with_name("results")


def main() -> int:
    options = _options()
    if not sys.platform.startswith("linux"):
        return _refuse("it reads CPU times from /proc, so it needs Linux")
    if not has_wrk():
        return _refuse("wrk is missing: apt-get install wrk (Debian, Ubuntu), dnf install wrk (Fedora)")
    if not is_installed(MOSEC) and not options.quick:
        print("mosec is not installed, so this run goes without it: pip install mosec", file=sys.stderr)
    cpus = Cpus.available()
    machine = report.describe_machine(cpus)
    if cpus.shared() or machine["load_average_before"][0] > BUSY:
        print("Servers share their CPU with others here: trust only the ratios of CPU times.", file=sys.stderr)
    os.sched_setaffinity(0, cpus.clients)
    with tempfile.TemporaryDirectory() as folder:
        models = options.models or write_repository(Path(folder, "models"))
        bench = Bench(models, Path(folder), cpus, options.seconds, options.rounds)
        systems = [SERVICE, TUTORIAL] if options.quick else None
        try:
            with Fleet(bench.repository, bench.logs, bench.cpus.servers(), digits(PICTURES)) as fleet:
                cases = compare(bench, fleet, [name for name in options.cases if name in CASES], systems)
        except LoadFailed as error:
            return _refuse(str(error))
        experiments, failed = _experiments(bench, [name for name in options.cases if name in EXPERIMENTS])
    found = goals(cases, experiments)
    settings = {name: str(value) if isinstance(value, Path) else value for name, value in vars(options).items()}
    _write(options.output, report.document(settings, machine, cases, experiments, found))
    print(report.table(cases))
    for name, rows in experiments.items():
        print(f"\n{name}\n{report.rows_table(rows)}")
    print(f"\n{report.goals_table(found)}")
    return 1 if failed else 0


def _options() -> argparse.Namespace:
    known = [*CASES, *EXPERIMENTS]
    parser = argparse.ArgumentParser(
        "python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="dense-raw alone, against the tutorial app alone")
    parser.add_argument("--cases", type=lambda text: text.split(","), help=f"comma-separated, of {', '.join(known)}")
    parser.add_argument("--seconds", type=int, default=3, help="length of one measurement (default: 3)")
    parser.add_argument("--rounds", type=int, default=5, help="how often each comparison is repeated (default: 5)")
    parser.add_argument("--models", type=Path, help="model repository with dense and cnn, such as models")
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder for the results")
    options = parser.parse_args()
    options.cases = options.cases or (["dense-raw"] if options.quick else known)
    if unknown := [name for name in options.cases if name not in known]:
        parser.error(f"no case {unknown[0]!r}; there are {', '.join(known)}")
    return options


def _experiments(bench: Bench, names: list[str]) -> tuple[dict[str, Rows], bool]:
    """Their rows, and whether any failed: what was measured before is worth keeping."""
    found: dict[str, Rows] = {}
    for name in names:
        print(name, file=sys.stderr)
        try:
            found[name] = EXPERIMENTS[name](bench)
        except LoadFailed as error:
            print(f"{name} failed: {error}", file=sys.stderr)
    return found, len(found) < len(names)


def _write(folder: Path, outcome: dict[str, Any]) -> None:
    path = report.write(folder, outcome)
    try:
        from benchmarks.plot import draw  # noqa: PLC0415

        draw(outcome, path.with_suffix(".png"))
    except ImportError:
        print("matplotlib is not installed, so there is no plot: pip install matplotlib", file=sys.stderr)
    print(f"Wrote {path} and what belongs to it", file=sys.stderr)


def _refuse(reason: str) -> int:
    print(f"benchmarks: {reason}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
