"""Ways to tell what is no digit, compared on pictures that no fit saw: an acceptance of 99 % of digits, then refusals.

    python -m training.detection models/cnn/4 --data ../shared/data/mnist --unseen fashion=../shared/data/ood_sample.npz
    python -m training.detection models/cnn/4 --unseen hands=fonts/hands --unseen photos=photos/

`--unseen NAME=PATH` is an .npz with `images` (n, 28, 28), or a folder of fonts or photos (training.outliers.strangers).
Prints Markdown: the share that each way refuses, and the area under ROC, both in per cent; then what an answer of two
digits would cost and catch, by the least probability of the second one.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from training import outliers
from training.backend import start_keras
from training.calibration import fit_temperature, log_softmax
from training.data import Split, load, split
from training.errors import TrainingError, told_in_one_line
from training.evaluation import keras_outputs
from training.outliers import mutilated, strangers
from training.outliers.placing import as_predicted
from training.train import SPLIT_SEED

Images = npt.NDArray[np.uint8]  # (n, 28, 28)
Array = npt.NDArray[np.floating]
Ways = dict[str, npt.NDArray[np.float64]]  # for each way, (n,): how little each image looks like a digit

ACCEPTED = 0.99
FAMILY_IMAGES = 1000
UNSEEN_IMAGES = 500
REFERENCES = 8000  # training digits that distances are measured to
NEIGHBOURS = 10
RIVALS = (0.02, 0.05, 0.1, 0.2)


class Detector:
    """Every way to score images with one Keras network, fitted on digits of its training set."""

    def __init__(self, network: Any, digits: Images, labels: npt.NDArray[np.integer]) -> None:
        import keras

        features = network.get_layer("logits").input
        self._network = keras.Model(network.inputs, [network.outputs[0], features])
        _, found = self._answers(digits)
        self._means, self._whiten = _gaussians(found, labels)
        self._known = _unit(found)

    def _answers(self, images: Images) -> tuple[Array, Array]:
        outputs, features = self._network.predict(images.astype(np.float32), batch_size=500, verbose=0)
        return outputs, features.reshape(len(images), -1)

    def ways(self, images: Images) -> Ways:
        outputs, features = self._answers(images)
        logits = outputs[:, :10].astype(np.float64)
        most = logits.max(axis=1)
        energy = most + np.log(np.exp(logits - most[:, None]).sum(axis=1))
        whitened = features @ self._whiten
        ways = {
            "softmax": energy - most,
            "max logit": -most,
            "energy": -energy,  # Liu et al., NeurIPS 2020
            "Mahalanobis": np.min([((whitened - mean) ** 2).sum(axis=1) for mean in self._means], axis=0),  # Lee, 2018
            "kNN": -np.partition(_unit(features) @ self._known.T, -NEIGHBOURS, axis=1)[:, -NEIGHBOURS],  # Sun, 2022
        }
        return ways | ({"trained": outputs[:, 10].astype(np.float64)} if outputs.shape[1] > 10 else {})


def _gaussians(features: Array, labels: npt.NDArray[np.integer]) -> tuple[Array, Array]:
    """Class means (10, d), and what makes the shared covariance the identity: Lee et al., NeurIPS 2018."""
    means = np.stack([features[labels == label].mean(axis=0) for label in range(10)])
    covariance = np.cov((features - means[labels]).T)
    covariance += 1e-3 * np.trace(covariance) / len(covariance) * np.eye(len(covariance))
    whiten = np.linalg.cholesky(np.linalg.inv(covariance)).astype(np.float32)
    return means @ whiten, whiten


def _unit(features: Array) -> Array:
    lengths: Array = np.linalg.norm(features, axis=1, keepdims=True)
    return features / np.maximum(lengths, 1e-6)


def compare(network: Any, parts: Split, unseen: dict[str, Images], images: int = FAMILY_IMAGES) -> list[str]:
    """The table: one row a family, one column a way. Thresholds come from the calibration digits, rows from others."""
    rng = np.random.default_rng(0)
    chosen = rng.permutation(len(parts.training))[:REFERENCES]
    detector = Detector(network, parts.training.images[chosen], parts.training.labels[chosen])
    digits = detector.ways(parts.calibration.images)
    thresholds = {way: np.quantile(values, ACCEPTED) for way, values in digits.items()}
    source = parts.validation
    families = {name: outliers.draw(images, source.images, source.labels, rng, [name])[0] for name in outliers.FAMILIES}
    rows = [
        "| family | " + " | ".join(thresholds) + " |",
        "| --- |" + " --- |" * len(thresholds),
        _row("held-out digits", detector.ways(source.images), thresholds),
    ]
    for name, pictures in (families | unseen).items():
        told = f"{name} (in no fit)" if name in (*outliers.HELD_OUT, *unseen) else name
        rows.append(_row(told, detector.ways(pictures), thresholds, digits))
    return rows


def _row(name: str, ways: Ways, thresholds: dict[str, Any], digits: Ways | None = None) -> str:
    cells = []
    for way, values in ways.items():
        refused = f"{100 * (values > thresholds[way]).mean():.1f}"
        cells.append(refused if digits is None else f"{refused} / {100 * area(digits[way], values):.2f}")
    return f"| {name} | " + " | ".join(cells) + " |"


def area(digits: npt.NDArray[np.float64], others: npt.NDArray[np.float64]) -> float:
    """Area under ROC: how often another picture scores above a digit, ties half."""
    ranked = np.sort(digits)
    below = np.searchsorted(ranked, others, side="left") + np.searchsorted(ranked, others, side="right")
    return float(below.mean() / 2 / len(ranked))


def compare_rivals(network: Any, parts: Split, images: int = FAMILY_IMAGES) -> list[str]:
    """How many digits would be doubtful, how many of those are wrong, how many errors that catches, and of morphs."""
    held = [parts.calibration, parts.validation]
    digits = np.concatenate([part.images for part in held])
    labels = np.concatenate([part.labels for part in held])
    logits = keras_outputs(network, digits)[:, :10]
    temperature = fit_temperature(logits, labels)
    wrong = logits.argmax(axis=1) != labels
    second = _second(logits / temperature)
    morphs = mutilated.morphs(images, digits, labels, np.random.default_rng(2))
    other = _second(keras_outputs(network, morphs)[:, :10] / temperature)
    rows = [
        "| second digit at least | digits, % | of these wrong, % | errors caught, % | morphs, % |",
        "| --- |" + " --- |" * 4,
    ]
    for least in RIVALS:
        doubtful = second >= least
        both = (doubtful & wrong).sum()
        shares = (doubtful.mean(), both / max(doubtful.sum(), 1), both / max(wrong.sum(), 1), (other >= least).mean())
        rows.append(f"| {least} | " + " | ".join(f"{100 * share:.2f}" for share in shares) + " |")
    return rows


def _second(logits: Array) -> npt.NDArray[np.float64]:
    """The second largest probability of each row."""
    probabilities: npt.NDArray[np.float64] = np.exp(log_softmax(logits))
    return np.sort(probabilities, axis=1)[:, -2]


def read_unseen(told: str, rng: np.random.Generator) -> tuple[str, Images]:
    """NAME=PATH to the images, as `/predict` sees them. Raises `TrainingError`."""
    name, _, path = told.partition("=")
    if not path or not Path(path).exists():
        raise TrainingError(f"--unseen {told}: expected NAME=PATH to an .npz, or to a folder of fonts or photos.")
    if Path(path).is_dir():
        return name, strangers.draw(Path(path), UNSEEN_IMAGES, rng)
    return name, as_predicted(np.load(path)["images"])


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m training.detection", description=__doc__)
    parser.add_argument("model", type=Path, help="a version's folder, with model.keras")
    parser.add_argument("--data", type=Path, help="as in training")
    parser.add_argument("--unseen", action="append", default=[], metavar="NAME=PATH")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    options = parse(argv)
    return told_in_one_line(lambda: _print_tables(options))


def _print_tables(options: argparse.Namespace) -> None:
    rng = np.random.default_rng(1)
    unseen = dict(read_unseen(told, rng) for told in options.unseen)
    recipe = json.loads((options.model / "model.json").read_text(encoding="utf-8"))["recipe"]
    parts = split(load(options.data).training, recipe["validation"], recipe["calibration"], SPLIT_SEED)
    start_keras()
    import keras

    network = keras.models.load_model(options.model / "model.keras", compile=False)
    print("\n".join([*compare(network, parts, unseen), "", *compare_rivals(network, parts)]))


if __name__ == "__main__":
    sys.exit(main())
