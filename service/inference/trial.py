"""Trial runs of a network that was just loaded: which sizes it is fast at, whether its rows depend on each other."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence

import numpy as np
import structlog

from service.inference.runtime import CPU, Session, Tensor
from service.inference.tensors import UNSUPPORTED, TensorSpec, example
from service.inference.version import ModelVersion

DEFAULT_MAX_BATCH_SIZE = 32
DEFAULT_BATCH_BYTES, DEFAULT_BATCH_S = (
    1 << 28,
    2.0,
)  # of inputs and outputs, and of time, where nobody told a batch size
SIDES = (1, 32, 224)  # of dynamic dimensions, tried until the network takes them: convolutions want some room
TIMED_BATCH_SIZES = (8, 16, 32, 64)
TIMED_ROUNDS = 5
# What a micro-batch costs beside its network: after it, all else in the service begins with cold caches (docs/log.md).
RUN_OVERHEAD_S = 0.0004
FEW = (1, 2, 4)  # rows that a lone picture may be run with
FEW_ROUNDS = 8
WORTH_PADDING = 0.9  # of the time of a single row: less is saved only by chance
COMPARED_IMAGES = 64  # alone and in batches
log = structlog.stdlib.get_logger(__name__)


class ModelFailed(Exception):
    """A version cannot be served; the text says why."""


def try_digits(version: ModelVersion, session: Session) -> None:
    """Run every batch size once, and see whether an image's answer depends on its neighbours.

    On the CPU it does not for the sizes and networks we measured (docs/log.md); where it does, micro-batches are
    padded to one size, whose rows are then always computed alike. Elsewhere single pictures may be padded, for speed.
    """
    version.shares_runs = True
    version.max_batch_size = most = version.max_batch_size or best_batch_size(_timed(version))
    images = np.random.default_rng(0).integers(0, 256, (most, 28, 28), np.uint8)
    compared = min(most, COMPARED_IMAGES)
    alone = np.concatenate([probabilities(version, images[index : index + 1]) for index in range(compared)])
    version.seconds_per_image = math.inf
    for size in _sizes(most):
        started = time.perf_counter()
        found = probabilities(version, images[:size])
        version.seconds_per_image = min(version.seconds_per_image, (time.perf_counter() - started) / size)
        if found.shape != (size, 10):
            raise ModelFailed(f"{size} images gave probabilities of shape {found.shape}")
        if session.provider == CPU and not np.array_equal(found[:compared], alone[:size]):
            version.padded_to = most
            log.warning("micro-batches are padded: answers depend on their size", model=version.name, size=size)
            return
    if session.provider == CPU:
        version.padded_to = _least_rows(version, images)


def _least_rows(version: ModelVersion, images: Tensor) -> int:
    """How many rows a lone picture is best run with: kernels made for one row may take longer than two or four rows do
    (docs/log.md).
    """
    times = _fastest(version, images, [size for size in FEW if size <= len(images)], FEW_ROUNDS)
    best = min(times, key=times.__getitem__)
    return best if times[best] < WORTH_PADDING * times[1] else 1


def _timed(version: ModelVersion) -> dict[int, float]:
    """Seconds of a run of each of `TIMED_BATCH_SIZES`, measured where no card tells the best of them."""
    images = np.random.default_rng(0).integers(0, 256, (max(TIMED_BATCH_SIZES), 28, 28), np.uint8)
    return _fastest(version, images, TIMED_BATCH_SIZES, TIMED_ROUNDS)


def best_batch_size(seconds: Mapping[int, float]) -> int:
    """By the seconds of a run of each size: the smallest whose cost an image is within 5 % of the least."""
    costs = {size: (took + RUN_OVERHEAD_S) / size for size, took in seconds.items()}
    return min(size for size in costs if costs[size] <= 1.05 * min(costs.values()))


def _fastest(version: ModelVersion, images: Tensor, sizes: Sequence[int], rounds: int) -> dict[int, float]:
    """Seconds of a run of each size. The first round warms up; others may use the machine, so the fastest counts."""
    times = dict.fromkeys(sizes, math.inf)
    for _ in range(rounds):
        for size in sizes:
            started = time.perf_counter()
            probabilities(version, images[:size])
            times[size] = min(times[size], time.perf_counter() - started)
    return times


def _sizes(most: int) -> list[int]:
    return sorted({2**power for power in range(most.bit_length())} | {most})


def probabilities(version: ModelVersion, images: Tensor) -> Tensor:
    """What a network that reads digits says of images, (n, 10). Raises `ModelFailed`."""
    try:
        outputs = version.run((images,))
    except Exception as error:
        raise ModelFailed(f"{len(images)} images made it fail: {error}") from error
    for spec, rows in zip(version.outputs, outputs, strict=False):  # after them comes what is told of them
        if len(rows) != len(images):
            raise ModelFailed(f"{len(images)} images gave {spec.name} of shape {rows.shape}")
    return outputs[version.output("probabilities")]


def try_tensors(version: ModelVersion) -> None:
    """Run a network that we know nothing of on made-up tensors, and see whether callers may share its runs.

    They may where each has a row of its own along a dynamic first axis, whose answer does not depend on the others.
    """
    reason = ""
    told, version.max_batch_size = version.max_batch_size, version.max_batch_size or DEFAULT_MAX_BATCH_SIZE
    if not version.outputs or any(spec.datatype == UNSUPPORTED for spec in version.inputs):
        return  # nobody can ask it
    rng = np.random.default_rng(0)
    for side in SIDES:
        try:
            row = _example(version.inputs, 1, side, rng)
            outputs = version.run(row)
            started = time.perf_counter()  # the first run is slower than all others
            version.run(row)
            version.seconds_per_image = time.perf_counter() - started
            if not told:
                row_bytes = max(1, sum(array.nbytes for array in (*row, *outputs)))
                most = min(DEFAULT_BATCH_BYTES // row_bytes, int(DEFAULT_BATCH_S / version.seconds_per_image))
                version.max_batch_size = max(1, min(DEFAULT_MAX_BATCH_SIZE, most))
            version.shares_runs = version.has_batch_axis and _rows_are_independent(version, side, rng)
        except Exception as error:  # noqa: BLE001 - the network may be right to refuse what we made up
            reason = str(error)[:500]
        else:
            return
    log.warning("not warmed up: it refuses made-up tensors", model=version.name, reason=reason)


def _example(inputs: tuple[TensorSpec, ...], rows: int, side: int, rng: np.random.Generator) -> tuple[Tensor, ...]:
    return tuple([example(spec, rows, side, rng) for spec in inputs])


def _rows_are_independent(version: ModelVersion, side: int, rng: np.random.Generator) -> bool:
    most = version.max_batch_size
    rows, sizes = _example(version.inputs, most, side, rng), _sizes(most)
    some = sorted({0, min(1, most - 1), *(size - 1 for size in sizes)})  # the last row of each size may see them all
    alone = {index: version.run(tuple([array[index : index + 1] for array in rows])) for index in some}
    for size in sizes:
        together = version.run(tuple([array[:size] for array in rows]))
        for index, own in alone.items():
            for all_rows, row in zip(together, own, strict=True):
                if len(all_rows) != size or len(row) != 1:
                    return False
                if index < size and not _close(all_rows[index], row[0]):
                    return False
    return True


def _close(one: Tensor, other: Tensor) -> bool:
    if np.shape(one) == np.shape(other) and np.asarray(one).dtype.kind == "f":
        return np.allclose(one, other, rtol=1e-3, atol=1e-5, equal_nan=True)
    return np.array_equal(one, other)
