"""Makes a version ready: card, session, signature, warm-up, self-test. What cannot be served says why."""

from __future__ import annotations

import hashlib
import math
import time

import numpy as np
import structlog

from service.errors import StartupError
from service.inference.card import DIGIT_TASK, read_card
from service.inference.runtime import CPU, Device, Session, Tensor, load_session
from service.inference.tensors import UNSUPPORTED, TensorSpec, example
from service.inference.version import ModelVersion, stamp

DEFAULT_MAX_BATCH_SIZE = 32
DEFAULT_BATCH_BYTES, DEFAULT_BATCH_S = (
    1 << 28,
    2.0,
)  # of inputs and outputs, and of time, where nobody told a batch size
SIDES = (1, 32, 224)  # of dynamic dimensions, tried until the network takes them: convolutions want some room
TIMED_BATCH_SIZES = (8, 16, 32, 64)
TIMED_ROUNDS = 3
GOLDEN_TOLERANCE = 1e-3  # of a probability: TF32 and int8 kernels of another device differ by less
log = structlog.stdlib.get_logger(__name__)


class ModelFailed(Exception):
    """A version cannot be served; the text says why."""


def load(version: ModelVersion, device: Device, threads: int, *, max_batch_size: int, must_read_digits: bool) -> None:
    """Read the card, make the session, check its signature, warm it up, test it. `max_batch_size` 0 takes the card's.

    Raises:
        ModelFailed: it cannot be served.
        StartupError: the device asked for does not run.
    """
    try:
        version.stamp = stamp(version.path)
        content = (version.path / "model.onnx").read_bytes()
        weights = {name: (version.path / name).read_bytes() for name, *_ in version.stamp if not _is_known(name)}
        version.card = read_card(version.path)
    except (OSError, ValueError) as error:
        raise ModelFailed(f"{version.path}: {error}") from None
    version.sha256 = hashlib.sha256(content).hexdigest()
    if (expected := version.card.expected_sha256 or version.sha256) != version.sha256:
        raise ModelFailed(f"model.onnx has sha256 {version.sha256}, its card says {expected}")
    version.max_batch_size = max_batch_size or version.card.batching.max_batch_size or 0
    try:
        session = load_session(version.path / "model.onnx", device, threads, weights)
    except StartupError:
        raise
    except Exception as error:
        raise ModelFailed(f"onnxruntime does not load it: {error}") from error
    try:
        _try(version, session, must_read_digits=must_read_digits)
    except (ModelFailed, StartupError):
        version.session = None
        raise
    except Exception as error:  # a mutilated network raises anything, and it must not hide the others
        version.session = None
        raise ModelFailed(f"it cannot be served: {error!r}") from error


def _try(version: ModelVersion, session: Session, *, must_read_digits: bool) -> None:
    version.attach(session)
    _check_signature(version, session, must_read_digits=must_read_digits)
    _check_card(version)
    if version.reads_digits:
        _warm_up_digits(version, session)
        _test_itself(version)
    else:
        _warm_up(version)
    _check_unchanged(version)


def _is_known(name: str) -> bool:
    """Whether a file of a version is one of ours; any other may hold weights that the network refers to."""
    return name in ("model.onnx", "model.json") or name.endswith(".keras")


def _check_unchanged(version: ModelVersion) -> None:
    try:
        unchanged = stamp(version.path) == version.stamp
    except OSError:
        unchanged = False
    if not unchanged:
        raise ModelFailed("its files changed while they were loaded")


def _check_signature(version: ModelVersion, session: Session, *, must_read_digits: bool) -> None:
    takes_images = version.takes_pictures and version.has_batch_axis
    version.reads_digits = takes_images and "probabilities" in {spec.name for spec in version.outputs}
    if version.reads_digits or not (must_read_digits or version.card.task == DIGIT_TASK):
        return
    if not takes_images:
        given = [(node.type, node.shape) for node in (*session.inputs, *session.outputs)]
        raise ModelFailed(
            f"to read digits it needs one uint8 input (n, 28, 28) and n rows in all outputs, and has {given}"
        )
    raise ModelFailed("has no output named probabilities")


