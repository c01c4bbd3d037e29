"""The model repository (`<name>/<version>/model.onnx` on disk) and what is loaded of it.

A change is prepared beside what answers, which may take long, and applied in one step on the event loop.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import structlog

from service.errors import ModelNotFound, NotReady, StartupError
from service.inference.loading import ModelFailed, load, stamp
from service.inference.mirror import Mirror, local_folder
from service.inference.runtime import Device
from service.inference.version import ModelVersion
from service.metrics import Metrics

Models = dict[str, list[ModelVersion]]  # versions newest first
JUST_NOW_S = 60.0  # the supervisor has fetched, then each worker starts
log = structlog.stdlib.get_logger(__name__)


class Repository:
    """Loads what a folder, or an address, holds and finds the version that a request asks for.

    Of a model the newest `versions_kept` that can be served are loaded; 0 means all.
    """

    def __init__(
        self,
        root: Path | str,
        *,
        mirrors: Path | None = None,
        device: Device,
        threads: int,
        default_model: str,
        required: tuple[str, ...] = (),
        max_batch_size: int = 0,
        versions_kept: int = 0,
        metrics: Metrics | None = None,
    ) -> None:
        self.root = local_folder(root, mirrors)
        self._mirror = None if isinstance(root, Path) else Mirror(root, self.root)
        self._device = device
        self._threads = threads
        self._default_model = default_model
        self._required = required
        self._max_batch_size = max_batch_size
        self._versions_kept = versions_kept
        self._metrics = metrics or Metrics()
        self._models: Models = {}
        self._limits: tuple[int, float] | None = None  # of the micro-batchers, once they are started
        self._draining: set[asyncio.Task[None]] = set()
        self._expected: set[str] = set()  # models that could be served once, and are neither removed nor unloaded
        self._lock = threading.Lock()

    def fetch(self, max_age_s: float = 0.0) -> None:
        """Where the repository is an address, bring the copy of it up to date. Takes long: in a thread.

        Raises:
            StartupError, OSError: see `Mirror.fetch`.
        """
        if self._mirror is not None:
            self._mirror.fetch(max_age_s)

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

    def load(self, unloaded: frozenset[str] = frozenset()) -> None:
        """Load what is on disk but models that were `unloaded`; a second call does nothing.

        Raises:
            StartupError: as `scan`; or a required model has no version that can be served, or the device that the
                settings ask for does not run.
        """
        with self._lock:
            if self._models:
                return
            self.fetch_and_scan()
            models = self.prepare(unloaded)
            for name in self._required or tuple(models):
                if name not in unloaded and not any(version.answers for version in models[name]):
                    reasons = "; ".join(f"version {version.version}: {version.reason}" for version in models[name])
                    raise StartupError(f"Required model {name} of {self.root} cannot be served: {reasons}")
            self.apply(models, unloaded)

    def fetch_and_scan(self) -> list[ModelVersion]:
        """`scan`, after `fetch`; where that fails, of what was copied before. Raises `StartupError`."""
        try:
            self.fetch(JUST_NOW_S)
        except OSError as error:
            if not scan(self.root):
                raise StartupError(f"{error}. Nothing was copied from there before.") from None
            log.warning("the models' source cannot be read; what was copied before is served", error=str(error))
        return self.scan()

    def prepare(self, unloaded: frozenset[str] = frozenset(), again: str | None = None) -> Models:
        """What should be loaded by what is on disk now; loads, warms and tests what is new. Takes long: in a thread.

        Versions that failed are tried again when their files changed, and those of the model `again` always.

        Raises:
            StartupError: at the first call: the device asked for does not run.
            OSError: the folder cannot be read.
        """
        if not self.root.is_dir():
            raise FileNotFoundError(f"{self.root} is gone; what is loaded stays")
        models: Models = {}
        for candidate in scan(self.root):
            versions = models.setdefault(candidate.name, [])
            if candidate.name in unloaded:
                candidate.state, candidate.reason = "UNAVAILABLE", "unloaded"
            elif self._versions_kept and sum(version.answers for version in versions) >= self._versions_kept:
                candidate.state = "UNAVAILABLE"
                candidate.reason = f"not among the newest {self._versions_kept} (DIGITS_VERSIONS_KEPT)"
            else:
                candidate = self._keep_or_load(candidate, again=candidate.name == again)  # noqa: PLW2901
            versions.append(candidate)
        return models

    def _keep_or_load(self, candidate: ModelVersion, *, again: bool) -> ModelVersion:
        known = self._known(candidate)
        if known is not None and known.answers and known.stamp == candidate.stamp:
            known.state, known.reason, known.failed = "READY", None, None
            return known
        if known is not None and known.failed == candidate.stamp and not again:
            return known
        must_read_digits = candidate.name == self._default_model
        try:
            load(
                candidate,
                self._device,
                self._threads,
                max_batch_size=self._max_batch_size,
                must_read_digits=must_read_digits,
            )
        except (ModelFailed, StartupError) as error:
            if isinstance(error, StartupError) and not self._models:
                raise
            log.warning("model failed", model=candidate.name, version=candidate.version, reason=str(error))
            failed = known if known is not None and known.answers else candidate
            failed.state, failed.reason, failed.failed = "FAILED", str(error), candidate.stamp
            return failed
        candidate.state = "READY"
        return candidate

    def _known(self, candidate: ModelVersion) -> ModelVersion | None:
        versions = self._models.get(candidate.name, ())
        return next((version for version in versions if version.version == candidate.version), None)

    def apply(self, models: Models, unloaded: frozenset[str] = frozenset(), retire_after_s: float = 0.0) -> None:
        """Let these versions answer, in one step; those that they replace drain, after `retire_after_s` seconds.

        Until then they take requests, for who found one of them before this step and has not read its body yet.
        """
        kept = {version for versions in models.values() for version in versions}
        retired = [version for version in self.versions() if version.batcher is not None and version not in kept]
        started = [version for version in kept if version.answers and version.batcher is None]
        if self._limits is not None:
            for version in started:
                self._start(version, *self._limits)
        self._models = models
        self._expected |= {name for name, versions in models.items() if any(version.answers for version in versions)}
        self._expected &= set(models) - unloaded
        for version in retired:
            task = asyncio.get_running_loop().create_task(_retire(version, retire_after_s))
            self._draining.add(task)
            task.add_done_callback(self._draining.discard)

    def start(self, *, max_queue_size: int, inline_below_s: float) -> None:
        """Give every version that can answer its micro-batcher, now and later. Call on the event loop."""
        self._limits = (max_queue_size, inline_below_s)
        for version in self.versions():
            if version.answers:
                self._start(version, *self._limits)

    def _start(self, version: ModelVersion, max_queue_size: int, inline_below_s: float) -> None:
        version.start(max_queue_size=max_queue_size, inline_below_s=inline_below_s, metrics=self._metrics)
        assert version.session is not None
        log.info(
            "model", name=version.name, version=version.version, state=version.state, provider=version.session.provider
        )

    def measure(self) -> None:
        """Tell the metrics what is loaded, what waits, and where it runs."""
        states: set[tuple[str, str, str]] = set()
        providers: set[tuple[str, str, str]] = set()
        for version in self.versions():
            states.add((version.name, version.version, version.state))
            if version.session is not None:
                providers.add((version.name, version.version, version.session.provider))
            if version.batcher is not None and version.metrics is not None:
                version.metrics.queued_images.set(version.batcher.statistics().queued_images)
        self._metrics.states(states, providers)

    async def close(self) -> None:
        """Wait until every caller that is in has its answer."""
        for task in self._draining:
            task.cancel()
        for version in self.versions():
            if version.batcher is not None:
                await version.batcher.close()
        await asyncio.gather(*self._draining, return_exceptions=True)

    @property
    def required_models(self) -> tuple[str, ...]:
        """What must be ready: as the settings say, else all that is there but models that never could be served."""
        return self._required or tuple(sorted(self._expected))

    def has_ready(self, name: str) -> bool:
        """Whether a version of this model answers."""
        return self.newest(name) is not None

    @property
    def is_ready(self) -> bool:
        """Whether every required model answers, and there is one."""
        return bool(self.required_models) and all(map(self.has_ready, self.required_models))

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

    def check_on_disk(self, name: str) -> None:
        """Raises `ModelNotFound` where the folder holds no version of a model."""
        names = sorted({version.name for version in scan(self.root)})
        if name not in names:
            raise ModelNotFound(f"No model {name!r} in {self.root}. There are: {', '.join(names)}.")

    def find(self, name: str | None, version: str | None = None, *, digits: bool = False) -> ModelVersion:
        """The version a request asks for; by default the newest of the default model that answers, and reads `digits`.

        Raises:
            ModelNotFound: no such model or version, or it reads no digits.
            NotReady: it is there and cannot answer.
        """
        name = name or self._default_model
        if not self._models:
            raise NotReady("The models are being loaded. Ask again in a moment; /health/ready tells when.")
        versions = self.model_versions(name)
        if version is None:
            newest = self.newest(name, digits=digits)
            if newest is not None:
                return newest
            if digits and self.newest(name) is not None:
                raise ModelNotFound(f"Model {name!r} reads no digits. Ask it at /v2/models/{name}/infer.")
            raise NotReady(f"No version of {name} is ready; /models/{name} says why.")
        for candidate in versions:
            if candidate.version == version:
                if not candidate.answers:
                    raise NotReady(f"Version {version} of {name} is {candidate.state}: {candidate.reason}")
                if digits and not candidate.reads_digits:
                    raise ModelNotFound(f"Version {version} of {name} reads no digits. Ask it at /v2/models/{name}.")
                return candidate
        raise ModelNotFound(
            f"No version {version!r} of {name} here. There are: {', '.join(v.version for v in versions)}."
        )

    def digit_models(self) -> list[ModelVersion]:
        """The newest version that answers of every model that reads digits."""
        newest = (self.newest(name, digits=True) for name in self._models)
        return [version for version in newest if version is not None]

    def newest(self, name: str, *, digits: bool = False) -> ModelVersion | None:
        """The newest version of a model that answers, and reads `digits`; None if there is none."""
        for version in self._models.get(name, ()):
            if version.session is not None and (version.reads_digits or not digits):
                return version
        return None


async def _retire(version: ModelVersion, after_s: float) -> None:
    try:
        await asyncio.sleep(after_s)
    finally:
        await version.close()
        log.info("model retired", name=version.name, version=version.version)


def scan(root: Path) -> list[ModelVersion]:
    """What `root` holds: models by name, their versions (whole numbers) newest first. None of it is loaded."""
    found = [
        ModelVersion(model.name, version.name, version, _stamp(version))
        for model in _folders(root)
        for version in _folders(model)
        if version.name.isdecimal() and (version / "model.onnx").is_file()
    ]
    return sorted(found, key=lambda version: (version.name, -int(version.version)))


def _stamp(folder: Path) -> tuple[tuple[str, int, int, int], ...]:
    try:
        return stamp(folder)
    except OSError:
        return ()


def _folders(path: Path) -> list[Path]:
    return [entry for entry in path.iterdir() if entry.is_dir() and entry.name[0] != "."] if path.is_dir() else []
