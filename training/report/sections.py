"""The report's sections, each from what was measured: nothing here decides, everything shows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from service.imaging.decode import decode
from service.imaging.normalise import normalise
from training import outliers
from training.data import Dataset, Digits, Pixels
from training.photos import render
from training.report import charts, galleries
from training.report.evaluate import ROBUSTNESS_LIMIT, spread
from training.report.measures import Measures, coverage, measure, reliability
from training.report.network import REFUSED, Answers, Network, Probabilities, Scores
from training.report.page import Page, folded, table, text
from training.report.robustness import CONDITIONS, measure_robustness

PHOTOS = 600
OUTLIERS = 500  # of each family
SURE = 0.9
MAX_PICTURE_PIXELS = 50_000_000
TOLD_OF_THE_RUN = (
    "recipe",
    "seed",
    "data",
    "calibration",
    "best_epoch",
    "training_seconds",
    "trained_at",
    "git_commit",
    "git_dirty",
    "libraries",
)


@dataclass(frozen=True)
class Material:
    """A network and the digits that it is looked at with. `test` is what a limit left of the test set."""

    network: Network
    dataset: Dataset
    test: Digits

    @cached_property
    def test_answers(self) -> Answers:
        return self.network.answer(self.test.images)

    @cached_property
    def training_answers(self) -> Probabilities:
        return self.network.answer(self.dataset.training.images).probabilities

    @cached_property
    def test_measures(self) -> Measures:
        return measure(self.test_answers.probabilities, self.test.labels)

    @cached_property
    def training_measures(self) -> Measures:
        return measure(self.training_answers, self.dataset.training.labels)

    @cached_property
    def photos(self) -> Digits:
        """Test digits drawn on paper, photographed, scanned; then as the service's `normalise` hands them on."""
        chosen = spread(self.test, PHOTOS)
        rng = np.random.default_rng(0)
        files = (render(image, rng) for image in chosen.images)
        pixels = [normalise(decode(file, max_pixels=MAX_PICTURE_PIXELS)).pixels for file in files]
        return Digits(np.stack(pixels), chosen.labels)


