"""The `digits` command, run as users run it: in a pipe, at a terminal, against a service."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
from functools import partial
from io import StringIO
from pathlib import Path

import pytest
from conftest import ROOT, png, strokes
from live import Live, digits, serving
from terminal import at_a_terminal

SEVEN = ROOT / "service/examples/seven.png"


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    """A good picture, one that is none, and one that is not there."""
    good, bad = tmp_path / "good.png", tmp_path / "bad.png"
    good.write_bytes(png(strokes()))
    bad.write_bytes(b"hello")
    return [str(good), str(bad), str(tmp_path / "missing.png")]


def test_predict_reads_files_and_tells_the_bad_ones(files: list[str], models: Path) -> None:
    done = digits("predict", *files, models=models)
    assert done.returncode == 1
    assert done.stdout.startswith(f"{files[0]}: ")
    assert done.stdout.count("\n") == 1
    assert [line.split(": ")[0] for line in done.stderr.splitlines()] == files[1:]
    assert digits("predict", files[0], models=models).returncode == 0


def test_predict_reads_folders_and_standard_input(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    for name in ("below/b.png", "a.PNG", "notes.txt"):
        (tmp_path / name).write_bytes(SEVEN.read_bytes())
    done = digits("predict", str(tmp_path))
    assert [line.split(": ")[0] for line in done.stdout.splitlines()] == [
        str(tmp_path / "a.PNG"),
        str(tmp_path / "below/b.png"),
    ]
    piped = subprocess.run(
        [sys.executable, "-m", "service", "predict", "-"],
        cwd=ROOT, input=SEVEN.read_bytes(), capture_output=True, check=True,
    )  # fmt: skip
    assert piped.stdout.decode().startswith("-: 7 (")
    (tmp_path / "empty").mkdir()
    empty = digits("predict", str(tmp_path / "empty"))
    assert (empty.returncode, empty.stdout) == (2, "")
    assert "holds no picture" in empty.stderr


def test_json_and_csv_hold_every_file_in_order(files: list[str], models: Path) -> None:
    done = digits("predict", *files, "--json", models=models)
    answers = json.loads(done.stdout)
    assert done.returncode == 1
    assert [answer["file"] for answer in answers] == files
    assert [answer.get("error", {}).get("code") for answer in answers] == [None, "invalid_image", "unreadable"]
    assert sum(answers[0]["probabilities"]) == pytest.approx(1, abs=1e-5)
    table = list(csv.DictReader(StringIO(digits("predict", *files, "--csv", models=models).stdout)))
    assert [line["file"] for line in table] == files
    assert table[0]["digit"] == str(answers[0]["digit"])
    assert float(table[0]["p3"]) == answers[0]["probabilities"][3]
    assert "No such file" in table[2]["error"]


def test_a_running_service_gives_the_same_answers(files: list[str], models: Path, live: Live) -> None:
    for arguments in (["predict", *files, "--json"], ["confidence", files[0], "--json"]):
        here = digits(*arguments, models=models)
        there = digits(*arguments, "--url", live.url)
        assert json.loads(there.stdout) == json.loads(here.stdout)
        assert there.returncode == here.returncode
    assert "READY" in digits("models", "--url", live.url).stdout


def test_the_key_of_a_service_comes_from_the_environment(models: Path) -> None:
    with serving(models, DIGITS_API_KEY="sésame à 5 €") as live:
        refused = digits("predict", str(SEVEN), "--url", live.url)
        assert (refused.returncode, refused.stdout) == (2, "")
        assert "wants an API key" in refused.stderr
        assert digits("predict", str(SEVEN), "--url", live.url, DIGITS_API_KEY="sésame à 5 €").returncode == 0


@pytest.mark.parametrize(
    ("arguments", "told", "code"),
    [
        (["predict", str(SEVEN), "--url", "http://127.0.0.1:9"], "does not answer", 1),
        (["predict", str(SEVEN), "--url", "ftp://127.0.0.1"], "expected an address", 1),
        (["predict", str(SEVEN), "--url", "http://127.0.0.1:eighty"], "--url", 1),
        (["predict", str(SEVEN), "--model", "resnet"], "resnet", 2),
        (["random", "--n", "101"], "there are 100 test digits", 2),
        (["random", "--data", "/nowhere"], "/nowhere does not exist", 2),
        (["confidence", "/nowhere.png"], "No such file", 1),
        (["confidence", str(SEVEN.parent)], "is a folder: expected one picture", 2),
    ],
)
def test_a_mistake_is_one_line_and_a_code(arguments: list[str], told: str, code: int) -> None:
    done = digits(*arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert told in done.stderr
    assert done.stderr.count("\n") == 1


def test_confidence_shows_the_picture_and_a_bar_for_every_digit_and_network() -> None:
    done = digits("confidence", str(SEVEN))
    assert done.returncode == 0
    assert "█" in done.stdout
    assert "cnn" in done.stdout
    assert "dense" in done.stdout
    assert done.stdout.count("%") == 22
    assert done.stdout.splitlines()[-1].startswith("7 (")
    table = list(csv.DictReader(StringIO(digits("confidence", str(SEVEN), "--csv").stdout)))
    assert [(line["model"], line["digit"]) for line in table] == [
        (name, str(digit)) for name in ("cnn", "dense") for digit in range(10)
    ]


def test_random_test_digits_are_read_and_scored() -> None:
    done = digits("random", "--n", "100", "--seed", "1")
    right = int(done.stdout.split(" of ")[0])
    assert 90 <= right <= 100
    assert done.stdout.count("\n") == 1 + 100 - right
    assert "true digit" in digits("random", "--seed", "1").stdout.splitlines()[-1]
    again = [digits("random", "--n", "5", "--seed", "3", "--json").stdout for _ in range(2)]
    assert again[0] == again[1]
    assert {answer["label"] for answer in json.loads(again[0])} <= set(range(10))


def test_a_terminal_gets_a_table_with_bars_that_fits(files: list[str], models: Path) -> None:
    for columns in (46, 80, 120):
        code, written = at_a_terminal(
            "predict", *files, columns=columns, NO_COLOR="1", DIGITS_MODEL_REPOSITORY=str(models)
        )
        assert code == 1
        assert "Confidence" in written
        assert "░" in written
        table = written.partition(files[1] + ":")[0]
        assert max(map(len, table.splitlines())) <= columns


ODD_NAMES = [
    b"[red]x.png",
    b"\x1b[31mred.png",
    b"new\nline.png",
    b"\xff\xfe.png",
    "\u202egpj.png".encode(),
    b"=a,b.png",
]


def test_names_of_files_do_nothing_to_a_terminal_and_are_whole_in_csv_and_json(tmp_path: Path) -> None:
    for name in ODD_NAMES:
        shutil.copy(SEVEN, tmp_path / os.fsdecode(name))
    code, written = at_a_terminal("predict", str(tmp_path), columns=200, NO_COLOR="1")
    assert code == 0
    assert "\x1b" not in written
    told = {line.split()[0].rpartition("/")[2] for line in written.splitlines()[1:]}
    expected = {"[red]x.png", "\\x1b[31mred.png", "new\\nline.png", "\\udcff\\udcfe.png", "\\u202egpj.png", "=a,b.png"}
    assert told == expected
    for form in ("--csv", "--json"):
        done = subprocess.run(
            [sys.executable, "-m", "service", "predict", str(tmp_path), form],
            cwd=ROOT, env={**os.environ, "PYTHONUTF8": "1"}, capture_output=True, check=True,
        )  # fmt: skip
        text = done.stdout.decode(errors="surrogateescape")
        rows = json.loads(text) if form == "--json" else csv.DictReader(StringIO(text, newline=""))
        assert {os.fsencode(Path(row["file"]).name) for row in rows} == set(ODD_NAMES)


def test_a_terminal_that_cannot_show_a_bar_gets_question_marks() -> None:
    done = digits("confidence", str(SEVEN), PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, "")
    assert "??" in done.stdout


def test_nothing_that_is_not_certain_is_told_as_certain() -> None:
    for done in (digits("predict", str(SEVEN)), digits("confidence", str(SEVEN))):
        assert ">99.9%" in done.stdout
        assert "100" not in done.stdout


def predicting(*arguments: str) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    command = [sys.executable, "-m", "service", "predict", *arguments]
    # Whoever runs the tests in the background has a shell that lets its children ignore Ctrl-C.
    heard = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    return subprocess.Popen(
        command,
        cwd=ROOT,
        stdin=pipe,
        stdout=pipe,
        stderr=pipe,
        text=True,
        preexec_fn=heard,  # noqa: PLW1509 - no threads
    )


@pytest.mark.parametrize("form", [[], ["--csv"]])
def test_a_reader_that_leaves_gets_no_traceback(form: list[str]) -> None:
    with predicting(*[str(SEVEN)] * 200, *form) as process:
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""


def test_who_stops_it_gets_no_traceback() -> None:
    with predicting(str(SEVEN), "-") as process:
        process.stdout.readline()  # it has read the first, and waits for standard input, which never ends
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 130
        assert "Traceback" not in process.stderr.read()


def test_colours_are_left_out_where_nobody_wants_them() -> None:
    assert "\x1b[36m" in at_a_terminal("predict", str(SEVEN))[1]
    assert "\x1b" not in at_a_terminal("predict", str(SEVEN), NO_COLOR="1")[1]
    assert "\x1b" not in digits("predict", str(SEVEN)).stdout
    assert "\x1b[36m" in digits("predict", str(SEVEN), FORCE_COLOR="1").stdout
    assert "\x1b" not in at_a_terminal("predict", str(SEVEN), TERM="dumb")[1]


def test_many_files_show_how_far_it_is_at_a_terminal(tmp_path: Path) -> None:
    for number in range(30):
        (tmp_path / f"{number}.png").write_bytes(SEVEN.read_bytes())
    assert "Reading" in at_a_terminal("predict", str(tmp_path))[1]
    assert digits("predict", str(tmp_path)).stderr == ""


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
    assert [row["model"] for row in json.loads(digits("models", "--json", models=models).stdout)] == ["cnn", "dense"]


@pytest.mark.parametrize(
    ("arguments", "environment", "told"),
    [
        (["serve"], {"DIGITS_PORT": "eighty"}, "DIGITS_PORT='eighty'"),
        (["serve"], {"DIGITS_MODEL_REPOSITORY": "/nowhere"}, "DIGITS_MODEL_REPOSITORY"),
        (
            ["serve"],
            {"DIGITS_MODEL_REPOSITORY": "ftp://x/y"},
            "DIGITS_MODEL_REPOSITORY='ftp://x/y': Input should be a fol",
        ),
        (["serve"], {"DIGITS_HOST": "nosuch.invalid"}, "Expected an address or a name of this machine"),
        (["serve"], {"DIGITS_HOST": "a..b"}, "DIGITS_HOST=a..b DIGITS_PORT=8000: not a name"),
        (["serve"], {"DIGITS_DEVICE": "cuda"}, "DIGITS_DEVICE=cuda"),
        (["serve"], {"DIGITS_REQUIRED_MODELS": "resnet"}, "resnet"),
        (["serve"], {"DIGITS_DEFAULT_MODEL": "resnet"}, "which has cnn, dense. Name one of those."),
        (["serve"], {"DIGITS_DEFAULT_MODEL": "resnet", "DIGITS_WORKERS": "2"}, "DIGITS_DEFAULT_MODEL=resnet"),
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


COMMANDS = ("predict", "confidence", "random", "models", "serve", "train", "evaluate", "report", "bench")


def test_help_and_version_answer_without_heavy_imports() -> None:
    assert "digit-service" in digits("--version").stdout
    shown = digits("--help").stdout
    assert all(command in shown for command in COMMANDS)
    loaded = subprocess.run(
        [sys.executable, "-c", "import sys, service.cli; print(*sys.modules)"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    assert not {"onnxruntime", "numpy", "fastapi", "tensorflow", "keras", "PIL"} & set(loaded)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_helps_with_an_example(command: str) -> None:
    shown = digits(command, "--help").stdout
    assert "Example:" in shown
    assert f"digits {command}" in shown


@pytest.mark.parametrize(
    ("shell", "typed"),
    [("bash", {"COMP_WORDS": "digits pre", "COMP_CWORD": "1"}), ("zsh", {"_TYPER_COMPLETE_ARGS": "digits pre"})],
)
def test_a_shell_completes_commands(shell: str, typed: dict[str, str]) -> None:
    command = [sys.executable, "-c", "from service.cli import app; app(prog_name='digits')"]
    environment = {**os.environ, **typed, "_DIGITS_COMPLETE": f"complete_{shell}"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert "predict" in done.stdout
    assert "confidence" not in done.stdout


def test_the_benchmark_says_where_it_is() -> None:
    absent = "import sys; sys.modules['benchmarks'] = None; sys.argv = ['digits', 'bench']; "
    command = [sys.executable, "-c", absent + "from service.cli import main; main()"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert "run `make bench` in a clone" in done.stderr


def test_the_shell_can_complete_it() -> None:
    shown = digits("--show-completion", "bash", _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1")
    assert "COMP_WORDS" in shown.stdout


def test_a_mistyped_option_is_told_without_a_traceback() -> None:
    done = digits("predict", "--modle", "cnn", str(SEVEN))
    assert done.returncode == 2
    assert "--modle" in done.stderr
    assert "Traceback" not in done.stderr
