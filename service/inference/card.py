"""A model's card, `model.json` beside the network: what it says of itself. A network alone needs none."""

from __future__ import annotations

import binascii
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
from msgspec import Meta, Struct

from service.imaging.grey import GreyImage
from service.inference.tensors import TensorSpec

DIGITS = [str(digit) for digit in range(10)]
DIGIT_TASK = "digit-classification"


class Port(Struct, frozen=True):
    """An input or output as the card tells it."""

    name: str
    datatype: str
    shape: list[int]

    def differs_from(self, spec: TensorSpec) -> bool:
        return (self.name, self.datatype, tuple(self.shape)) != spec[:3]


class File(Struct, frozen=True):
    sha256: str | None = None


class Batching(Struct, frozen=True):
    max_batch_size: Annotated[int, Meta(ge=1, le=4096)] | None = None


class Golden(Struct, frozen=True):
    """One picture, 784 bytes in base64, and the ten probabilities that the network gave for it when it was trained."""

    pixels: str
    probabilities: Annotated[list[float], Meta(min_length=10, max_length=10)]


class Level(Struct, frozen=True):
    """What keeps the true digit in the set for a share `coverage` of digits: see training.conformal."""

    coverage: float
    least_probability: float
    largest_score: float | None = None


class Conformal(Struct, frozen=True):
    """Thresholds of prediction sets, by rising coverage."""

    levels: list[Level]


class Card(Struct):
    """The part of a card that the service acts upon; everything else in it is shown as it stands."""

    task: str | None = None
    labels: list[str] | None = None
    input: Port | None = None
    outputs: list[Port] | None = None
    files: dict[str, File] = {}
    batching: Batching = Batching()
    golden: list[Golden] = []
    conformal: Conformal | None = None
    everything: dict[str, Any] = {}

    @property
    def expected_sha256(self) -> str | None:
        return self.files.get("model.onnx", File()).sha256

    def golden_pictures(self) -> GreyImage:
        """(n, 28, 28) uint8. Raises ValueError where one has another size or is not base64."""
        try:
            pixels = b"".join(binascii.a2b_base64(one.pixels, strict_mode=True) for one in self.golden)
        except binascii.Error as error:
            raise ValueError(f"a golden picture is not base64: {error}") from None
        return np.frombuffer(pixels, np.uint8).reshape(len(self.golden), 28, 28)


def read_card(folder: Path) -> Card:
    """The card in `folder`; an empty one where there is none.

    Raises:
        ValueError: it is not JSON, or a field that the service acts upon is not what it should be.
        OSError: it cannot be read.
    """
    path = folder / "model.json"
    if not path.exists():
        return Card()
    try:
        everything = msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
        card = msgspec.convert(everything, Card, strict=True)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"model.json: {error}") from None
    card.everything = everything
    return card
