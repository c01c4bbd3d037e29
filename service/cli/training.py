"""The commands that need the `training` extra: train, evaluate, report."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from service.cli.exits import USAGE_ERROR, fail


def train(
    recipe: Annotated[
        str | None, typer.Option(help="Which training configuration, such as dense or cnn; always needed.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="IDX files, PNG folders or a strip; default: download MNIST.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Instead of the recipe's.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Instead of the recipe's.")] = None,
    units: Annotated[
        str | None, typer.Option(help="Sizes of its fully connected layers, instead of the recipe's: 512,384.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Same seed, same machine: same network.")] = 0,
    limit: Annotated[int | None, typer.Option(help="Use only the first N training images.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint.")] = False,
    models: Annotated[Path, typer.Option(help="Model repository to publish into.")] = Path("models"),
    runs: Annotated[Path, typer.Option(help="Folder for checkpoints.")] = Path("runs"),
) -> None:
    """Train a network with Keras and publish it as ONNX. Needs the `training` extra.

    Example: digits train --recipe dense --data ../shared/data/mnist
    """
    with training_half():
        from training import recipes
        from training.train import run

        if recipe is None:
            fail("give --recipe, one of: " + ", ".join(sorted(recipes.RECIPES)), USAGE_ERROR)
        layers = None if units is None else recipes.sizes(units)
        print(f"Published {run(recipe, data, epochs, batch_size, seed, limit, resume, models, runs, layers)}")


def evaluate(
    name: Annotated[str, typer.Argument(help="A model of the repository, such as cnn.")],
    version: Annotated[str | None, typer.Option(help="Default: the newest.")] = None,
    data: Annotated[Path | None, typer.Option(help="As for train; its test images count.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only N test images, evenly spread.")] = None,
    robustness: Annotated[
        bool, typer.Option("--robustness", help="Change the images as the world does; 1,000 of them unless --limit.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure a published model on test digits. Needs the `training` extra.

    Example: digits evaluate cnn --data ../shared/data/mnist --robustness
    """
    with training_half():
        from training.report.evaluate import evaluate as run

        for line in run(_model_repository(), name, version, data, limit, robustness=robustness, as_json=as_json):
            print(line, flush=True)


def report(
    name: Annotated[str, typer.Argument(help="A model of the repository, such as cnn.")],
    version: Annotated[str | None, typer.Option(help="Default: the newest.")] = None,
    data: Annotated[Path | None, typer.Option(help="As for train.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only N test images, evenly spread.")] = None,
    output: Annotated[Path, typer.Option(help="Folder of the reports.")] = Path("reports"),
) -> None:
    """Write a page of all that can be seen of a published model, with pictures. Needs the `training` extra.

    Example: digits report cnn --data ../shared/data/mnist
    """
    with training_half():
        from training.report.report import report as run

        print(f"Wrote {run(_model_repository(), name, version, data, limit, output)}")


@contextmanager
def training_half() -> Iterator[None]:
    """Packages that are not installed and the user's mistakes are one line."""
    try:
        from training.errors import TrainingError  # an image of the service alone has not even this

        try:
            yield
        except TrainingError as error:
            fail(str(error), error.exit_code)
    except ImportError as error:
        fail(f"this needs more packages ({error}). Run: pip install 'digit-service[cpu,training]'", 1)


def _model_repository() -> Path:
    from service.inference.mirror import local_folder
    from service.settings import read_settings

    settings = read_settings()
    return local_folder(settings.model_repository, settings.mirror)
