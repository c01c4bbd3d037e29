"""What the commands print: tables with bars on a terminal, plain lines into a pipe, JSON or CSV where asked for.

Tables fit the terminal's width; with NO_COLOR there is no escape sequence at all. Errors and the progress bar go to
standard error.
"""

from __future__ import annotations

import csv
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from rich.columns import Columns
from rich.console import Console
from rich.progress import track
from rich.table import Table
from rich.text import Text

from service.errors import StartupError

FEW = 20  # pictures that are read before a progress bar could be looked at
WIDE = 78  # characters; bars are half as long in narrower terminals
ALMOST_CERTAIN = 0.9995
SHADES = " ░▒▓█"
COLOURS = ("cyan", "yellow", "magenta")  # of the networks, in order
Answer = dict[str, Any]
T = TypeVar("T")


def _console(*, stderr: bool = False) -> Console:
    return Console(stderr=stderr, color_system=None if os.environ.get("NO_COLOR") else "auto")


def printable(name: str) -> str:
    """A file's name for a terminal: what could move its cursor, turn the line round or fail to print is spelled."""
    return "".join(
        letter if letter.isprintable() or letter == "\u200d" else letter.encode("unicode_escape").decode()
        for letter in name
    )


def percent(share: float) -> str:
    """Never 100% of what is not certain."""
    return ">99.9%" if share >= ALMOST_CERTAIN else f"{share:.1%}"


def print_json(answer: Answer | list[Answer]) -> None:
    """A list with a line for each of its answers."""
    if isinstance(answer, list):
        print("[\n" + ",\n".join(map(json.dumps, answer)) + "\n]")
    else:
        print(json.dumps(answer))


def progress(items: Sequence[T]) -> Iterable[T]:
    """The items, with a bar on a terminal where there are many."""
    console = _console(stderr=True)
    return track(
        items, "Reading", console=console, transient=True, disable=len(items) <= FEW or not console.is_terminal
    )


@contextmanager
def printer(*, as_json: bool, as_csv: bool) -> Iterator[Callable[[Answer], None]]:
    """Takes the answers one by one and prints them in the form that was asked for."""
    if as_json and as_csv:
        raise StartupError("Give one of --json and --csv.")
    answers: list[Answer] = []
    if as_json:
        yield answers.append
        print_json(answers)
    elif as_csv:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(
            ["file", "label", "digit", "confidence", "verdict", "reason", *(f"p{d}" for d in range(10)), "error"]
        )
        yield lambda answer: writer.writerow(_csv_row(answer))
    elif _console().is_terminal:
        yield answers.append
        _print_table([answer for answer in answers if "error" not in answer])
        _print_errors(answers)
    else:
        yield _print_line


def _csv_row(answer: Answer) -> list[Any]:
    fields = [answer.get(name) for name in ("file", "label", "digit", "confidence", "verdict", "reason")]
    return [*fields, *answer.get("probabilities", [None] * 10), answer.get("error", {}).get("detail")]


def _print_line(answer: Answer) -> None:
    if "error" in answer:
        _print_errors([answer])
    else:
        print(f"{printable(answer['file'])}: {in_words(answer)}", flush=True)


def _print_errors(answers: Iterable[Answer]) -> None:
    for answer in answers:
        if "error" in answer:
            print_error(answer["file"], answer["error"]["detail"])


def print_error(file: str, detail: str) -> None:
    print(f"{printable(file)}: {detail}", file=sys.stderr, flush=True)


def in_words(answer: Answer) -> str:
    """Such as "7 (99.8%)"."""
    reason = answer.get("reason")
    if answer["digit"] is None:
        return f"not a digit ({reason})"
    doubt = f", {reason}" if reason else ""
    return f"{answer['digit']} ({percent(answer['confidence'])}{doubt})"


