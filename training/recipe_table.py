"""Trains every recipe of the source documents as they do and writes what came of it into docs/recipes.md.

    python -m training.recipe_table                      # MNIST through Keras; `make recipes` does this
    python -m training.recipe_table --data mnist/ --only dense-512 mlp-40

Networks go to runs/recipes/models, not to those that are served. What is there already is measured, not trained again.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from PIL import Image

from training import recipes
from training.data import Dataset, Digits, load
from training.errors import TrainingError, told_in_one_line
from training.evaluation import open_model
from training.recipe import Dense, Recipe
from training.train import DEFAULT_SEED, run

START, END = "<!-- table: make recipes -->", "<!-- end of table -->"
STRIP_ROWS = 3000
ONNX_BATCH = 1000


@dataclass(frozen=True)
class Row:
    """One line of the table: a recipe, where a batch size other than its own is tried, and what its source claims."""

    source: str
    recipe: str
    claim: str
    batch_size: int | None = None
    strip: bool = False

    @property
    def settings(self) -> Recipe:
        standard = recipes.find(self.recipe)
        return replace(standard, batch_size=self.batch_size or standard.batch_size)

    @property
    def command(self) -> str:
        batch = f" --batch-size {self.batch_size}" if self.batch_size else ""
        return f"digits train --recipe {self.recipe}{batch}{' --data strip.png' if self.strip else ''}"


ROWS = (
    Row("000", "mlp-40", "-", strip=True),
    Row("001", "mlp-32x32-sigmoid", "-"),
    Row("001", "mlp-32x32-softmax", "-"),
    Row("001", "mlp-32x32-relu", "-"),
    Row("001", "mlp-32x32", "-"),
    Row("002", "dense-512", "0.9808"),
    Row("003", "dense-512x512", "over 0.95"),
    Row("003", "dense-512x512", "asks what changes", batch_size=32),
    Row("003", "dense-512x512", "asks what changes", batch_size=10_000),
    Row("003", "cnn-4conv", "over 0.95"),
    Row("004", "dense-128-64", "-"),
)


def write_strip(digits: Digits, folder: Path) -> Path:
    """Document 000's file: the first 3,000 images flattened, one a row, with their labels beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(digits.images[:STRIP_ROWS].reshape(-1, 784)).save(folder / "strip.png")
    (folder / "strip.json").write_text(json.dumps(digits.labels[:STRIP_ROWS].tolist()), encoding="utf-8")
    return folder / "strip.png"


def trained(row: Row, seed: int, models: Path) -> Path | None:
    """The newest version that was trained with exactly the row's settings and seed."""
    wanted = json.loads(json.dumps(asdict(row.settings)))
    for folder in sorted((models / row.recipe).glob("[0-9]*"), key=lambda path: int(path.name), reverse=True):
        card = read_card(folder)
        if (card["recipe"], card["seed"]) == (wanted, seed):
            return folder
    return None


def read_card(folder: Path) -> dict[str, Any]:
    card: dict[str, Any] = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    return card


def accuracy(network: Path, digits: Digits) -> float:
    """Of the exported file: the share of `digits` that its largest probability names."""
    session = open_model(network)
    right = 0
    for start in range(0, len(digits), ONNX_BATCH):
        (probabilities,) = session.run({"image": digits.images[start : start + ONNX_BATCH]}, ["probabilities"])
        right += int((probabilities.argmax(axis=1) == digits.labels[start : start + ONNX_BATCH]).sum())
    return right / len(digits)


def table(rows: list[tuple[Row, Path]], test: Digits) -> str:
    """Markdown; accuracy on `test` is measured here, the rest is what each card says."""
    heads = ("source", "network", "loss, optimiser, batch, epochs", "the source says", "MNIST test accuracy", "train")
    lines = [f"| {' | '.join(heads)} | seconds | command |", "| --- " * (len(heads) + 2) + "|"]
    for row, folder in rows:
        card, settings = read_card(folder), row.settings
        loss = "squared error" if settings.loss == "mean_squared_error" else "cross-entropy"
        epochs = len(card["history"]["loss"])
        stopped = f"{epochs} of at most {settings.epochs}" if epochs < settings.epochs else f"{epochs}"
        how = (
            f"{loss}, {settings.optimiser.name} {settings.optimiser.learning_rate:g}, {settings.batch_size}, {stopped}"
        )
        lines.append(
            f"| {row.source} | {layers(settings)} | {how} | {row.claim} | {accuracy(folder / 'model.onnx', test):.4f} "
            f"| {card['metrics']['train_accuracy']:.4f} | {card['training_seconds']:.0f} | `{row.command}` |"
        )
    return "\n".join(lines)


def layers(recipe: Recipe) -> str:
    """The network in a few words."""
    network = recipe.network
    if isinstance(network, Dense):
        ends = f"{network.activation}, {recipe.output}"
        sizes = "-".join(str(size) for size in (784, *network.units, 10))
        return f"{sizes}, {ends}" + (f", dropout {network.dropout:g}" if network.dropout else "")
    convolutions = ", ".join(f"{c.filters}{' and pool' if c.pool else ''}" for c in network.convolutions)
    return f"convolutions {convolutions}; {', '.join(map(str, network.units))}, dropout {network.dropout:g}, 10"


def replace_table(document: Path, text: str) -> None:
    """Put `text` between the two marks of `document`.

    Raises:
        TrainingError: it has no such marks.
    """
    content = document.read_text(encoding="utf-8") if document.exists() else ""
    if START not in content or END not in content:
        raise TrainingError(f"{document} has no place for the table: it needs the lines {START} and {END}.")
    before, after = content.split(START)[0], content.split(END)[1]
    document.write_text(f"{before}{START}\n{text}\n{END}{after}", encoding="utf-8")


def train_missing(rows: list[Row], data: Path | None, dataset: Dataset, seed: int, runs: Path) -> None:
    models = runs / "models"
    for row in rows:
        if trained(row, seed, models) is None:
            source = write_strip(dataset.training, runs / "strip") if row.strip else data
            print(
                f"Published {run(row.recipe, source, None, row.batch_size, seed, models=models, runs=runs)}", flush=True
            )


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m training.recipe_table", description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, help="MNIST's IDX files (default: through Keras)")
    parser.add_argument("--only", nargs="+", metavar="RECIPE", help="train these and leave the table as it is")
    parser.add_argument("--seed", type=int, default=DEFAULT_SEED)
    parser.add_argument("--runs", type=Path, default=Path("runs/recipes"), help="checkpoints and networks")
    parser.add_argument("--output", type=Path, default=Path("docs/recipes.md"))
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    options = parse(argv)
    return told_in_one_line(lambda: _train_and_write(options))


def _train_and_write(options: argparse.Namespace) -> None:
    for name in options.only or []:
        recipes.find(name)
    dataset = load(options.data)
    chosen = [row for row in ROWS if not options.only or row.recipe in options.only]
    train_missing(chosen, options.data, dataset, options.seed, options.runs)
    found = [(row, trained(row, options.seed, options.runs / "models")) for row in chosen]
    text = table([(row, folder) for row, folder in found if folder is not None], dataset.test)
    print(text)
    if not options.only:
        replace_table(options.output, text)


if __name__ == "__main__":
    sys.exit(main())
