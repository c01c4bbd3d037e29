"""The `digits` command. Heavy imports wait inside the commands, so that `--help` and mistakes answer at once."""

from __future__ import annotations

import sys
from io import TextIOWrapper
from typing import Annotated

import typer

from service import __version__
from service.cli.exits import USAGE_ERROR, fail
from service.cli.reading import confidence, predict, random
from service.cli.serving import bench, models, serve
from service.cli.training import evaluate, report, train
from service.errors import ServiceError, StartupError

app = typer.Typer(
    name="digits",
    help="Reads handwritten digits: train networks, serve them, ask them.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
for command in (predict, confidence, random, models, serve, train, evaluate, report):
    app.command()(command)
app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(bench)


def main() -> None:
    """The console script: a user's mistake is one line and exit code 2, a failed start one line and exit code 1."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            # Names of files go out as they came; what an old terminal cannot show becomes a question mark.
            stream.reconfigure(errors="surrogateescape" if stream.encoding.lower() == "utf-8" else "replace")
    try:
        app()
    except StartupError as error:
        fail(error.detail, 1)
    except ServiceError as error:
        fail(error.detail, USAGE_ERROR)


@app.callback(invoke_without_command=True)
def version(
    show: Annotated[bool, typer.Option("--version", help="Print the version and stop.", is_eager=True)] = False,
) -> None:
    """Reads handwritten digits: train networks, serve them, ask them."""
    if show:
        print(f"digit-service {__version__}")
        raise typer.Exit
