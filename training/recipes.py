"""Every network we can train, by name.

Where a recipe is a tutorial's, the comment names the document in docs/recipes.md that it comes from.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from training.augmentation import Augmentation, UniformAffine
from training.errors import TrainingError
from training.recipe import Convolution, Convolutional, Dense, Distillation, Optimiser, Recipe

# For photographed digits, whose pens, slants and proportions MNIST's writers did not use (docs/log.md, 2026-11-23).
HANDWRITING = Augmentation(
    rotation=20,
    shear=15,
    zoom=0.22,
    aspect=0.22,
    shift=3,
    elastic=0.9,
    thicker=1.3,
    thinner=0.7,
    blur=0.25,
    contrast=0.3,
    noise=0.1,
    serifs=0.15,
    upstrokes=0.02,  # in MNIST such a digit is a seven; the rendered pictures have more (docs/log.md, 2026-11-29)
    mild=0.4,
)
# A network without convolutions has to learn each place and size by itself, so it is moved about less.
GENTLE_HANDWRITING = replace(
    HANDWRITING, rotation=14, shear=12, zoom=0.16, aspect=0.2, shift=2, thinner=0.6, contrast=0.2, noise=0.06
)


def source_recipe(**settings: Any) -> Recipe:
    """A tutorial's: its last weights count, and all but a sixtieth of the images fit, since they used them all."""
    return Recipe(**settings, keep="last", validation=1 / 120, calibration=1 / 120)


# What our own networks have in common.
OURS: dict[str, Any] = {
    "optimiser": Optimiser("adamw", 0.003, weight_decay=0.001, schedule="cosine", warmup_epochs=2),
    "batch_size": 256,
    "average": 0.999,
    "precision": "bfloat16",
    "pictures": 4 / 9,
    "keep": "last",  # the least loss on a few thousand images is luck once the weights are averaged
    "validation": 1 / 30,
    "calibration": 1 / 15,
}
# And those that are served. In integers they may be twice as large as their time would allow in floats.
SERVED: dict[str, Any] = {**OURS, "outliers": 0.4, "quantised": True}

RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe(
            name="dense",
            network=Dense((1024, 512), batch_norm=True),
            epochs=40,
            augmentation=GENTLE_HANDWRITING,
            **SERVED,
            distillation=Distillation("cnn-teacher"),
            target_accuracy=0.985,
        ),
        Recipe(
            name="cnn",
            network=Convolutional(
                (
                    Convolution(48, kernel=4, stride=2),
                    Convolution(48),
                    Convolution(64),
                    Convolution(96),
                    Convolution(128),
                    Convolution(192),
                ),
            ),
            epochs=28,
            augmentation=HANDWRITING,
            **{**SERVED, "outliers": 0.45},
            distillation=Distillation("cnn-teacher", copies=20, labels=0.2),
            target_accuracy=0.995,
        ),
        # Teaches the two above. It is not served: in floats it takes twice the time.
        Recipe(
            name="cnn-teacher",
            network=Convolutional(
                (
                    Convolution(48, kernel=4, stride=2),
                    Convolution(48),
                    Convolution(64),
                    Convolution(96),
                    Convolution(96),
                    Convolution(128),
                ),
                dropout=0.4,
            ),
            epochs=24,
            augmentation=HANDWRITING,
            **OURS,
            target_accuracy=0.995,
        ),
        # Document 000; it trains on the strip picture (--data).
        source_recipe(
            name="mlp-40",
            network=Dense((40,)),
            optimiser=Optimiser("adam", 0.001),
            batch_size=200,
            epochs=40,
            scaling="l2",
            target_accuracy=0.94,
        ),
        # Document 001, its four steps.
        source_recipe(
            name="mlp-32x32-sigmoid",
            network=Dense((32, 32), activation="sigmoid"),
            optimiser=Optimiser("sgd", 0.1),
            loss="mean_squared_error",
            output="sigmoid",
            batch_size=1,
            epochs=1,
            target_accuracy=0.1,
        ),
        source_recipe(
            name="mlp-32x32-softmax",
            network=Dense((32, 32), activation="sigmoid"),
            optimiser=Optimiser("sgd", 0.1),
            loss="mean_squared_error",
            batch_size=1,
            epochs=1,
            target_accuracy=0.1,
        ),
        source_recipe(
            name="mlp-32x32-relu",
            network=Dense((32, 32)),
            optimiser=Optimiser("sgd", 0.1),
            loss="mean_squared_error",
            batch_size=1,
            epochs=1,
            target_accuracy=0.1,
        ),
        source_recipe(
            name="mlp-32x32",
            network=Dense((32, 32)),
            optimiser=Optimiser("rmsprop", 0.001, decay=0.99),
            loss="mean_squared_error",
            batch_size=16,
            epochs=10,
            target_accuracy=0.95,
        ),
        # Document 002.
        source_recipe(
            name="dense-512",
            network=Dense((512,)),
            optimiser=Optimiser("rmsprop", 0.001),
            batch_size=128,
            epochs=5,
            target_accuracy=0.975,
        ),
        # Document 003.
        source_recipe(
            name="dense-512x512",
            network=Dense((512, 512), dropout=0.2),
            optimiser=Optimiser("adam", 0.001),
            batch_size=128,
            epochs=5,
            target_accuracy=0.95,
        ),
        source_recipe(
            name="cnn-4conv",
            network=Convolutional(
                (Convolution(32), Convolution(32, pool=True), Convolution(64), Convolution(64, pool=True)),
                units=(512,),
                dropout=0.2,
            ),
            optimiser=Optimiser("adam", 0.001),
            batch_size=128,
            epochs=5,
            augmentation=UniformAffine(rotation=8, shear=0.3, zoom=0.08, shift=0.08),
            target_accuracy=0.98,
        ),
        # Document 004.
        source_recipe(
            name="dense-128-64",
            network=Dense((128, 64)),
            optimiser=Optimiser("adam", 0.001),
            batch_size=75,
            epochs=200,
            early_stop_patience=30,
            target_accuracy=0.95,
        ),
    )
}


def find(name: str) -> Recipe:
    """The recipe of this name.

    Raises:
        TrainingError: there is none; names those that there are.
    """
    if name not in RECIPES:
        raise TrainingError(f"There is no recipe {name!r}. There are: {', '.join(sorted(RECIPES))}.")
    return RECIPES[name]


def sizes(text: str) -> tuple[int, ...]:
    """Sizes of layers as `--units` takes them, such as 512,384."""
    try:
        units = tuple(int(size) for size in text.split(","))
    except ValueError:
        units = (0,)
    if min(units) < 1:
        raise TrainingError(f"--units {text}: expected sizes of layers, 1 or more each, such as 512,384.")
    return units


def changed(recipe: Recipe, epochs: int | None, batch_size: int | None, units: tuple[int, ...] | None) -> Recipe:
    """The recipe with what is given instead of its own. `units`: of its fully connected layers before the last."""
    network = recipe.network if units is None else replace(recipe.network, units=units)
    return replace(recipe, epochs=epochs or recipe.epochs, batch_size=batch_size or recipe.batch_size, network=network)
