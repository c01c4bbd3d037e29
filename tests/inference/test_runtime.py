"""Providers, threads and the installation check."""

from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
from networks import write_linear_model

from service.errors import StartupError
from service.inference import runtime


@pytest.mark.parametrize(
    ("files", "cpus"),
    [
        ({"cpu.max": "150000 100000\n"}, 2),
        ({"cpu.max": "50000 100000\n"}, 1),
        ({"cpu/cpu.cfs_quota_us": "100000", "cpu/cpu.cfs_period_us": "100000"}, 1),
    ],
)
def test_cpus_come_from_the_containers_quota(
    tmp_path: Path, files: dict[str, str], cpus: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _pid: set(range(64)))
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    assert runtime.available_cpus(tmp_path) == cpus


@pytest.mark.parametrize("files", [{}, {"cpu.max": "max 100000\n"}, {"cpu/cpu.cfs_quota_us": "-1",
                                                                      "cpu/cpu.cfs_period_us": "100000"}])  # fmt: skip
def test_without_a_quota_the_affinity_counts(
    tmp_path: Path, files: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _pid: {0, 1, 2})
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    assert runtime.available_cpus(tmp_path) == 3


@pytest.mark.parametrize(("installed", "advice"), [(set(), "digit-service[cpu]"),
                                                   ({"onnxruntime", "onnxruntime-gpu"}, "pip uninstall")])  # fmt: skip
def test_none_or_both_runtimes_are_told_with_what_to_run(
    installed: set[str], advice: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def version(name: str) -> str:
        if name not in installed:
            raise metadata.PackageNotFoundError(name)
        return "1"

    monkeypatch.setattr(metadata, "version", version)
    with pytest.raises(StartupError, match=r"pip install") as error:
        runtime.check_installation()
    assert advice in error.value.detail


def test_one_runtime_is_fine() -> None:
    runtime.check_installation()


def test_a_session_tells_its_provider_and_runs(tmp_path: Path) -> None:
    session = runtime.load_session(write_linear_model(tmp_path), "auto", threads=1)
    assert session.provider == "CPUExecutionProvider"
    logits, probabilities = session.run({"image": np.zeros((3, 28, 28), np.uint8)})
    assert logits.shape == probabilities.shape == (3, 10)


def test_cuda_that_does_not_run_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StartupError, match="DIGITS_DEVICE"):
        runtime.load_session(write_linear_model(tmp_path), "cuda", threads=1)
