"""Makes a version ready: card, session, signature, trial runs, self-test. What cannot be served says why."""

from __future__ import annotations

import hashlib

import numpy as np

from service.errors import StartupError
from service.inference.card import DIGIT_TASK, read_card
from service.inference.runtime import Device, Session, load_session
from service.inference.trial import ModelFailed, probabilities, try_digits, try_tensors
from service.inference.version import ModelVersion, stamp

GOLDEN_TOLERANCE = 1e-3  # of a probability: TF32 and int8 kernels of another device differ by less


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
        try_digits(version, session)
        _test_itself(version)
    else:
        try_tensors(version)
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
    parts = [probabilities(version, images[first : first + size]) for first in range(0, len(images), size)]
    differ = np.abs(np.concatenate(parts) - expected).max(axis=1)
    if not (differ <= GOLDEN_TOLERANCE).all():
        raise ModelFailed(
            f"the self-test failed: golden picture {int(differ.argmax())} has probabilities that differ from "
            f"its card's by {differ.max():.2g}, more than {GOLDEN_TOLERANCE:g}"
        )
