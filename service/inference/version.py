"""One version of one model: what it is, how it runs, and the micro-batcher that callers reach it through."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from service.errors import NotReady
from service.inference.batching import MicroBatcher
from service.inference.card import DIGITS, Card
from service.inference.runtime import Session, Tensor
from service.inference.tensors import UNSUPPORTED, TensorSpec, specs
from service.inference.waiting import Answer, Rows
from service.metrics import DigitMetrics, Metrics, VersionMetrics

State = Literal["LOADING", "READY", "FAILED", "UNAVAILABLE"]
SCORE = "out_of_distribution_score"  # the output of a network that can tell what is no digit, (n,) in 0..1
PICTURES = ("UINT8", (-1, 28, 28))  # an input for them
Stamp = tuple[tuple[str, int, int, int], ...]  # name, size, time of change and inode of each file


@dataclass(slots=True, eq=False)
class ModelVersion:
    """Files, card and, once loaded, session of one version.

    A version whose files changed into something that cannot be served is FAILED, and what was loaded before goes on
    answering: `answers` tells. `failed` is the stamp of files that were tried in vain.
    """

    name: str
    version: str
    path: Path
    stamp: Stamp = ()
    state: State = "LOADING"
    reason: str | None = None
    failed: Stamp | None = None
    card: Card = field(default_factory=Card)
    sha256: str = ""
    session: Session | None = None
    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()  # those that the protocol has a datatype for
    unsupported: tuple[TensorSpec, ...] = ()  # outputs that it has none for
    takes_pictures: bool = False  # of 28 x 28, so files that hold some, too
    reads_digits: bool = False
    has_batch_axis: bool = False
    shares_runs: bool = False  # the rows of several callers may go through the network together
    batcher: MicroBatcher | None = None
    metrics: VersionMetrics | None = None
    predictions: DigitMetrics | None = None
    seconds_per_image: float = 0.0
    max_batch_size: int = 0
    padded_to: int = 0  # rows that a run has at least
    _fetched: list[str] = field(default_factory=list)
    _fed: list[str] = field(default_factory=list)
    _probabilities: int = 0
    _score: int | None = None

    @property
    def answers(self) -> bool:
        """Whether it is loaded, checked and warm."""
        return self.session is not None

    @property
    def labels(self) -> list[str]:
        return self.card.labels or (DIGITS if self.reads_digits else [])

    def attach(self, session: Session) -> None:
        """Take the signature of a session, which is not in use before the version was checked."""
        self.inputs, found = specs(session.inputs), specs(session.outputs)
        self.outputs = tuple(spec for spec in found if spec.datatype != UNSUPPORTED)
        self.unsupported = tuple(spec for spec in found if spec.datatype == UNSUPPORTED)
        self._fed = [spec.name for spec in self.inputs]
        self._fetched = [spec.name for spec in self.outputs]
        self.has_batch_axis = bool(self.inputs) and all(
            spec.shape and spec.shape[0] == -1 for spec in (*self.inputs, *self.outputs)
        )
        self.takes_pictures = [spec[1:3] for spec in self.inputs] == [PICTURES]
        if "probabilities" in self._fetched:
            self._probabilities = self._fetched.index("probabilities")
        if SCORE in {spec.name for spec in self.outputs if spec.shape == (-1,)}:
            self._score = self._fetched.index(SCORE)
        self.session = session

    def output(self, name: str) -> int:
        """Where in `Answer.outputs` an output stands. Raises ValueError."""
        return self._fetched.index(name)

    async def infer(self, inputs: Rows, timeout_s: float) -> Answer:
        """`outputs` for `inputs`, one array each, in the order of the network's own.

        Raises:
            Overloaded, DeadlineExceeded, NotReady, InferenceFailed: see `MicroBatcher.submit`.
        """
        if self.batcher is None:
            raise NotReady(f"Version {self.version} of {self.name} is not loaded.")
        if self.shares_runs:
            return await self.batcher.submit(inputs, timeout_s)
        answer = await self.batcher.submit((_boxed(inputs),), timeout_s)
        return Answer.of(answer.outputs[0][0], answer.queue_s, answer.infer_s)

    def run(self, inputs: Rows) -> list[Tensor]:
        """The network's outputs for rows; after them, if it reads digits, its probabilities as we tell them, and in an
        eleventh column, if it has one, its out-of-distribution score.

        Told are 7 places in float64, which float32 holds and JSON shows shortly; rounding a batch costs what rounding
        a row does.
        """
        assert self.session is not None
        if not self.reads_digits:
            return self.session.run(dict(zip(self._fed, inputs, strict=True)), self._fetched)
        count = len(inputs[0])
        if count < self.padded_to:
            inputs = tuple([np.concatenate([rows, *[rows[-1:]] * (self.padded_to - count)]) for rows in inputs])
        outputs = self.session.run(dict(zip(self._fed, inputs, strict=True)), self._fetched)
        if count < self.padded_to:
            outputs = [rows[:count] for rows in outputs]
        told = np.empty((count, 10 if self._score is None else 11))
        told[:, :10] = outputs[self._probabilities]
        if self._score is not None:
            told[:, 10] = outputs[self._score]
        return [*outputs, told.round(7, out=told)]

    def start(self, *, max_queue_size: int, inline_below_s: float, metrics: Metrics) -> None:
        """Give it its micro-batcher. Call on the event loop that will submit."""
        self.metrics = metrics.of_version(self.name, self.version)
        self.predictions = metrics.of_digits(self.name) if self.reads_digits else None
        sizes_vary = any(-1 in spec.shape[1:] for spec in self.inputs)
        self.batcher = MicroBatcher(
            self.run if self.shares_runs else self._run_alone,
            # A thread of its own: neither another model nor a picture that is decoded may hold a run up.
            ThreadPoolExecutor(1, thread_name_prefix=f"{self.name}-{self.version}"),
            max_batch_size=self.max_batch_size if self.shares_runs else 1,
            max_queue_size=max_queue_size,
            seconds_per_image=self.seconds_per_image,
            # What a run will take is known where each of its rows is like the one that was timed.
            inline_below_s=0.0 if sizes_vary or (self.has_batch_axis and not self.shares_runs) else inline_below_s,
            shapes_vary=sizes_vary,
            metrics=self.metrics,
        )

    async def close(self) -> None:
        """Answer who is in, then let go of the network, whose memory and threads wait for no collector then."""
        if self.batcher is not None:
            await self.batcher.close()
        self.batcher = self.session = None

    def _run_alone(self, boxes: Rows) -> list[Tensor]:
        """One caller's tensors through the micro-batcher as if they were one row: shapes that nobody else's fit to."""
        return [_boxed(tuple(self.run(boxes[0][0])))]


def stamp(folder: Path) -> Stamp:
    """What tells that the files of a version changed. Raises OSError."""
    entries = [(str(entry.relative_to(folder)), entry.stat()) for entry in folder.rglob("*") if entry.is_file()]
    return tuple(sorted((name, told.st_size, told.st_mtime_ns, told.st_ino) for name, told in entries))


def _boxed(tensors: Rows) -> Tensor:
    box = np.empty(1, object)
    box[0] = tensors
    return box
