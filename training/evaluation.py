"""What a network is worth: its figures in Keras, and whether the exported file answers as Keras does, and how fast.

The test set is measured here, once a published version; nothing is chosen by it.
"""

from __future__ import annotations

import base64
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from service.inference.runtime import Session, load_session
from training.calibration import expected_calibration_error, fit_temperature, log_softmax
from training.data import Dataset, Digits, Pixels, Split
from training.errors import CheckFailed

TOLERANCE = 1e-4  # between Keras' and ONNX Runtime's probabilities
COMPARED_IMAGES = 256
CHECKED_BATCH_SIZES = (1, 2, 7, 32)
TIMED_BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64)
TIMED_RUNS = 30
PARTS = ("train", "validation", "test")

Logits = npt.NDArray[np.float32]  # (n, 10)
Probabilities = npt.NDArray[np.float32]  # (n, 10)


@dataclass(frozen=True)
class Figures:
    """A network's temperature and figures; `test_logits` (n, 10) are Keras' own, to compare the export with."""

    temperature: float
    calibration_images: int
    metrics: dict[str, float]
    parameters: int
    test_logits: Logits

    def __str__(self) -> str:
        accuracies = ", ".join(f"{part} {self.metrics[f'{part}_accuracy']:.4f}" for part in PARTS)
        return (
            f"Accuracy: {accuracies}. Test loss {self.metrics['test_loss']:.4f} at temperature {self.temperature:.3f}"
        )

    def card(self) -> dict[str, Any]:
        calibration = {"method": "temperature", "temperature": self.temperature, "images": self.calibration_images}
        return {"parameters": self.parameters, "metrics": self.metrics, "calibration": calibration}


def measure(network: Any, dataset: Dataset, parts: Split) -> Figures:
    """Fit the temperature on the calibration images, then measure every other part with it."""
    temperature = fit_temperature(keras_logits(network, parts.calibration.images), parts.calibration.labels)
    test_logits = keras_logits(network, dataset.test.images)
    test = score(test_logits, dataset.test.labels, temperature)
    validation = score(keras_logits(network, parts.validation.images), parts.validation.labels, temperature)
    training = score(keras_logits(network, parts.training.images), parts.training.labels, temperature)
    metrics = {
        "test_accuracy": test.accuracy,
        "test_loss": test.loss,
        "expected_calibration_error": test.expected_calibration_error,
        "validation_accuracy": validation.accuracy,
        "validation_loss": validation.loss,
        "train_accuracy": training.accuracy,
        "train_loss": training.loss,
    }
    return Figures(temperature, len(parts.calibration), metrics, network.count_params(), test_logits)


@dataclass(frozen=True)
class Score:
    """Accuracy, negative log-likelihood in nats, and calibration error of calibrated probabilities."""

    accuracy: float
    loss: float
    expected_calibration_error: float


def score(logits: Logits, labels: npt.NDArray[np.integer], temperature: float) -> Score:
    log_probabilities = log_softmax(logits / temperature)
    return Score(
        float((logits.argmax(axis=1) == labels).mean()),
        float(-log_probabilities[np.arange(len(labels)), labels].mean()),
        expected_calibration_error(np.exp(log_probabilities), labels),
    )


def keras_logits(network: Any, images: Pixels) -> Logits:
    """Logits (n, 10) of a Keras network on any backend."""
    logits: Logits = network.predict(images.astype(np.float32), batch_size=500, verbose=0)
    return logits


def open_model(path: Path) -> Session:
    """The exported file on one CPU thread."""
    return load_session(path, "cpu", 1)


def check_export(session: Session, images: Pixels, logits: Logits, temperature: float) -> float:
    """The largest difference in probability between Keras and ONNX Runtime on the first 256 images.

    Raises:
        CheckFailed: it is above 1e-4, or a batch size gives another shape or other answers.
    """
    images, logits = images[:COMPARED_IMAGES], logits[:COMPARED_IMAGES]
    expected = np.exp(log_softmax(logits / temperature))
    (probabilities,) = session.run({"image": images}, ["probabilities"])
    difference = float(np.abs(probabilities - expected).max())
    if difference > TOLERANCE:
        raise CheckFailed(
            f"Keras and ONNX Runtime differ by {difference:.1e} in a probability; {TOLERANCE} is allowed."
        )
    for size in CHECKED_BATCH_SIZES:
        batch = np.resize(images, (size, 28, 28))
        outputs = session.run({"image": batch}, ["logits", "probabilities"])
        if [output.shape for output in outputs] != [(size, 10), (size, 10)]:
            raise CheckFailed(f"A batch of {size} gives shapes {[output.shape for output in outputs]}.")
        if np.abs(outputs[1] - np.resize(probabilities, (size, 10))).max() > TOLERANCE:
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
    """Microseconds an image at each batch size on one thread, and the largest size that is within 10 % of the best.

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
    return {
        "max_batch_size": max(size for size, value in fastest.items() if value <= 1.1 * min(fastest.values())),
        "us_per_image": {str(size): round(value, 1) for size, value in fastest.items()},
    }
