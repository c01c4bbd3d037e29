"""What a network is worth: its figures in Keras, and whether the exported file answers as Keras does, and how fast.

The test set is measured here, once a published version; nothing is chosen by it.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from service.inference.runtime import Session, load_session
from training import conformal
from training.calibration import FLOOR, expected_calibration_error, fit_temperature, probabilities
from training.data import Dataset, Digits, Pixels, Split
from training.errors import CheckFailed
from training.export import Scales

TOLERANCE = 1e-4  # between Keras' and ONNX Runtime's probabilities
COMPARED_IMAGES = 256
CHECKED_BATCH_SIZES = (1, 2, 7, 32)
TIMED_BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
TIMED_RUNS = 30
LONGEST_RUN_US = 5000  # of a micro-batch: the service runs what takes less on its event loop (service.lifespan)
OUTLIER = 10  # the output after the ten logits
# Of held-out digits and of rendered pictures of them; more of the digits than the 99 % that is promised of all others.
ACCEPTED = {"digits": 0.9945, "pictures": 0.95}
PARTS = ("train", "validation", "test")

Outputs = npt.NDArray[np.float32]  # (n, 10) logits, or (n, 11) with the log odds of no digit
Answer = Callable[[Pixels], Outputs]
Probabilities = npt.NDArray[np.float32]  # (n, 10)


@dataclass(frozen=True)
class Figures:
    """A network's scales and figures; `test_outputs` are what they are of, to compare the published file with.

    `out_of_distribution` is how its threshold was found; None for a network without that output.
    """

    scales: Scales
    calibration_images: int
    metrics: dict[str, float]
    test_outputs: Outputs
    conformal: dict[str, Any]
    out_of_distribution: dict[str, Any] | None = None

    def __str__(self) -> str:
        accuracies = ", ".join(f"{part} {self.metrics[f'{part}_accuracy']:.4f}" for part in PARTS)
        loss, temperature = self.metrics["test_loss"], self.scales.temperature
        return f"Accuracy: {accuracies}. Test loss {loss:.4f} at temperature {temperature:.3f}"

    def card(self) -> dict[str, Any]:
        temperature = self.scales.temperature
        calibration = {"method": "temperature and floor", "temperature": temperature, "floor": FLOOR}
        calibration["images"] = self.calibration_images
        card = {"metrics": self.metrics, "calibration": calibration, "conformal": self.conformal}
        return card | ({"out_of_distribution": self.out_of_distribution} if self.out_of_distribution else {})


def measure(answer: Answer, dataset: Dataset, parts: Split, pictures: Digits | None = None) -> Figures:
    """Fit temperature, threshold and conformal levels on all images that no fit saw; measure every part with them.

    `answer` is the network as it will be served. `pictures` are the calibration images as they come from cameras and
    forms (training.pictures); with them a network with an eleventh output gets its threshold.
    """
    calibration, validation = (answer(part.images) for part in (parts.calibration, parts.validation))
    held_out = np.concatenate([calibration, validation])
    labels = np.concatenate([parts.calibration.labels, parts.validation.labels])
    temperature = fit_temperature(held_out[:, :10], labels)
    test_outputs = answer(dataset.test.images)
    scores = {
        "test": score(test_outputs, dataset.test.labels, temperature),
        "validation": score(validation, parts.validation.labels, temperature),
        "train": score(answer(parts.training.images), parts.training.labels, temperature),
    }
    metrics = {
        f"{part}_{name}": getattr(found, name) for part, found in scores.items() for name in ("accuracy", "loss")
    }
    metrics["expected_calibration_error"] = scores["test"].expected_calibration_error
    threshold, out_of_distribution = 0.0, None
    if pictures is not None and held_out.shape[1] > OUTLIER:
        seen = answer(pictures.images)
        metrics["pictures_accuracy"] = score(seen, pictures.labels, temperature).accuracy
        metrics["pictures_calibration_error"] = score(seen, pictures.labels, temperature).expected_calibration_error
        out_of_distribution = find_threshold(held_out[:, OUTLIER], seen[:, OUTLIER])
        threshold = out_of_distribution["threshold"]
    scales = Scales(temperature, threshold)
    return Figures(
        scales,
        len(held_out),
        metrics,
        test_outputs,
        conformal.calibrate(*told(held_out, scales), labels),
        out_of_distribution,
    )


def told(outputs: Outputs, scales: Scales) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64] | None]:
    """Probabilities (n, 10) and, with an eleventh output, scores (n,), to the 7 places that the service tells."""
    digits = probabilities(outputs[:, :10], scales.temperature).round(7)
    if outputs.shape[1] == OUTLIER:
        return digits, None
    log_odds = outputs[:, OUTLIER].astype(np.float64) - scales.threshold
    return digits, (1 / (1 + np.exp(-log_odds))).round(7)


def find_threshold(digits: npt.NDArray[np.floating], pictures: npt.NDArray[np.floating]) -> dict[str, Any]:
    """The log odds of no digit above which a picture is refused, and what it was found from, for the card.

    It keeps the shares `ACCEPTED` of both: MNIST's digits and rendered pictures of digits, none of which a fit saw.
    """
    thresholds = {
        "digits": float(np.quantile(digits, ACCEPTED["digits"])),
        "pictures": float(np.quantile(pictures, ACCEPTED["pictures"])),
    }
    levels = (0.5, 0.9, 0.95, 0.99, 0.995, 0.999)
    return {
        "method": "outlier exposure: log odds of an eleventh output, less the threshold, as a probability",
        "threshold": max(thresholds.values()),
        "accepted": ACCEPTED,
        "quantiles": {
            name: {str(level): round(float(np.quantile(values, level)), 4) for level in levels}
            for name, values in (("digits", digits), ("pictures", pictures))
        },
        "images": {"digits": len(digits), "pictures": len(pictures)},
    }


@dataclass(frozen=True)
class Score:
    """Accuracy, negative log-likelihood in nats, and calibration error of calibrated probabilities."""

    accuracy: float
    loss: float
    expected_calibration_error: float


def score(outputs: Outputs, labels: npt.NDArray[np.integer], temperature: float) -> Score:
    logits = outputs[:, :10]
    told = probabilities(logits, temperature)
    return Score(
        float((logits.argmax(axis=1) == labels).mean()),
        float(-np.log(told[np.arange(len(labels)), labels]).mean()),
        expected_calibration_error(told, labels),
    )


def keras_outputs(network: Any, images: Pixels) -> Outputs:
    """What a Keras network on any backend ends in."""
    outputs: Outputs = network.predict(images.astype(np.float32), batch_size=500, verbose=0)
    return outputs


def answering(network: Any) -> Answer:
    """A Keras network as one that is measured."""
    return partial(keras_outputs, network)


def open_model(path: Path) -> Session:
    """The exported file on one CPU thread."""
    return load_session(path, "cpu", 1)


def check_export(session: Session, images: Pixels, outputs: Outputs, scales: Scales) -> float:
    """The largest difference in probability or score between Keras and ONNX Runtime on the first 256 images.

    Raises:
        CheckFailed: it is above 1e-4, or a batch size gives another shape or other answers.
    """
    images, outputs = images[:COMPARED_IMAGES], outputs[:COMPARED_IMAGES]
    names = ["probabilities", "out_of_distribution_score"][: 1 + (outputs.shape[1] > OUTLIER)]
    found = session.run({"image": images}, names)
    difference = max(float(np.abs(a - b).max()) for a, b in zip(found, told(outputs, scales), strict=False))
    if difference > TOLERANCE:
        raise CheckFailed(f"Keras and ONNX Runtime differ by {difference:.1e} in an answer; {TOLERANCE} is allowed.")
    for size in CHECKED_BATCH_SIZES:
        answers = session.run({"image": np.resize(images, (size, 28, 28))}, names)
        wanted = [np.resize(whole, (size, *whole.shape[1:])) for whole in found]
        if [answer.shape for answer in answers] != [one.shape for one in wanted]:
            raise CheckFailed(f"A batch of {size} gives shapes {[answer.shape for answer in answers]}.")
        if max(float(np.abs(a - b).max()) for a, b in zip(answers, wanted, strict=True)) > TOLERANCE:
            raise CheckFailed(f"A batch of {size} gives other answers than a batch of {len(images)}.")
    return difference


def golden(session: Session, digits: Digits) -> list[dict[str, Any]]:
    """One image of each label with its answer, for the service's self-test; labels without an image are left out."""
    examples: list[dict[str, Any]] = []
    for label in range(10):
        for index in np.flatnonzero(digits.labels == label)[:1]:
            image = digits.images[index : index + 1]
            (probabilities,) = session.run({"image": image}, ["probabilities"])
            examples.append(
                {
                    "label": label,
                    "index": int(index),
                    "pixels": base64.b64encode(image.tobytes()).decode(),
                    "probabilities": [round(float(value), 7) for value in probabilities[0]],
                }
            )
    return examples


def measure_batching(session: Session) -> dict[str, Any]:
    """Microseconds an image at each batch size on one thread, and the size for micro-batches: the largest that is
    within 10 % of the best, of those that take at most 5 ms.

    The fastest of 30 runs counts: whatever else the machine does can only add to it.
    """
    images = np.random.default_rng(0).integers(0, 256, (max(TIMED_BATCH_SIZES), 28, 28), np.uint8)
    times: dict[int, list[float]] = {size: [] for size in TIMED_BATCH_SIZES}
    for _ in range(TIMED_RUNS):  # sizes in turn, so that a busy moment of the machine hits them all
        for size in TIMED_BATCH_SIZES:
            started = time.perf_counter()
            session.run({"image": images[:size]}, ["probabilities"])
            times[size].append(1e6 * (time.perf_counter() - started) / size)
    fastest = {size: min(values) for size, values in times.items()}
    short = {size: value for size, value in fastest.items() if size == 1 or size * value <= LONGEST_RUN_US}
    return {
        "max_batch_size": max(size for size, value in short.items() if value <= 1.1 * min(short.values())),
        "us_per_image": {str(size): round(value, 1) for size, value in fastest.items()},
    }
