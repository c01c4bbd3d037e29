"""The `digits` command. Heavy imports wait inside the commands, so that `--help` and mistakes answer at once."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from service import __version__
from service.errors import ServiceError, StartupError

if TYPE_CHECKING:
    from service.inference.predictor import Prediction
    from service.inference.version import ModelVersion

app = typer.Typer(
    name="digits",
    help="Reads handwritten digits: train networks, serve them, ask them.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
USAGE_ERROR = 2


def main() -> None:
    """The console script: a user's mistake is one line and exit code 2, a failed start one line and exit code 1."""
    try:
        app()
    except StartupError as error:
        _fail(error.detail, 1)
    except ServiceError as error:
        _fail(error.detail, USAGE_ERROR)


def _fail(text: str, code: int) -> NoReturn:
    print(f"digits: {text}", file=sys.stderr)
    raise SystemExit(code)


@app.callback(invoke_without_command=True)
def version(
    show: Annotated[bool, typer.Option("--version", help="Print the version and stop.", is_eager=True)] = False,
) -> None:
    """Reads handwritten digits: train networks, serve them, ask them."""
    if show:
        print(f"digit-service {__version__}")
        raise typer.Exit


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on (DIGITS_HOST).")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on (DIGITS_PORT).")] = None,
) -> None:
    """Serve the models of the repository over HTTP. Every setting is an environment variable: docs/settings.md.

    Example: DIGITS_PORT=9000 digits serve
    """
    from service.server import serve as run
    from service.settings import read_settings

    run(read_settings(**_given(host=host, port=port)))


@app.command()
def predict(
    files: Annotated[list[Path], typer.Argument(help="Pictures of one digit each.", metavar="FILE...")],
    model: Annotated[str | None, typer.Option(help="Which model reads them.")] = None,
    chart: Annotated[bool, typer.Option("--chart", help="Show all ten probabilities as bars.")] = False,
) -> None:
    """Read the digit in each picture, in this process, without a server. Exit code 1 when any could not be read.

    Example: digits predict photo.jpg scan.png --model dense
    """
    from service.imaging.decode import decode
    from service.imaging.normalise import normalise
    from service.inference.predictor import read_rows
    from service.settings import read_settings

    settings = read_settings()
    network = _load_model(settings, model)
    failed = False
    for file in files:
        try:
            image = normalise(decode(file.read_bytes(), max_pixels=settings.max_image_pixels))
        except (OSError, ServiceError) as error:
            failed = True
            print(f"{file}: {error}", file=sys.stderr)
            continue
        *_, told = network.run((image.pixels[None],))
        prediction = read_rows(told, [image])[0]
        print(f"{file}: {_in_words(prediction)}")
        if chart:
            print(_bars(prediction.probabilities))
    if failed:
        raise SystemExit(1)


@app.command()
def models() -> None:
    """List the model repository: versions, accuracy on MNIST's test set, when they were trained."""
    import msgspec

    from service.inference.repository import scan
    from service.settings import read_settings

    root = read_settings().model_repository
    found = scan(root)
    if not found:
        raise StartupError(f"No model in {root}: expected <name>/<version>/model.onnx.")
    print(f"{'MODEL':<12} {'VERSION':>7} {'ACCURACY':>8} {'KB':>7}  TRAINED")
    for entry in found:
        card = entry.path / "model.json"
        facts = msgspec.json.decode(card.read_bytes(), type=dict[str, Any]) if card.exists() else {}
        accuracy = facts.get("metrics", {}).get("test_accuracy")
        size = (entry.path / "model.onnx").stat().st_size // 1000
        shown = f"{accuracy:.4f}" if accuracy is not None else "-"
        print(f"{entry.name:<12} {entry.version:>7} {shown:>8} {size:>7}  {facts.get('trained_at', '-')}")


@app.command()
def train(
    recipe: Annotated[
        str | None, typer.Option(help="Which training configuration, such as dense or cnn; always needed.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="IDX files, PNG folders or a strip; default: download MNIST.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Instead of the recipe's.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Instead of the recipe's.")] = None,
    seed: Annotated[int, typer.Option(help="Same seed, same machine: same network.")] = 0,
    limit: Annotated[int | None, typer.Option(help="Use only the first N training images.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint.")] = False,
    models: Annotated[Path, typer.Option(help="Model repository to publish into.")] = Path("models"),
    runs: Annotated[Path, typer.Option(help="Folder for checkpoints.")] = Path("runs"),
) -> None:
    """Train a network with Keras and publish it as ONNX. Needs the `training` extra.

    Example: digits train --recipe dense --data ../shared/data/mnist
    """
    with _training_half():
        from training import recipes
        from training.train import run

        if recipe is None:
            _fail("give --recipe, one of: " + ", ".join(sorted(recipes.RECIPES)), USAGE_ERROR)
        print(f"Published {run(recipe, data, epochs, batch_size, seed, limit, resume, models, runs)}")


@app.command()
def evaluate(
    name: Annotated[str, typer.Argument(help="A model of the repository, such as cnn.")],
    version: Annotated[str | None, typer.Option(help="Default: the newest.")] = None,
    data: Annotated[Path | None, typer.Option(help="As for train; its test images count.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only N test images, evenly spread.")] = None,
    robustness: Annotated[
        bool, typer.Option("--robustness", help="Change the images as the world does; 1,000 of them unless --limit.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    random: Annotated[int | None, typer.Option(min=1, help="Instead, read N random test images one by one.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="The same random images every time.")] = None,
) -> None:
    """Measure a published model on test digits. Needs the `training` extra.

    Example: digits evaluate cnn --data ../shared/data/mnist --robustness
    """
    with _training_half():
        from training.report.evaluate import evaluate as run
        from training.report.evaluate import random_images

        if random is not None:
            for line, probabilities in random_images(_model_repository(), name, version, data, random, seed):
                print(line)
                if random == 1:
                    print(_bars(probabilities))
            return

        for line in run(_model_repository(), name, version, data, limit, robustness=robustness, as_json=as_json):
            print(line, flush=True)


@app.command()
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
    with _training_half():
        from training.report.report import report as run

        print(f"Wrote {run(_model_repository(), name, version, data, limit, output)}")


@contextmanager
def _training_half() -> Iterator[None]:
    """Packages that are not installed and the user's mistakes are one line."""
    from training.errors import TrainingError

    try:
        yield
    except ImportError as error:
        _fail(f"this needs more packages ({error}). Run: pip install 'digit-service[cpu,training]'", 1)
    except TrainingError as error:
        _fail(str(error), error.exit_code)


def _model_repository() -> Path:
    from service.settings import read_settings

    return read_settings().model_repository


def _given(**options: Any) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _load_model(settings: Any, name: str | None) -> ModelVersion:
    from service.inference.repository import Repository
    from service.inference.runtime import available_cpus, check_installation

    check_installation()
    name = name or settings.default_model
    repository = Repository(
        settings.model_repository,
        device=settings.device,
        threads=settings.threads or available_cpus(),
        default_model=name,
        required=(name,),
    )
    repository.load()
    return repository.find(name)


def _bars(probabilities: list[float]) -> str:
    """A line for each digit, as long as it is likely."""
    return "\n".join(f"  {digit} {'#' * round(40 * p):40} {p:6.1%}" for digit, p in enumerate(probabilities))


def _in_words(prediction: Prediction) -> str:
    if prediction.digit is None:
        return f"not a digit ({prediction.reason})"
    doubt = f", {prediction.reason}" if prediction.reason else ""
    return f"{prediction.digit} ({prediction.confidence:.1%}{doubt})"
