"""The commands that read pictures: predict, confidence, random."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from service.cli.training import training_half
from service.errors import ServiceError, StartupError

if TYPE_CHECKING:
    from service.cli.asking import Asker
    from service.cli.pictures import Source

# What every other picture would meet as well: told once, and the command ends.
HOPELESS = {"unauthorized", "model_not_found", "not_ready", "overloaded", "validation_error", "not_found"}

Model = Annotated[str | None, typer.Option(help="Which model reads them; default: DIGITS_DEFAULT_MODEL.")]
Url = Annotated[
    str | None,
    typer.Option(help="Ask the service at this address (key: DIGITS_API_KEY) instead of loading models here."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON: a list, in order.")]
AsCsv = Annotated[bool, typer.Option("--csv", help="Print CSV, a line a picture.")]


def predict(
    files: Annotated[
        list[str],
        typer.Argument(help="Pictures of one digit each; folders of them; - is standard input.", metavar="FILE|DIR|-"),
    ],
    model: Model = None,
    url: Url = None,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """Read the digit in each picture. Exit code 1 when any could not be read.

    Example: digits predict photo.jpg scans/ --csv > digits.csv
    """
    from service.cli.pictures import named
    from service.cli.show import printer

    query = {"model": model} if model else {}
    with printer(as_json=as_json, as_csv=as_csv) as show:
        failed = False
        for source, answer in _answers(named(files), url, "/predict", query):
            show({"file": source.name, **answer})
            failed |= "error" in answer
    if failed:
        raise SystemExit(1)


def confidence(
    file: Annotated[str, typer.Argument(help="A picture of one digit; - is standard input.", metavar="FILE|-")],
    model: Model = None,
    url: Url = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the service's answer.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV, a line a network and digit.")] = False,
) -> None:
    """Tell how sure the networks are of one picture, and show what they saw of it.

    Example: digits confidence photo.jpg
    """
    from service.cli.pictures import one
    from service.cli.show import print_confidence, print_error, print_json, print_shares

    query = {"receipt": "true"} | ({"model": model} if model else {})
    ((source, answer),) = _answers([one(file)], url, "/confidence", query)
    if "error" in answer:
        print_error(source.name, answer["error"]["detail"])
        raise SystemExit(1)
    if as_json:
        print_json(answer)
    elif as_csv:
        print_shares(answer)
    else:
        print_confidence(answer)


def random(
    n: Annotated[int, typer.Option("--n", "-n", min=1, help="How many.")] = 1,
    seed: Annotated[int | None, typer.Option(help="The same seed takes the same digits.")] = None,
    data: Annotated[Path | None, typer.Option(help="Take MNIST's test images from here, as train does.")] = None,
    model: Model = None,
    url: Url = None,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """Read random test digits and report how many were read right; a single one is shown.

    Example: digits random --n 100
    """
    from service.cli.pictures import random_digits
    from service.cli.show import print_confidence, print_score, printer

    with training_half() if data else nullcontext():
        sources = random_digits(n, seed, data)
    query = {"receipt": "true"} | ({"model": model} if model else {})
    one = n == 1 and not (as_json or as_csv)
    found = []
    for source, answer in _answers(
        sources, url, "/confidence" if one else "/predict", query if one else query | {"receipt": "false"}
    ):
        if one and "error" not in answer:
            print_confidence(answer)
        found.append({"file": source.name, "label": source.label, **answer})
    if as_json or as_csv:
        with printer(as_json=as_json, as_csv=as_csv) as show:
            for answer in found:
                show(answer)
    else:
        print_score(found)


def _answers(
    sources: Sequence[Source], url: str | None, path: str, query: dict[str, str]
) -> Iterator[tuple[Source, dict[str, Any]]]:
    """Each source with the service's answer, or with its `error`."""
    from service.cli.asking import open_asker
    from service.cli.show import progress

    with open_asker(url) as asker:
        for source in progress(sources):
            yield source, _answer(asker, source, path, query)


def _answer(asker: Asker, source: Source, path: str, query: dict[str, str]) -> dict[str, Any]:
    try:
        answer: dict[str, Any] = asker.post(path, source.read(), query)
    except OSError as error:
        return {"error": {"code": "unreadable", "detail": error.strerror or str(error)}}
    except StartupError:
        raise
    except ServiceError as error:
        if error.code in HOPELESS:
            raise
        return {"error": {"code": error.code, "detail": error.detail}}
    return answer
