"""One training run from top to bottom: recipe, data, fit, calibrate, export, check, publish.

    python -m training.train --recipe cnn                       # MNIST through Keras, into models/cnn/<next version>/
    python -m training.train --recipe cnn --data mnist/         # the same from files that are there
    python -m training.train --recipe dense --limit 500 --epochs 1
    python -m training.train --recipe cnn --resume --epochs 80  # after Ctrl-C, or to top up

KERAS_BACKEND=jax fits on JAX. Keras is imported only once the data is known to be good.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from training import material, pictures, recipes
from training.backend import start_keras
from training.checkpoint import TEACHERS, Checkpoints, State, fingerprint
from training.data import Dataset, Pixels, Split, load, split
from training.errors import CheckFailed, Interrupted, TrainingError, told_in_one_line
from training.interruption import deferred, handled
from training.recipe import Recipe

DEFAULT_SEED = 0
SPLIT_SEED = 0  # one split for every seed: fits can be compared, and share what was rendered
CACHE = ".cache"  # beside the checkpoints
# Of all MNIST's pixels and labels: a recipe's target accuracy holds for these digits.
MNIST_DIGEST = "06b0d1f124c4e5fa796686ade41a9b778edacc8622f2195a352ef479ad44fc16"


def run(
    recipe: str,
    data: Path | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    seed: int = DEFAULT_SEED,
    limit: int | None = None,
    resume: bool = False,
    models: Path = Path("models"),
    runs: Path = Path("runs"),
    units: tuple[int, ...] | None = None,
) -> Path:
    """Train and publish; returns the folder of the new version, `models/<recipe>/<version>`.

    `data` is None for MNIST through Keras. `epochs`, `batch_size` and `units` (sizes of the fully connected layers) are
    the recipe's unless given; `limit` takes the first images only. Checkpoints are kept in `runs/<recipe>`, where
    `resume` finds the last one.

    Raises:
        TrainingError: a mistake in the arguments or the data, a network that is not good enough, or Ctrl-C: each
            with its own `exit_code` (training.errors).
    """
    _check_numbers(epochs=epochs, batch_size=batch_size, limit=limit, seed=seed + 1)
    standard = recipes.find(recipe)
    chosen = recipes.changed(standard, epochs, batch_size, units)
    checkpoints = Checkpoints(runs / recipe)
    with _stoppable(checkpoints):
        dataset = load(data) if limit is None else load(data).limit(limit)
        parts = split(dataset.training, chosen.validation, chosen.calibration, SPLIT_SEED)
        state = checkpoints.start(fingerprint(chosen, seed, dataset.digest), chosen.epochs, resume=resume)
        with deferred():
            start_keras()
        from training import batches, distillation, evaluation, fitting, quantisation

        _print_plan(chosen, dataset, parts, state)
        digits, outliers = material.gather(parts.training, chosen, runs / CACHE)
        lesson, teachers = distillation.learn_from(chosen, digits, parts.validation, dataset.digest, runs, runs / CACHE)
        shown = digits.joined(outliers)
        network = fitting.fit(chosen, shown, parts.validation, seed, state, checkpoints, lesson)
        held_out = pictures.rendered(parts.calibration, runs / CACHE) if chosen.outliers else None
        seen = batches.Batches(shown, chosen, seed, lesson)
        sample = seen.sample(quantisation.SAMPLE) if chosen.quantised else None
        answer = evaluation.answering(network) if sample is None else quantisation.answering(network, sample)
        figures = evaluation.measure(answer, dataset, parts, held_out)
        print(figures)
        _check_target(chosen, figures.metrics["test_accuracy"], binding=chosen == standard and _is_mnist(dataset))
        card = _card(chosen, seed, dataset, parts, state) | {"teachers": teachers} | figures.card()
        return _publish(network, sample, card, figures, dataset, models)


def _publish(
    network: Any, sample: Pixels | None, card: dict[str, Any], figures: Any, dataset: Dataset, models: Path
) -> Path:
    """Export, quantise by a `sample`, compare with what was measured, and make it a version of the model repository."""
    from training import evaluation, export, publishing, quantisation

    with publishing.Staging(models, card["name"]) as staging:
        network.save(staging.folder / "model.keras")
        export.export(staging.folder / "model.keras", figures.scales, staging.folder / "model.onnx")
        if sample is not None:
            quantisation.quantise(staging.folder / "model.onnx", sample)
        session = evaluation.open_model(staging.folder / "model.onnx")
        evaluation.check_export(session, dataset.test.images, figures.test_outputs, figures.scales)
        card |= {"parameters": network.count_params()}
        card |= {"golden": evaluation.golden(session, dataset.test), "batching": evaluation.measure_batching(session)}
        return staging.publish(card)


def _card(recipe: Recipe, seed: int, dataset: Dataset, parts: Split, state: State) -> dict[str, Any]:
    """What the run was made of; publishing adds version and checksums."""
    from training import publishing

    return {
        "schema": 1,
        "name": recipe.name,
        "version": None,
        "task": "digit-classification",
        "labels": [str(label) for label in range(10)],
        "input": {"name": "image", "datatype": "UINT8", "shape": [-1, 28, 28]},
        "outputs": _outputs(recipe),
        "recipe": asdict(recipe),
        "seed": seed,
        "data": {
            "source": dataset.source,
            "digest": dataset.digest,
            "train": len(parts.training),
            "validation": len(parts.validation),
            "calibration": len(parts.calibration),
            "test": len(dataset.test),
        },
        **publishing.git_state(),
        "libraries": publishing.libraries(),
        "trained_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "training_seconds": round(state.seconds, 1),
        "best_epoch": state.best_epoch,
        "history": state.history,
    }


def _outputs(recipe: Recipe) -> list[dict[str, Any]]:
    rows = [{"name": name, "datatype": "FP32", "shape": [-1, 10]} for name in ("logits", "probabilities")]
    score = {"name": "out_of_distribution_score", "datatype": "FP32", "shape": [-1]}
    return [*rows, score] if recipe.outliers else rows


def _check_target(recipe: Recipe, accuracy: float, *, binding: bool) -> None:
    if accuracy >= recipe.target_accuracy:
        return
    text = f"test accuracy {accuracy:.4f} is below the {recipe.target_accuracy} that {recipe.name} should reach"
    if binding:
        raise CheckFailed(f"Not published: {text}.")
    print(f"Note: {text} with its full settings on all of MNIST.")


def _is_mnist(dataset: Dataset) -> bool:
    return dataset.digest == MNIST_DIGEST


def _check_numbers(**numbers: int | None) -> None:
    for name, number in numbers.items():
        if number is not None and number < 1:
            option = name.replace("_", "-")
            raise TrainingError(f"--{option} must be {'0' if name == 'seed' else '1'} or more.")


def _print_plan(recipe: Recipe, dataset: Dataset, parts: Split, state: State) -> None:
    done = f", {state.epoch} of them done" if state.epoch else ""
    print(
        f"{recipe.name}: {recipe.epochs} epochs{done} on {len(parts.training)} images of {dataset.source}; "
        f"{len(parts.validation)} choose the best epoch, {len(parts.calibration)} calibrate, {len(dataset.test)} test",
        flush=True,
    )


@contextmanager
def _stoppable(checkpoints: Checkpoints) -> Iterator[None]:
    """Ctrl-C and SIGTERM end the run with the words that take it up again."""
    try:
        with handled(signal.default_int_handler):
            yield
    except KeyboardInterrupt:
        newest = checkpoints.newest()
        if newest is None and (checkpoints.folder.parent / TEACHERS).is_dir():
            raise Interrupted("Stopped: the same command goes on with the teachers as they are.") from None
        if newest is None:
            raise Interrupted("Stopped before an epoch was finished: nothing is kept.") from None
        raise Interrupted(f"Stopped: {newest} is kept. The same command with --resume goes on from there.") from None


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m training.train", description="Train a network and publish it.")
    parser.add_argument("--recipe", required=True, help="one of: " + ", ".join(sorted(recipes.RECIPES)))
    parser.add_argument(
        "--data",
        type=Path,
        help="IDX files, folders train/ and test/ of PNGs, or a strip picture (default: MNIST through Keras)",
    )
    parser.add_argument("--epochs", type=int, help="default: the recipe's")
    parser.add_argument("--batch-size", type=int, help="default: the recipe's")
    parser.add_argument("--units", type=recipes.sizes, help="sizes of its fully connected layers, such as 512,384")
    parser.add_argument("--seed", type=int, default=DEFAULT_SEED)
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N images, for a quick run")
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint, or top up")
    parser.add_argument("--models", type=Path, default=Path("models"), help="the model repository to publish into")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="where checkpoints are kept")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    return told_in_one_line(lambda: print(f"Published {run(**vars(parse(argv)))}"))


if __name__ == "__main__":
    sys.exit(main())