def _print_table(answers: list[Answer]) -> None:
    if not answers:
        return
    console = _console()
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("File", overflow="fold")
    labelled = "label" in answers[0]
    for heading in (["True"] if labelled else []) + ["Digit"]:
        table.add_column(heading, justify="center")
    table.add_column("Confidence", no_wrap=True)
    table.add_column("", overflow="fold")
    for answer in answers:
        digit = "–" if answer["digit"] is None else str(answer["digit"])
        label = [str(answer["label"])] if labelled else []
        told = (answer.get("reason") or "").replace("_", " ")
        table.add_row(
            Text(printable(answer["file"])),
            *label,
            f"[bold]{digit}[/]",
            _bar(answer["confidence"], COLOURS[0], console),
            told,
        )
    console.print(table)


def _bar(share: float, colour: str, console: Console) -> Text:
    length = 14 if console.width >= WIDE else 7
    full = round(share * length)
    return Text.assemble(("█" * full, colour), ("░" * (length - full), "dim"), f" {percent(share):>6}")


def print_confidence(answer: Answer) -> None:
    """What the networks saw beside what they think of it."""
    console = _console()
    console.print(Columns([_picture(answer["receipt"]["pixels"]), _shares(answer, console)], padding=(0, 3)))
    console.print(_verdict(answer))


def _picture(pixels: list[list[int]]) -> Text:
    """28 x 14 characters, each of two pixels."""
    lines = []
    for upper, lower in zip(pixels[::2], pixels[1::2], strict=True):
        levels = [(above + below) / 510 for above, below in zip(upper, lower, strict=True)]
        lines.append("".join(SHADES[min(int(level * len(SHADES)), len(SHADES) - 1)] for level in levels))
    return Text("\n".join(lines), no_wrap=True)


def _shares(answer: Answer, console: Console) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("", no_wrap=True, min_width=1)
    for name in answer["models"]:
        table.add_column(name, no_wrap=True)
    for digit in range(10):
        bars = [
            _bar(model["probabilities"][digit], colour, console)
            for model, colour in zip(answer["models"].values(), COLOURS * len(answer["models"]), strict=False)
        ]
        table.add_row(f"[bold]{digit}[/]" if digit == answer["digit"] else str(digit), *bars)
    return table


def _verdict(answer: Answer) -> Text:
    parts = []
    if chosen := answer.get("prediction_set"):
        digits = ", ".join(map(str, chosen["digits"])) or "none of the ten"
        parts.append(f"{chosen['coverage'] * 100:.4g}% prediction set: {digits}")
    if len(answer["models"]) > 1:
        parts.append("the networks agree" if answer["agreement"] else "the networks disagree")
    return Text.assemble((in_words(answer), "bold"), *(f" · {part}" for part in parts))


def print_shares(answer: Answer) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["model", "version", "digit", "probability"])
    for name, model in answer["models"].items():
        writer.writerows([name, model["model_version"], *pair] for pair in enumerate(model["probabilities"]))


def print_score(answers: list[Answer]) -> None:
    """How many test digits were read right, and which were not."""
    wrong = [answer for answer in answers if answer.get("digit") != answer["label"]]
    right = len(answers) - len(wrong)
    if len(answers) > 1:
        print(f"{right} of {len(answers)} read right ({right / len(answers):.1%})")
    for answer in wrong:
        read = answer["error"]["detail"] if "error" in answer else in_words(answer)
        print(f"{answer['file']}: true digit {answer['label']}, read as {read}")
    if len(answers) == right == 1:
        print(f"{answers[0]['file']}: true digit {answers[0]['label']}, read right")


def print_rows(rows: list[dict[str, Any]]) -> None:
    """A table of the rows' values under their keys."""
    told = [[_cell(value) for value in row.values()] for row in rows]
    heads = [name.upper() for name in rows[0]]
    if _console().is_terminal:
        table = Table(*heads, box=None, pad_edge=False, header_style="bold")
        for line in told:
            table.add_row(*line)
        _console().print(table)
        return
    widths = [max(map(len, column)) for column in zip(heads, *told, strict=True)]
    for line in [heads, *told]:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4f}" if isinstance(value, float) else str(value)
