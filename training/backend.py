"""Starts Keras, once the arguments and the data are known to be good: it takes seconds.

Says plainly what is not installed, and keeps what TensorFlow's C++ libraries chat while they load off the terminal.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from training.errors import TrainingError

NEEDED = ("keras", "tensorflow", "tf2onnx", "onnx", "onnxruntime")
STANDARD_ERROR = 2  # the descriptor that C++ writes to, whatever sys.stderr is


def start_keras() -> None:
    """Import Keras on the backend that KERAS_BACKEND names, TensorFlow by default.

    Raises:
        TrainingError: a package is missing, or the backend does not load.
    """
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise TrainingError(
            f"Training needs {', '.join(missing)}, not installed. Run: pip install 'digit-service[cpu,training]'"
        )
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # warnings of the libraries, once they are up
    try:
        with _silent():
            import keras  # noqa: F401
            import tensorflow as tf  # noqa: F401 - on other backends Keras loads it later, aloud
    except (ImportError, ValueError) as error:
        backend = os.environ.get("KERAS_BACKEND", "tensorflow")
        raise TrainingError(f"Keras does not start with KERAS_BACKEND={backend}: {error}") from None


@contextmanager
def _silent() -> Iterator[None]:
    # TensorFlow logs before its own log level counts; there is no other switch.
    kept = os.dup(STANDARD_ERROR)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, STANDARD_ERROR)
        yield
    finally:
        os.dup2(kept, STANDARD_ERROR)
        os.close(kept)
        os.close(nowhere)