def at_a_glance(page: Page, material: Material) -> None:
    test, training, card = material.test_measures, material.training_measures, material.network.card
    rows: list[tuple[str, object]] = [
        ("accuracy on test images", test.accuracy),
        ("accuracy on training images", training.accuracy),
        ("loss on test images (negative log-likelihood, nats)", test.loss),
        ("loss on training images", training.loss),
        ("expected calibration error, 15 equal-mass bins", test.expected_calibration_error),
        ("R2 on test images, digits taken for numbers", test.r2),
        ("size of model.onnx in KB", (material.network.folder / "model.onnx").stat().st_size // 1000),
    ]
    rows += [("parameters", card["parameters"])] if "parameters" in card else []
    times = card.get("batching", {}).get("us_per_image", {})
    rows += (
        [("microseconds an image in batches of 32, one thread, when published", f"{times['32']:.1f}")]
        if "32" in times
        else []
    )
    page.section("At a glance", table(("figure", "value"), rows))


def structure(page: Page, material: Material) -> None:
    network = material.network.keras_network
    if network is None:
        page.section("Network", text("There is no model.keras beside model.onnx to look into."))
        return
    rows = [
        (type(layer).__name__, " x ".join(map(str, layer.output.shape[1:])), layer.count_params())
        for layer in network.layers
    ]
    page.section("Network", table(("layer", "output", "parameters"), rows))


def settings(page: Page, material: Material) -> None:
    card = material.network.card
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


def training_curves(page: Page, material: Material) -> None:
    history = material.network.card.get("history")
    if not history:
        page.section("Training", text("The card holds no history of the fit."))
        return
    figure = charts.curves(history, material.network.card.get("best_epoch"))
    caption = (
        "Loss and accuracy after each epoch. Training figures are means over the epoch, on augmented images where the "
        "recipe augments; validation images are as they are."
    )
    page.section("Training", page.picture("curves", figure, caption))


def data(page: Page, material: Material) -> None:
    grid = galleries.samples(material.dataset.training)
    page.section(
        "Data",
        text(f"{material.dataset.source}: {len(material.dataset.training):,} training images, "
             f"{len(material.dataset.test):,} test images."),
        page.picture("samples", grid, "Training images with their labels, from all over the set.", wide=True),
        page.picture(
            "numbers",
            galleries.numbers(material.dataset.training.images[0]),
            f"The first training image, a {material.dataset.training.labels[0]}: its numbers, in false colour.",
            wide=True,
        ),
    )  # fmt: skip


def each_digit(page: Page, material: Material) -> None:
    parts = []
    for name, measures in (("test", material.test_measures), ("training", material.training_measures)):
        rows = [tuple(digit) for digit in measures.classes]
        caption = f"{measures.images:,} {name} images."
        parts.append(table(("digit", "precision", "recall", "F1", "images"), rows, caption))
        told = f"{name.capitalize()} images: rows are labels, columns answers. Colour shows errors alone."
        parts.append(page.picture(f"confusion_{name}", charts.confusion(measures.confusion), told))
    page.section("Each digit", *parts)


def right_and_wrong(page: Page, material: Material) -> None:
    right = galleries.right_answers(material.test, material.test_answers.probabilities)
    told = "Test images read rightly, with the probability of the answer: of each digit the least certain first."
    parts = [page.picture("right", right, told, wide=True)]
    for name, digits, answers in (
        ("test", material.test, material.test_answers.probabilities),
        ("training", material.dataset.training, material.training_answers),
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


def first_layer(page: Page, material: Material) -> None:
    kernels = material.network.first_weights()
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


def calibration(page: Page, material: Material) -> None:
    photos = material.network.answer(material.photos.images).probabilities
    parts = [text("Of the answers with a confidence of 0.9, nine of ten should be right.")]
    for name, told, probabilities, labels in (
        ("test", "Test images", material.test_answers.probabilities, material.test.labels),
        (
            "photos",
            "Test digits drawn on paper, photographed, scanned (training/photos.py)",
            photos,
            material.photos.labels,
        ),
    ):
        measures = measure(probabilities, labels)
        caption = (
            f"{told}: {measures.images:,} images, accuracy {measures.accuracy:.4f}, negative log-likelihood "
            f"{measures.loss:.4f}, expected calibration error {measures.expected_calibration_error:.4f}."
        )
        parts.append(
            page.picture(f"reliability_{name}", charts.reliability(reliability(probabilities, labels)), caption)
        )
    page.section("Confidence", *parts, _coverage(material))


def _coverage(material: Material) -> str:
    rows = coverage(material.network, material.test_answers, material.test.labels)
    if not rows:
        return text("The card has no thresholds for prediction sets.")
    caption = (
        f"Prediction sets on {len(material.test):,} test images. A set should hold the true digit as often as its "
        "coverage says; least and most is what chance leaves to the test images in 95 of 100 cases."
    )
    return table(("coverage", "measured", "least", "most", "mean size", "empty sets"), rows, caption)


def robustness(page: Page, material: Material) -> None:
    digits = spread(material.test, ROBUSTNESS_LIMIT)
    rows = list(measure_robustness(material.network, digits))
    lines = [(row.condition.name, row.condition.severity, row.accuracy, row.standard_error) for row in rows]
    rng = np.random.default_rng(0)
    example = digits.images[np.flatnonzero(digits.labels == digits.labels[0])[0]]
    pictures = [(f"{c.name}\n{c.severity}", c.change(example, rng)) for c in CONDITIONS]
    page.section(
        "Robustness",
        text(f"{len(digits):,} test images after each change, read through the service's own normalisation."),
        table(("change", "by", "accuracy", "standard error"), lines),
        page.picture("severity", charts.severity(rows, ("rotated", "noise")),
                     "Accuracy against how far digits are turned and how strong the noise is, with 95 % intervals."),
        page.picture("conditions", galleries.conditions(pictures), "One digit after each change.", wide=True),
    )  # fmt: skip


def strangers(page: Page, material: Material) -> None:
    """Scores of digits and of families that are none; without a score, one minus the confidence stands in."""
    network, rng = material.network, np.random.default_rng(0)
    families: dict[str, Pixels] = {"test digits": material.test.images, "photographed digits": material.photos.images}
    known = tuple(families)
    for name, draw in outliers.FAMILIES.items():
        told = name.replace("_", " ") + (" *" if name in outliers.HELD_OUT else "")
        families[told] = draw(min(OUTLIERS, len(material.test)), material.test.images, material.test.labels, rng)
    scores: dict[str, Scores] = {}
    rows: list[tuple[object, ...]] = []
    for name, images in families.items():
        answers = network.answer(images)
        confidence = answers.probabilities.max(axis=1)
        scores[name] = 1 - confidence if answers.scores is None else answers.scores
        refused = "-" if answers.scores is None else float((answers.scores > REFUSED).mean())
        rows.append((name, len(images), float((confidence > SURE).mean()), refused))
    score = "the out-of-distribution score" if network.has_scores else "1 - confidence: the network has no score"
    figure = charts.histograms(scores, known, f"log odds of {score}", threshold=network.has_scores)
    told = (
        "How strange each family is to the network; digits in blue. Right of the dashed line, where there is one, a "
        "picture is refused."
    )
    head = ("family", "images", f"confidence over {SURE}", "refused")
    page.section(
        "Not a digit",
        table(head, rows, "Families with * are kept from every fit."),
        page.picture("scores", figure, told),
        _noise(page, network),
    )


def _noise(page: Page, network: Network) -> str:
    """The picture that document 004 shows a network to make it "hallucinate"."""
    image = np.random.default_rng(4).integers(0, 256, (28, 28), np.uint8)
    answers = network.answer(image[None])
    digit, confidence = int(answers.probabilities[0].argmax()), float(answers.probabilities[0].max())
    called = f"{digit} with {confidence:.0%}"
    if answers.scores is None:
        told = f"This network has no score to say no by: it calls this noise a {called}."
    else:
        score = float(answers.scores[0])
        verdict = "refused: not a digit" if score > REFUSED else f"accepted as a {called}"
        told = f"Noise, which a tutorial's network calls a digit. Its score is {score:.4f}: {verdict}."
    return page.picture("noise", charts.answer(image, answers.probabilities[0]), told)
