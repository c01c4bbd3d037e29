"""The model repository (`<name>/<version>/model.onnx` on disk) and what is loaded of it.

A change is prepared beside what answers, which may take long, and applied in one step on the event loop.
"""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import structlog

from service.errors import StartupError
from service.inference.disk import Disk
from service.inference.loaded import LoadedModels, Models
from service.inference.loading import load
from service.inference.runtime import Device
from service.inference.trial import ModelFailed
from service.inference.version import ModelVersion
from service.metrics import Metrics

log = structlog.stdlib.get_logger(__name__)


class Repository(LoadedModels):
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
        default_is_asked_for: bool = False,
        required: tuple[str, ...] = (),
        max_batch_size: int = 0,
        versions_kept: int = 0,
        metrics: Metrics | None = None,
    ) -> None:
        super().__init__(default_model)
        self.disk = Disk(root, mirrors)
        self._device = device
        self._threads = threads
        self._default_is_asked_for = default_is_asked_for
        self._required = required
        self._max_batch_size = max_batch_size
        self._versions_kept = versions_kept
        self._metrics = metrics or Metrics()
        self._limits: tuple[int, float] | None = None  # of the micro-batchers, once they are started
        self._draining: set[asyncio.Task[None]] = set()
        self._expected: set[str] = set()  # models that could be served once, and are neither removed nor unloaded
        self._lock = threading.Lock()

    def check(self) -> None:
        """See whether a start can succeed, as far as that can be told without loading.

        Raises:
            StartupError: there is no model on disk, or a required one is not there, or a default that is asked for.
        """
        names = {version.name for version in self.disk.fetch_first()}
        there = f"in {self.disk.folder}, which has {', '.join(sorted(names))}"
        if missing := [name for name in self._required if name not in names]:
            raise StartupError(f"Required model {missing[0]} is not {there}. Train it, or mend DIGITS_REQUIRED_MODELS.")
        if self._default_model not in names:
            if self._default_is_asked_for:
                raise StartupError(f"DIGITS_DEFAULT_MODEL={self._default_model} is not {there}. Name one of those.")
            # Nobody chose it: a repository of other networks is one, too.
            log.warning("the default model is not in the repository", default=self._default_model, has=sorted(names))

    def load(self, unloaded: frozenset[str] = frozenset()) -> None:
        """Load what is on disk but models that were `unloaded`; a second call does nothing.

        Raises:
            StartupError: as `check`; or no model can be served, or one that is required or the default, or the device
                that the settings ask for does not run.
        """
        with self._lock:
            if self._models:
                return
            self.check()
            models = self.prepare(unloaded)
            answering = {name for name, versions in models.items() if any(version.answers for version in versions)}
            needed = self._required or tuple({self._default_model} & models.keys())
            failed = [name for name in needed if name not in answering | unloaded]
            if failed or not answering | unloaded:
                name = failed[0] if failed else next(iter(models))
                reasons = "; ".join(f"version {version.version}: {version.reason}" for version in models[name])
                raise StartupError(f"Model {name} of {self.disk.folder} cannot be served: {reasons}")
            self.apply(models, unloaded)

    def prepare(self, unloaded: frozenset[str] = frozenset(), again: str | None = None) -> Models:
        """What should be loaded by what is on disk now; loads, warms and tests what is new. Takes long: in a thread.

        Versions that failed are tried again when their files changed, and those of the model `again` always.

        Raises:
            StartupError: at the first call: the device asked for does not run.
            OSError: the folder cannot be read.
        """
        models: Models = {}
        for candidate in self.disk.versions():
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

    @property
    def is_ready(self) -> bool:
        """Whether every required model answers, and there is one."""
        return bool(self.required_models) and all(map(self.has_ready, self.required_models))


async def _retire(version: ModelVersion, after_s: float) -> None:
    try:
        await asyncio.sleep(after_s)
    finally:
        await version.close()
        log.info("model retired", name=version.name, version=version.version)
