"""The model repository (`<name>/<version>/model.onnx` on disk) and the versions of it that are loaded.

A version is ready only after it was warmed up and its outputs have the shapes that its task promises.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
import structlog

from service.errors import ModelNotFound, NotReady, StartupError
from service.inference.batching import MicroBatcher, Rows
from service.inference.runtime import CPU, Device, Session, Tensor, load_session

DEFAULT_MAX_BATCH_SIZE = 32

State = Literal["LOADING", "READY", "FAILED"]
log = structlog.stdlib.get_logger(__name__)


class ModelFailed(Exception):
    """A version cannot be served; the text says why."""


@dataclass(slots=True)
class ModelVersion:
    """One version of one model: its files, its card, and, once loaded, its session."""

    name: str
    version: str
    path: Path
    state: State = "LOADING"
    reason: str | None = None
    card: dict[str, Any] = field(default_factory=dict)
    sha256: str = ""
    session: Session | None = None
    batcher: MicroBatcher | None = None
    seconds_per_image: float = 0.0
    max_batch_size: int = 0
    padded_to: int = 0

    def run(self, inputs: Rows) -> list[Tensor]:
        """Probabilities (n, 10) of images (n, 28, 28) uint8: float32 as they come, and float64 as we tell them.

        Told are 7 places, which float32 holds and JSON shows shortly; rounding a batch costs what rounding a row does.
        """
        assert self.session is not None
        (image,) = inputs
        count = len(image)
        if count < self.padded_to:
            image = np.concatenate([image, np.zeros((self.padded_to - count, 28, 28), np.uint8)])
        (probabilities,) = self.session.run({self.session.inputs[0].name: image}, ["probabilities"])
        probabilities = probabilities[:count]
        return [probabilities, np.round(probabilities.astype(np.float64), 7)]

    def load(self, device: Device, threads: int, max_batch_size: int) -> None:
        """Read the card, make the session, check its signature, warm it up. `max_batch_size` 0 takes the card's.

        Raises:
            ModelFailed: it cannot be served.
            StartupError: the device asked for does not run.
        """
        try:
            content = (self.path / "model.onnx").read_bytes()
            card = self.path / "model.json"
            self.card = msgspec.json.decode(card.read_bytes(), type=dict[str, Any]) if card.exists() else {}
        except (OSError, msgspec.DecodeError) as error:
            raise ModelFailed(f"{self.path}: {error}") from None
        self.sha256 = hashlib.sha256(content).hexdigest()
        expected = self.card.get("files", {}).get("model.onnx", {}).get("sha256", self.sha256)
        if expected != self.sha256:
            raise ModelFailed(f"model.onnx has sha256 {self.sha256}, its card says {expected}")
        self.max_batch_size = max_batch_size or self.card.get("batching", {}).get(
            "max_batch_size", DEFAULT_MAX_BATCH_SIZE
        )
        try:
            self.session = load_session(self.path / "model.onnx", device, threads)
        except StartupError:
            raise
        except Exception as error:
            raise ModelFailed(f"onnxruntime does not load it: {error}") from error
        self._check_signature(self.session)
        self._warm_up(self.session)

    def _check_signature(self, session: Session) -> None:
        given = [(node.type, node.shape[1:]) for node in session.inputs]
        if given != [("tensor(uint8)", [28, 28])]:
            raise ModelFailed(f"needs one uint8 input (n, 28, 28), has {given}")
        if "probabilities" not in {node.name for node in session.outputs}:
            raise ModelFailed("has no output named probabilities")

    def _warm_up(self, session: Session) -> None:
        """Run every batch size once, and see whether an image's answer depends on its neighbours.

        On the CPU it does not for the sizes and networks we measured (docs/log.md); where it does, micro-batches are
        padded to one size, whose rows are then always computed alike.
        """
        most = self.max_batch_size
        images = np.random.default_rng(0).integers(0, 256, (most, 28, 28), np.uint8)
        started = time.perf_counter()
        alone = np.concatenate([self.run((images[index : index + 1],))[0] for index in range(most)])
        self.seconds_per_image = (time.perf_counter() - started) / most
        for size in sorted({2**power for power in range(most.bit_length())} | {most}):
            probabilities, _ = self.run((images[:size],))
            if probabilities.shape != (size, 10):
                raise ModelFailed(f"{size} images gave probabilities of shape {probabilities.shape}")
            if session.provider == CPU and not np.array_equal(probabilities, alone[:size]):
                self.padded_to = most
                log.warning("micro-batches are padded: answers depend on their size", model=self.name, size=size)
                return


class Repository:
    """Loads what a folder holds and finds the version that a request asks for."""

    def __init__(
        self,
        root: Path,
        *,
        device: Device,
        threads: int,
        default_model: str,
        required: tuple[str, ...] = (),
        max_batch_size: int = 0,
    ) -> None:
        self.root = root
        self._device = device
        self._threads = threads
        self._default_model = default_model
        self._required = required
        self._max_batch_size = max_batch_size
        self._models: dict[str, list[ModelVersion]] = {}  # versions newest first
        self._lock = threading.Lock()

    def scan(self) -> list[ModelVersion]:
        """What is on disk, none of it loaded.

        Raises:
            StartupError: the folder holds no model, or not those that are required.
        """
        found = scan(self.root)
        names = {version.name for version in found}
        if not names:
            raise StartupError(
                f"No model in {self.root}: expected <name>/<version>/model.onnx. "
                "Set DIGITS_MODEL_REPOSITORY to a folder that has one, or run: digits train --recipe cnn"
            )
        if missing := [name for name in self._required if name not in names]:
            raise StartupError(
                f"Required model {missing[0]} is not in {self.root}, which has {', '.join(sorted(names))}. "
                "Train it, or mend DIGITS_REQUIRED_MODELS."
            )
        if self._default_model not in names:
            log.warning("the default model is not in the repository", default=self._default_model, has=sorted(names))
        return found

    def load(self) -> None:
        """Load every version on disk; a second call does nothing.

        Raises:
            StartupError: as `scan`; or a required model has no version that can be served, or the device that the
                settings ask for does not run.
        """
        with self._lock:
            if self._models:
                return
            models: dict[str, list[ModelVersion]] = {}
            for version in self.scan():
                self._load_version(version)
                models.setdefault(version.name, []).append(version)
            for name in self._required or tuple(models):
                if not any(version.state == "READY" for version in models[name]):
                    reasons = "; ".join(f"version {version.version}: {version.reason}" for version in models[name])
                    raise StartupError(f"Required model {name} of {self.root} cannot be served: {reasons}")
            self._models = models

    def _load_version(self, version: ModelVersion) -> None:
        try:
            version.load(self._device, self._threads, self._max_batch_size)
        except ModelFailed as error:
            version.state, version.reason = "FAILED", str(error)
            log.warning("model failed", model=version.name, version=version.version, reason=version.reason)
        else:
            version.state = "READY"

    def start(self, *, max_queue_size: int, inline_below_s: float) -> None:
        """Give every ready version its micro-batcher. Call on the event loop that will submit."""
        for version in self.versions():
            if version.state == "READY":
                version.batcher = MicroBatcher(
                    version.run,
                    # A thread of its own: neither another model nor a picture that is decoded may hold a run up.
                    ThreadPoolExecutor(1, thread_name_prefix=f"{version.name}-{version.version}"),
                    max_batch_size=version.max_batch_size,
                    max_queue_size=max_queue_size,
                    seconds_per_image=version.seconds_per_image,
                    inline_below_s=inline_below_s,
                )

    async def close(self) -> None:
        """Wait until every caller that is in has its answer."""
        for version in self.versions():
            if version.batcher is not None:
                await version.batcher.close()

    @property
    def required_models(self) -> tuple[str, ...]:
        return self._required or tuple(self._models)

    def has_ready(self, name: str) -> bool:
        """Whether a version of this model answers."""
        return self.newest(name) is not None

    def versions(self) -> Iterator[ModelVersion]:
        for versions in self._models.values():
            yield from versions

    def model_names(self) -> list[str]:
        return list(self._models)

    def model_versions(self, name: str) -> list[ModelVersion]:
        """Every version of a model, newest first.

        Raises:
            ModelNotFound: no such model.
        """
        if name not in self._models:
            raise ModelNotFound(f"No model {name!r} here. There are: {', '.join(self._models) or 'none yet'}.")
        return self._models[name]

    def find(self, name: str | None, version: str | None = None) -> ModelVersion:
        """The version a request asks for; by default the newest ready one of the default model.

        Raises:
            ModelNotFound: no such model or version.
            NotReady: it is there and cannot answer.
        """
        name = name or self._default_model
        if not self._models:
            raise NotReady("The models are being loaded. Ask again in a moment; /health/ready tells when.")
        versions = self.model_versions(name)
        if version is None:
            newest = self.newest(name)
            if newest is None:
                raise NotReady(f"No version of {name} is ready; /models/{name} says why.")
            return newest
        for candidate in versions:
            if candidate.version == version:
                if candidate.state != "READY":
                    raise NotReady(f"Version {version} of {name} is {candidate.state}: {candidate.reason}")
                return candidate
        raise ModelNotFound(
            f"No version {version!r} of {name} here. There are: {', '.join(v.version for v in versions)}."
        )

    def digit_models(self) -> list[ModelVersion]:
        """The newest ready version of every model that reads digits."""
        newest = (self.newest(name) for name in self._models)
        return [version for version in newest if version is not None]

    def newest(self, name: str) -> ModelVersion | None:
        """The newest version of a model that is ready, if any."""
        for version in self._models.get(name, ()):  # no generator: every request asks
            if version.state == "READY":
                return version
        return None


def scan(root: Path) -> list[ModelVersion]:
    """What `root` holds: models by name, their versions (whole numbers) newest first."""
    found = [
        ModelVersion(model.name, version.name, version)
        for model in _folders(root)
        for version in _folders(model)
        if version.name.isdecimal() and (version / "model.onnx").is_file()
    ]
    return sorted(found, key=lambda version: (version.name, -int(version.version)))


def _folders(path: Path) -> list[Path]:
    return [entry for entry in path.iterdir() if entry.is_dir() and entry.name[0] != "."] if path.is_dir() else []
