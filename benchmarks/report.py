"""A run's outcome: tables for people, JSON with every round for whoever looks closer."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from benchmarks.cases import CASES, Cases
from benchmarks.goals import Goal
from benchmarks.growth import Rows
from benchmarks.processes import ROOT, Cpus

LIBRARIES = ("fastapi", "mosec", "numpy", "onnxruntime", "pillow", "pyspng", "uvicorn", "uvloop")
COLUMNS = ("CPU us", "of tutorial", "of ORT", "requests/s", "images/s", "p50 ms", "p99 ms", "p99/p50", "RSS MB")


def table(cases: Cases) -> str:
    """Medians over the rounds; behind the CPU time its smallest and largest round."""
    lines = []
    for name, results in cases.items():
        case = CASES[name]
        title = f"{case.title}, {case.connections} connection{'s' * (case.connections > 1)}"
        lines += ["", f"{title:<44}" + "".join(f"{column:>13}" for column in COLUMNS)]
        for system, result in results.items():
            median = result.median
            spread = [one.cpu_us for one in result.rounds]
            cells = (
                _number(median.cpu_us),
                _number(median.to_tutorial),
                _number(median.to_onnx_runtime),
                _number(median.requests_per_s),
                _number(median.images_per_s),
                _number(median.p50_ms),
                _number(median.p99_ms),
                _number(median.p99_over_p50),
                _number(result.resident_mb),
            )
            first = f"  {system} ({_number(min(spread))} to {_number(max(spread))} us)"
            lines.append(f"{first:<44}" + "".join(f"{cell:>13}" for cell in cells))
    return "\n".join(lines)


def rows_table(rows: Rows) -> str:
    """An experiment's rows; what a row holds of several systems stands in columns of its own."""
    flat = [dict(_flattened(row)) for row in rows]
    names = list(flat[0])
    widths = [max(len(name), 9) for name in names]
    lines = ["  ".join(f"{name:>{width}}" for name, width in zip(names, widths, strict=True))]
    lines += [
        "  ".join(f"{_number(row[name]):>{width}}" for name, width in zip(names, widths, strict=True)) for row in flat
    ]
    return "\n".join(lines)


def _flattened(row: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in row.items():
        if isinstance(value, dict) and "cpu_us" in value:
            yield from ((f"{name} {inner}", value[inner]) for inner in ("cpu_us", "p50_ms", "images_per_s"))
        else:
            yield name, value


def _number(value: Any) -> str:
    if value is None:
        return "-"
    if not isinstance(value, float):
        return str(value)
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def goals_table(goals: list[Goal]) -> str:
    rows = [(goal.what, goal.measured, goal.must, goal.aim, goal.verdict()) for goal in goals]
    lines = [f"{'goal':<58}{'measured':>10}{'must':>10}{'aim':>10}"]
    lines += [
        f"{what:<58}{_number(measured):>10}{_number(must):>10}{_number(aim):>10}  {verdict}"
        for what, measured, must, aim, verdict in rows
    ]
    return "\n".join(lines)


def document(
    options: dict[str, Any], machine: dict[str, Any], cases: Cases, experiments: dict[str, Rows], goals: list[Goal]
) -> dict[str, Any]:
    """All of it, for JSON."""
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "options": options,
        "machine": machine,
        "goals": [{**asdict(goal), "verdict": goal.verdict()} for goal in goals],
        "cases": {name: {system: asdict(one) for system, one in result.items()} for name, result in cases.items()},
        "experiments": experiments,
    }


def describe_machine(cpus: Cpus) -> dict[str, Any]:
    """What the figures hold for, and how busy it is before the run."""
    information = Path("/proc/cpuinfo").read_text()
    models = [line.partition(":")[2].strip() for line in information.splitlines() if line.startswith("model name")]
    return {
        "cpu": models[0] if models else platform.processor(),
        "cpus": len(cpus.allowed),
        "load_average_before": os.getloadavg(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "libraries": {name: _version(name) for name in LIBRARIES},
        "git": _git("describe", "--always", "--dirty"),
    }


def _version(library: str) -> str | None:
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return None


def _git(*arguments: str) -> str | None:
    try:
        return subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def write(folder: Path, outcome: dict[str, Any]) -> Path:
    """`folder`/<UTC time>.json; the plot goes beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{outcome['at'][:16].replace(':', '')}.json"
    path.write_text(json.dumps(outcome, indent=1) + "\n")
    return path
