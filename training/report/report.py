"""`digits report`: measures a published network from all sides and writes one page of it, with its pictures."""

from __future__ import annotations

from pathlib import Path

from training.data import load
from training.report import sections, trust
from training.report.evaluate import spread
from training.report.network import open_network
from training.report.page import Page
from training.report.subject import Subject

SECTIONS = (
    sections.at_a_glance,
    sections.structure,
    sections.settings,
    sections.training_curves,
    sections.data,
    sections.each_digit,
    sections.right_and_wrong,
    sections.first_layer,
    trust.calibration,
    trust.robustness,
    trust.strangers,
)


def report(
    models: Path,
    name: str,
    version: str | None = None,
    data: Path | None = None,
    limit: int | None = None,
    output: Path = Path("reports"),
) -> Path:
    """Write `output`/<name>-<version>/index.html and its PNG files; returns the page.

    `data` is None for MNIST through Keras; `limit` takes so many test images, evenly spread.

    Raises:
        TrainingError: no such model or data.
    """
    network = open_network(models, name, version)
    dataset = load(data)
    folder = output / f"{network.name}-{network.version}"
    folder.mkdir(parents=True, exist_ok=True)
    subject = Subject(network, dataset, spread(dataset.test, limit))
    lead = (
        f"Measured on the exported network as the service runs it, with {len(subject.test):,} test and "
        f"{len(dataset.training):,} training images of {dataset.source}."
    )
    page = Page(folder, f"{network.name} {network.version}", lead)
    for section in SECTIONS:
        print(f"{section.__name__.replace('_', ' ')} ...", flush=True)
        section(page, subject)
    return page.write()
