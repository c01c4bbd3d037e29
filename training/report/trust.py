"""The report's sections on how far a network can be trusted: confidence, changed digits, and what is no digit."""

from __future__ import annotations

import numpy as np

from training import outliers
from training.data import Pixels
from training.report import charts, galleries
from training.report.evaluate import ROBUSTNESS_LIMIT, spread
from training.report.measures import coverage, measure, reliability
from training.report.network import REFUSED, Network, Scores
from training.report.page import Page, table, text
from training.report.robustness import CONDITIONS, measure_robustness
from training.report.subject import Subject

OUTLIERS = 500  # of each family
SURE = 0.9


def calibration(page: Page, subject: Subject) -> None:
    photos = subject.network.answer(subject.photos.images).probabilities
    parts = [text("Of the answers with a confidence of 0.9, nine of ten should be right.")]
    for name, told, probabilities, labels in (
        ("test", "Test images", subject.test_answers.probabilities, subject.test.labels),
        (
            "photos",
            "Test digits drawn on paper, photographed, scanned (training/photos.py)",
            photos,
            subject.photos.labels,
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
    page.section("Confidence", *parts, _coverage(subject))


def _coverage(subject: Subject) -> str:
    rows = coverage(subject.network, subject.test_answers, subject.test.labels)
    if not rows:
        return text("The card has no thresholds for prediction sets.")
    caption = (
        f"Prediction sets on {len(subject.test):,} test images. A set should hold the true digit as often as its "
        "coverage says; least and most is what chance leaves to the test images in 95 of 100 cases."
    )
    return table(("coverage", "measured", "least", "most", "mean size", "empty sets"), rows, caption)


def robustness(page: Page, subject: Subject) -> None:
    digits = spread(subject.test, ROBUSTNESS_LIMIT)
    rows = list(measure_robustness(subject.network, digits))
    lines = [(row.condition.name, row.condition.severity, row.accuracy, row.standard_error) for row in rows]
    rng = np.random.default_rng(0)
    pictures = [(f"{c.name}\n{c.severity}", c.change(digits.images[0], rng)) for c in CONDITIONS]
    page.section(
        "Robustness",
        text(f"{len(digits):,} test images after each change, read through the service's own normalisation."),
        table(("change", "by", "accuracy", "standard error"), lines),
        page.picture("severity", charts.severity(rows, ("rotated", "noise")),
                     "Accuracy against how far digits are turned and how strong the noise is, with 95 % intervals."),
        page.picture("conditions", galleries.conditions(pictures), "One digit after each change.", wide=True),
    )  # fmt: skip


def strangers(page: Page, subject: Subject) -> None:
    """Scores of digits and of families that are none; without a score, one minus the confidence stands in."""
    network, rng = subject.network, np.random.default_rng(0)
    families: dict[str, Pixels] = {"test digits": subject.test.images, "photographed digits": subject.photos.images}
    known = tuple(families)
    for name, draw in outliers.FAMILIES.items():
        told = name.replace("_", " ") + (" *" if name in outliers.HELD_OUT else "")
        families[told] = draw(min(OUTLIERS, len(subject.test)), subject.test.images, subject.test.labels, rng)
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
