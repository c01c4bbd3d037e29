"""The only place that imports onnxruntime: which providers run, with how many threads, and that they are warm.

A session's provider is what it reports after it was made, never what was asked for.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

import numpy.typing as npt
import structlog

from service.errors import StartupError

Device = Literal["auto", "cpu", "cuda"]
Tensor = npt.NDArray[Any]

CUDA = "CUDAExecutionProvider"
CPU = "CPUExecutionProvider"

log = structlog.stdlib.get_logger(__name__)


def check_installation() -> None:
    """One of the two runtimes must be installed: both write into the same folder and break each other.

    Raises:
        StartupError: neither is installed, or both are; says what to run.

    Source: github.com/microsoft/onnxruntime/issues/26996
    """
    found = [name for name in ("onnxruntime", "onnxruntime-gpu") if _is_installed(name)]
    if not found:
        raise StartupError(
            "ONNX Runtime is not installed. Run: pip install 'digit-service[cpu]' (or [gpu] on a machine with CUDA)."
        )
    if len(found) > 1:
        raise StartupError(
            "onnxruntime and onnxruntime-gpu are both installed and overwrite each other. "
            "Run: pip uninstall -y onnxruntime onnxruntime-gpu && pip install 'digit-service[cpu]' (or [gpu])."
        )


def _is_installed(distribution: str) -> bool:
    try:
        metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return False
    return True


def available_cpus(cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """CPUs this process may use: its affinity, cut by the container's quota (cgroup v2, then v1)."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, math.ceil(min(allowed, _cpu_quota(cgroup))))


def _cpu_quota(cgroup: Path) -> float:
    try:
        quota, period = (cgroup / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            quota = (cgroup / "cpu/cpu.cfs_quota_us").read_text().strip()
            period = (cgroup / "cpu/cpu.cfs_period_us").read_text().strip()
        except OSError:
            return math.inf
    if quota == "max" or int(quota) <= 0:
        return math.inf
    return int(quota) / int(period)


class Session:
    """An ONNX Runtime session with what the service needs to know of it."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self.inputs: list[Any] = session.get_inputs()
        self.outputs: list[Any] = session.get_outputs()

    @property
    def provider(self) -> str:
        """The execution provider in use, as the session reports it."""
        return str(self._session.get_providers()[0])

    def run(self, feeds: Mapping[str, Tensor], outputs: Sequence[str] | None = None) -> list[Tensor]:
        """The named outputs (all of them by default) for the named inputs, in order."""
        result: list[Tensor] = self._session.run(outputs, feeds)
        return result


def load_session(model: Path, device: Device, threads: int, weights: Mapping[str, bytes] | None = None) -> Session:
    """Load a network on `device`; `weights` are the files beside it that it may refer to, by their relative paths.

    ONNX Runtime would map such a file, and the process die of SIGBUS once somebody copies another one over it.

    Raises:
        StartupError: `device` is `cuda` and CUDA is not what runs.
        Exception: onnxruntime's own, where the file is no network it can load.
    """
    import onnxruntime as ort

    ort.set_default_logger_severity(4)  # it prints to standard error beside our logs; what matters is raised or checked
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Spinning threads take the CPU from the event loop: 100 us a request on one core (docs/log.md).
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 4
    if weights:
        files = list(weights.values())
        options.add_external_initializers_from_files_in_memory([*weights], files, list(map(len, files)))
    providers = _wanted_providers(ort, device)
    # With CPU as a fall-back it prints to standard output and tries the same again.
    made = ort.InferenceSession(model, options, providers=providers, enable_fallback=int(len(providers) > 1))
    made.disable_fallback()  # else a run that fails on CUDA moves the session to the CPU for good, in silence
    session = Session(made)
    if device == "cuda" and session.provider != CUDA:
        raise StartupError(
            f"DIGITS_DEVICE=cuda, but {model} runs on {session.provider}: the CUDA or cuDNN libraries did not load. "
            "Run nvidia-smi, reinstall with pip install 'digit-service[gpu]', or set DIGITS_DEVICE=auto."
        )
    if device == "auto" and CUDA in ort.get_available_providers() and session.provider != CUDA:
        log.warning("CUDA is installed but does not run; using the CPU", model=str(model), provider=session.provider)
    return session


def check_device(device: Device) -> None:
    """Raises `StartupError` where CUDA is asked for and the installed runtime has none, without loading a network."""
    if device == "cuda":
        import onnxruntime as ort

        _wanted_providers(ort, device)


def _wanted_providers(ort: Any, device: Device) -> list[str]:
    available = ort.get_available_providers()
    if device == "cpu" or CUDA not in available:
        if device == "cuda":
            raise StartupError(
                f"DIGITS_DEVICE=cuda, but the installed ONNX Runtime has only {', '.join(available)}. "
                "Run: pip uninstall -y onnxruntime && pip install 'digit-service[gpu]', or set DIGITS_DEVICE=auto."
            )
        return [CPU]
    ort.preload_dlls()  # finds the CUDA and cuDNN libraries that pip installed
    return [CUDA, CPU]
