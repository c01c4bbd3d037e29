"""The `digits` command, run as users run it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, png, strokes
from live import digits


def test_predict_reads_files_and_tells_the_bad_ones(tmp_path: Path, models: Path) -> None:
    good, bad = tmp_path / "good.png", tmp_path / "bad.png"
    good.write_bytes(png(strokes()))
    bad.write_bytes(b"hello")
    done = digits("predict", str(good), str(bad), str(tmp_path / "missing.png"), models=models)
    assert done.returncode == 1
    assert done.stdout.startswith(f"{good}: ")
    assert re.search(r": \d \(\d+\.\d%(, ambiguous)?\)$", done.stdout.rstrip())
    assert [line.split(": ")[0] for line in done.stderr.splitlines()] == [str(bad), str(tmp_path / "missing.png")]
    assert digits("predict", str(good), models=models).returncode == 0


def test_predict_draws_a_bar_for_each_digit(tmp_path: Path, models: Path) -> None:
    (tmp_path / "digit.png").write_bytes(png(strokes()))
    lines = digits("predict", str(tmp_path / "digit.png"), "--chart", models=models).stdout.splitlines()[1:]
    bars = [re.fullmatch(r"  (\d) (#*) +([\d.]+)%", line) for line in lines]
    assert [bar[1] for bar in bars if bar] == list("0123456789")
    assert all(abs(len(bar[2]) - 0.4 * float(bar[3])) <= 0.6 for bar in bars if bar)


@pytest.mark.parametrize("command", ["evaluate", "report"])
def test_what_needs_more_packages_says_so_in_one_line(command: str, models: Path) -> None:
    program = f"import sys; sys.modules['sklearn'] = None; sys.argv = ['digits', '{command}', 'cnn']; "
    environment = {**os.environ, "DIGITS_MODEL_REPOSITORY": str(models)}
    done = subprocess.run(
        [sys.executable, "-c", program + "from service.cli import main; main()"],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert "pip install 'digit-service[cpu,training]'" in done.stderr


def test_models_lists_the_repository(models: Path) -> None:
    done = digits("models", models=models)
    assert done.returncode == 0
    assert [line.split()[:2] for line in done.stdout.splitlines()] == [
        ["MODEL", "VERSION"],
        ["cnn", "1"],
        ["dense", "1"],
    ]


@pytest.mark.parametrize(
    ("arguments", "environment", "told"),
    [
        (["serve"], {"DIGITS_PORT": "eighty"}, "DIGITS_PORT='eighty'"),
        (["serve"], {"DIGITS_MODEL_REPOSITORY": "/nowhere"}, "DIGITS_MODEL_REPOSITORY"),
        (["serve"], {"DIGITS_DEVICE": "cuda"}, "DIGITS_DEVICE=cuda"),
        (["serve"], {"DIGITS_REQUIRED_MODELS": "resnet"}, "resnet"),
        (["models"], {"DIGITS_MODEL_REPOSITORY": "/nowhere"}, "No model in /nowhere"),
    ],
)
def test_a_start_that_fails_is_one_line_and_a_code(
    arguments: list[str], environment: dict[str, str], told: str, models: Path
) -> None:
    done = digits(*arguments, **{"DIGITS_MODEL_REPOSITORY": str(models), **environment})
    assert done.returncode == 1
    assert told in done.stderr
    assert "Traceback" not in done.stderr
    assert [line for line in done.stderr.splitlines() if line.startswith("digits: ")] == [done.stderr.splitlines()[-1]]


def test_help_and_version_answer_without_heavy_imports() -> None:
    assert "digit-service" in digits("--version").stdout
    shown = digits("--help").stdout
    assert all(command in shown for command in ("serve", "train", "predict", "models"))
    loaded = subprocess.run(
        [sys.executable, "-c", "import sys, service.cli; print(*sys.modules)"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    assert not {"onnxruntime", "numpy", "fastapi", "tensorflow", "keras"} & set(loaded)
