"""A published version, opened to be measured: its exported file in ONNX Runtime, its card, its Keras file."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from service.imaging.decode import Picture
from service.imaging.normalise import normalise
from service.inference.runtime import Session, available_cpus, load_session
from training.backend import start_keras
from training.data import Pixels
from training.errors import TrainingError

BATCH = 500
SCORE = "out_of_distribution_score"
REFUSED = 0.5  # a score above it means "not a digit": the export puts every network's threshold there

Probabilities = npt.NDArray[np.float32]  # (n, 10)
Weights = npt.NDArray[np.float32]
Scores = npt.NDArray[np.float32]  # (n,), 0 to 1, more is stranger


class Answers(NamedTuple):
    """Of n images; `scores` is None where the network has no such output."""

    probabilities: Probabilities
    scores: Scores | None


@dataclass(frozen=True)
class Network:
    """`card` is empty where there is none."""

    name: str
    version: str
    folder: Path
    card: dict[str, Any]
    session: Session

    @property
    def has_scores(self) -> bool:
        return SCORE in {output.name for output in self.session.outputs}

    @cached_property
    def keras_network(self) -> Any | None:
        """What the exported file was made from, or None where it is not there."""
        file = self.folder / "model.keras"
        if not file.exists():
            return None
        start_keras()
        import keras

        from training import networks  # noqa: F401 - registers the layers of our own

        return keras.models.load_model(file, compile=False)

    def first_weights(self) -> Weights | None:
        """Those of the first layer that has any, as pictures (units, height, width)."""
        if self.keras_network is None:
            return None
        kernel: Weights = next(layer for layer in self.keras_network.layers if hasattr(layer, "kernel")).get_weights()[
            0
        ]
        return kernel.T.reshape(-1, 28, 28) if kernel.ndim == 2 else kernel[:, :, 0].transpose(2, 0, 1)

    def answer(self, images: Pixels) -> Answers:
        """What it says of images (n, 28, 28) uint8 that are in MNIST's convention."""
        outputs = ["probabilities", SCORE] if self.has_scores else ["probabilities"]
        feed = self.session.inputs[0].name
        starts = range(0, len(images), BATCH)
        runs = [self.session.run({feed: images[start : start + BATCH]}, outputs) for start in starts]
        parts = [np.concatenate(part) for part in zip(*runs, strict=True)]
        return Answers(parts[0], parts[1].reshape(-1) if self.has_scores else None)

    def read(self, pictures: Iterable[Picture]) -> Answers:
        """What it says of pictures as people send them, through the service's `normalise`."""
        return self.answer(np.stack([normalise(picture).pixels for picture in pictures]))


def open_network(models: Path, name: str, version: str | None = None) -> Network:
    """The version of this model in the repository `models`, the newest by default.

    Raises:
        TrainingError: it is not there, or cannot be read; says what is.
    """
    folder = _find(models, name, version)
    card = folder / "model.json"
    try:
        facts = json.loads(card.read_text(encoding="utf-8")) if card.exists() else {}
        session = load_session(folder / "model.onnx", "cpu", available_cpus())
    except Exception as error:  # noqa: BLE001 - onnxruntime raises what it likes
        raise TrainingError(f"{folder} cannot be read: {error}") from None
    if "probabilities" not in {output.name for output in session.outputs} or session.inputs[0].shape[1:] != [28, 28]:
        raise TrainingError(f"{folder} reads no digits: it needs images (n, 28, 28) and an output named probabilities.")
    return Network(name, folder.name, folder, facts, session)


def _find(models: Path, name: str, version: str | None) -> Path:
    versions = [path.parent.name for path in (models / name).glob("*/model.onnx") if path.parent.name.isdecimal()]
    if not versions:
        names = sorted({path.parent.parent.name for path in models.glob("*/*/model.onnx")})
        raise TrainingError(f"There is no model {name!r} in {models}. There are: {', '.join(names) or 'none'}.")
    if version is not None and version not in versions:
        raise TrainingError(
            f"There is no version {version} of {name}. There are: {', '.join(sorted(versions, key=int))}."
        )
    return models / name / (version or max(versions, key=int))
