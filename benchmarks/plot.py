"""The picture of a run: who needs how much CPU, and how the service's cost grows. Drawn from the JSON alone.

`python -m benchmarks.plot benchmarks/results/*.json` draws old runs again.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.cases import CASES
from benchmarks.systems import SERVICE, TUTORIAL

OURS, OTHERS = "#0b6e4f", "#b8bdc4"
COLOURS = {SERVICE: OURS, TUTORIAL: "#c8553d"}


def draw(outcome: dict[str, Any], path: Path) -> None:
    """A panel for every case and experiment that the run has. Raises `ImportError` without matplotlib."""
    import matplotlib as mpl  # noqa: PLC0415 - the benchmark runs without it

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    panels: list[Callable[[Any], None]] = [
        partial(_bars, title=CASES[name].title, systems=systems) for name, systems in outcome["cases"].items()
    ]
    panels += [
        partial(panel, rows=outcome["experiments"][name])
        for name, panel in EXPERIMENTS.items()
        if name in outcome["experiments"]
    ]
    if not panels:  # what was measured is told in tables alone
        return
    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    figure, grid = plt.subplots(rows, columns, figsize=(5.2 * columns, 3.2 * rows), squeeze=False, layout="constrained")
    for axes, panel in zip(grid.flat, panels, strict=False):
        panel(axes)
        axes.spines[["top", "right"]].set_visible(False)
    for axes in grid.flat[len(panels) :]:
        axes.set_visible(False)
    machine = outcome["machine"]
    figure.suptitle(f"{outcome['at'][:16]} UTC, {machine['cpu']}, {machine['cpus']} CPUs, {machine['git']}", fontsize=9)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _bars(axes: Any, title: str, systems: dict[str, Any]) -> None:
    names = list(systems)[::-1]
    medians = [systems[name]["median"] for name in names]
    values = [median["cpu_us"] * median["requests_per_s"] / median["images_per_s"] for median in medians]
    bars = axes.barh(names, values, color=[OURS if name == SERVICE else OTHERS for name in names])
    axes.bar_label(bars, [f"{value:,.0f}" for value in values], padding=3)
    axes.margins(x=0.15)
    axes.set(title=title, xlabel="server CPU, us an image")


def _lines(axes: Any, rows: list[dict[str, Any]], x: str, y: Callable[[dict[str, Any], dict[str, Any]], float]) -> None:
    for name in (SERVICE, TUTORIAL):
        axes.plot([row[x] for row in rows], [y(row, row[name]) for row in rows], "o-", label=name, color=COLOURS[name])
    axes.set(xscale="log", yscale="log")
    axes.legend(frameon=False)


def _picture_sizes(axes: Any, rows: list[dict[str, Any]]) -> None:
    _lines(axes, rows, "megapixels", lambda _, figures: figures["cpu_us"] / 1e3)
    axes.set(title="JPEG photos", xlabel="megapixels", ylabel="CPU, ms a request")


def _batch_sizes(axes: Any, rows: list[dict[str, Any]]) -> None:
    _lines(axes, rows, "images", lambda row, figures: figures["cpu_us"] / row["images"])
    axes.set(title="PNGs in one request", xlabel="images", ylabel="CPU, us an image")


def _overload(axes: Any, rows: list[dict[str, Any]]) -> None:
    for model, colour in (("dense", OURS), ("cnn", COLOURS[TUTORIAL])):
        own = [row for row in rows if row["model"] == model]
        offered = [row["offered"] / row["capacity"] for row in own]
        axes.plot(offered, [row["goodput"] for row in own], "o-", color=colour, label=model)
    axes.axhline(0.9, color=OTHERS, linewidth=1)
    axes.set(title="Open loop", xlabel="offered, times the capacity", ylabel="goodput, of the capacity", ylim=(0, None))
    axes.legend(frameon=False)


def _workers(axes: Any, rows: list[dict[str, Any]]) -> None:
    labels = [f"{row['workers']}{' (shared with clients)' if row['shared'] else ''}" for row in rows]
    bars = axes.bar(labels, [row["requests_per_s"] for row in rows], color=OURS)
    axes.bar_label(bars, [f"{row['cpu_us']:.0f} us" for row in rows], padding=3)
    axes.margins(y=0.15)
    axes.set(title="Workers", xlabel="workers", ylabel="requests/s")


EXPERIMENTS = {
    "picture-sizes": _picture_sizes,
    "batch-sizes": _batch_sizes,
    "overload": _overload,
    "workers": _workers,
}


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        draw(json.loads(Path(argument).read_text()), Path(argument).with_suffix(".png"))
