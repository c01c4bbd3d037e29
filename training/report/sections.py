"""The report's sections on what a network is and what it answers: nothing here decides, everything shows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from training.report import charts, galleries
from training.report.page import Page, folded, table, text
from training.report.subject import Subject

TOLD_OF_THE_RUN = (
    "recipe",
    "seed",
    "data",
    "calibration",
    "out_of_distribution",
    "best_epoch",
    "training_seconds",
    "trained_at",
    "git_commit",
    "git_dirty",
    "libraries",
)


def at_a_glance(page: Page, subject: Subject) -> None:
    test, training, card = subject.test_measures, subject.training_measures, subject.network.card
    rows: list[tuple[str, object]] = [
        ("accuracy on test images", test.accuracy),
        ("accuracy on training images", training.accuracy),
        ("loss on test images (negative log-likelihood, nats)", test.loss),
        ("loss on training images", training.loss),
        ("expected calibration error, 15 equal-mass bins", test.expected_calibration_error),
        ("R2 on test images, digits taken for numbers", test.r2),
        ("size of model.onnx in KB", (subject.network.folder / "model.onnx").stat().st_size // 1000),
    ]
    rows += [("parameters", card["parameters"])] if "parameters" in card else []
    times = card.get("batching", {}).get("us_per_image", {})
    rows += (
        [("microseconds an image in batches of 32, one thread, when published", times["32"])] if "32" in times else []
    )
    page.section("At a glance", table(("figure", "value"), rows))


def structure(page: Page, subject: Subject) -> None:
    network = subject.network.keras_network
    if network is None:
        page.section("Network", text("There is no model.keras beside model.onnx to look into."))
        return
    rows = [
        (type(layer).__name__, " x ".join(map(str, layer.output.shape[1:])), layer.count_params())
        for layer in network.layers
    ]
    page.section("Network", table(("layer", "output", "parameters"), rows))


def settings(page: Page, subject: Subject) -> None:
    card = subject.network.card
    chosen = {key: card[key] for key in TOLD_OF_THE_RUN if key in card}
    rows = [(name, str(value)) for name, value in flat(chosen)]
    if not rows:
        page.section("Settings", text("The network has no card model.json."))
        return
    page.section("Settings", folded(f"All {len(rows)} settings of the run", table(("setting", "value"), rows)))


def flat(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Nested dicts and lists of dicts as dotted names with plain values."""
    items: Any = value.items() if isinstance(value, dict) else enumerate(value, 1) if _is_nested(value) else None
    if items is None:
        yield name, "none" if value is None else value
        return
    for key, part in items:
        yield from flat(part, f"{name}.{key}" if name else str(key))


def _is_nested(value: Any) -> bool:
    return isinstance(value, list) and any(isinstance(part, dict) for part in value)


def training_curves(page: Page, subject: Subject) -> None:
    history = subject.network.card.get("history")
    if not history:
        page.section("Training", text("The card holds no history of the fit."))
        return
    figure = charts.curves(history, subject.network.card.get("best_epoch"))
    caption = (
        "Loss and accuracy after each epoch. Training figures are means over the epoch, on augmented images where the "
        "recipe augments; validation images are as they are."
    )
    page.section("Training", page.picture("curves", figure, caption))


def data(page: Page, subject: Subject) -> None:
    grid = galleries.samples(subject.dataset.training)
    page.section(
        "Data",
        text(f"{subject.dataset.source}: {len(subject.dataset.training):,} training images, "
             f"{len(subject.dataset.test):,} test images."),
        page.picture("samples", grid, "Training images with their labels, from all over the set.", wide=True),
        page.picture(
            "numbers",
            galleries.numbers(subject.dataset.training.images[0]),
            f"The first training image, a {subject.dataset.training.labels[0]}: its numbers, in false colour.",
            wide=True,
        ),
    )  # fmt: skip


def each_digit(page: Page, subject: Subject) -> None:
    parts = []
    for name, measures in (("test", subject.test_measures), ("training", subject.training_measures)):
        rows = [tuple(digit) for digit in measures.classes]
        caption = f"{measures.images:,} {name} images."
        parts.append(table(("digit", "precision", "recall", "F1", "images"), rows, caption))
        told = f"{name.capitalize()} images: rows are labels, columns answers. Colour shows errors alone."
        parts.append(page.picture(f"confusion_{name}", charts.confusion(measures.confusion), told))
    page.section("Each digit", *parts)


def right_and_wrong(page: Page, subject: Subject) -> None:
    right = galleries.right_answers(subject.test, subject.test_answers.probabilities)
    told = "Test images read rightly, with the probability of the answer: of each digit the least certain first."
    parts = [page.picture("right", right, told, wide=True)]
    for name, digits, answers in (
        ("test", subject.test, subject.test_answers.probabilities),
        ("training", subject.dataset.training, subject.training_answers),
    ):
        wrong = galleries.wrong_answers(digits, answers)
        if wrong is None:
            parts.append(text(f"All {name} images are read rightly."))
            continue
        told = (
            f"{name.capitalize()} images read wrongly, a line for each label, at most ten, the surest first. Above "
            "each the answer with its probability, below that the label with its own."
        )
        parts.append(page.picture(f"wrong_{name}", wrong, told, wide=True))
    page.section("Right and wrong", *parts)


def first_layer(page: Page, subject: Subject) -> None:
    kernels = subject.network.first_weights()
    if kernels is None:
        page.section("First layer", text("There is no model.keras beside model.onnx to look into."))
        return
    total = len(kernels)
    shown = kernels[np.argsort(-np.abs(kernels).max(axis=(1, 2)), kind="stable")[:64]]
    told = (
        f"Weights of {len(shown)} of the {total} units or filters of the first layer, {kernels.shape[1]} x "
        f"{kernels.shape[2]} pixels each, those with the largest weights first. Ink on violet speaks for a unit, on "
        "brown against it."
    )
    page.section("First layer", page.picture("first_layer", galleries.weights(shown), told))