def _check_card(version: ModelVersion) -> None:
    card = version.card
    told = [("input", port, version.inputs) for port in [card.input] if port is not None]
    told += [("output", port, version.outputs) for port in card.outputs or ()]
    for kind, port, has in told:
        if all(port.differs_from(spec) for spec in has):
            raise ModelFailed(
                f"its card tells of {_told(kind, port.name, port.datatype, port.shape)}, and the network has "
                + ", ".join(_told(kind, *spec[:3]) for spec in has)
            )


def _told(kind: str, name: str, datatype: str, shape: object) -> str:
    return f"{kind} {name} {datatype} {list(shape)}"  # type: ignore[call-overload]


def _warm_up_digits(version: ModelVersion, session: Session) -> None:
    """Run every batch size once, and see whether an image's answer depends on its neighbours.

    On the CPU it does not for the sizes and networks we measured (docs/log.md); where it does, micro-batches are
    padded to one size, whose rows are then always computed alike.
    """
    version.shares_runs = True
    version.max_batch_size = most = version.max_batch_size or _best_batch_size(version)
    images = np.random.default_rng(0).integers(0, 256, (most, 28, 28), np.uint8)
    alone = np.concatenate([_probabilities(version, images[index : index + 1]) for index in range(most)])
    version.seconds_per_image = math.inf
    for size in _sizes(most):
        started = time.perf_counter()
        probabilities = _probabilities(version, images[:size])
        version.seconds_per_image = min(version.seconds_per_image, (time.perf_counter() - started) / size)
        if probabilities.shape != (size, 10):
            raise ModelFailed(f"{size} images gave probabilities of shape {probabilities.shape}")
        if session.provider == CPU and not np.array_equal(probabilities, alone[:size]):
            version.padded_to = most
            log.warning("micro-batches are padded: answers depend on their size", model=version.name, size=size)
            return


def _best_batch_size(version: ModelVersion) -> int:
    """Measured where no card tells it: the smallest size whose time an image is within 5 % of the least."""
    images = np.random.default_rng(0).integers(0, 256, (max(TIMED_BATCH_SIZES), 28, 28), np.uint8)
    times = dict.fromkeys(TIMED_BATCH_SIZES, math.inf)
    for _ in range(TIMED_ROUNDS):  # the first warms up; others may use the machine, so the fastest counts
        for size in TIMED_BATCH_SIZES:
            started = time.perf_counter()
            _probabilities(version, images[:size])
            times[size] = min(times[size], (time.perf_counter() - started) / size)
    return min(size for size in times if times[size] <= 1.05 * min(times.values()))


def _sizes(most: int) -> list[int]:
    return sorted({2**power for power in range(most.bit_length())} | {most})


def _probabilities(version: ModelVersion, images: Tensor) -> Tensor:
    try:
        outputs = version.run((images,))
    except Exception as error:
        raise ModelFailed(f"{len(images)} images made it fail: {error}") from error
    for spec, rows in zip(version.outputs, outputs, strict=False):  # after them comes what is told of them
        if len(rows) != len(images):
            raise ModelFailed(f"{len(images)} images gave {spec.name} of shape {rows.shape}")
    return outputs[version.output("probabilities")]


def _test_itself(version: ModelVersion) -> None:
    """Run the card's golden pictures on the device in use, and compare with what the network said when trained."""
    golden = version.card.golden
    if not golden:
        return
    try:
        images = version.card.golden_pictures()
    except ValueError as error:
        raise ModelFailed(f"its card's golden pictures: {error}") from None
    expected = np.array([one.probabilities for one in golden])
    size = version.max_batch_size
    parts = [_probabilities(version, images[first : first + size]) for first in range(0, len(images), size)]
    differ = np.abs(np.concatenate(parts) - expected).max(axis=1)
    if not (differ <= GOLDEN_TOLERANCE).all():
        raise ModelFailed(
            f"the self-test failed: golden picture {int(differ.argmax())} has probabilities that differ from "
            f"its card's by {differ.max():.2g}, more than {GOLDEN_TOLERANCE:g}"
        )


def _warm_up(version: ModelVersion) -> None:
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
