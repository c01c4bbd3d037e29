"""Teachers, and the lesson that a distilled fit learns instead of labels: augmented digits and what the teachers say.

Both are kept between runs, the teachers as checkpoints that a run goes on from, the lesson beside what was rendered.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from training import augmentation, recipes
from training.augmentation import augment
from training.batches import Lesson
from training.cache import cached
from training.calibration import log_softmax
from training.checkpoint import TEACHERS, Checkpoints, fingerprint
from training.data import Digits, Pixels
from training.errors import ResumeError
from training.evaluation import keras_outputs
from training.fitting import fit
from training.networks import build
from training.recipe import Distillation, Recipe

CHUNK = 500  # images at once


def learn_from(
    recipe: Recipe, digits: Digits, validation: Digits, digest: str, runs: Path, cache: Path
) -> tuple[Lesson | None, dict[str, Any] | None]:
    """The lesson of a recipe with a distillation, and what the card tells of its teachers.

    `digest` is the data's. Teachers train no longer than the recipe itself; those of an earlier run teach again.
    """
    settings = recipe.distillation
    if settings is None:
        return None, None
    standard = recipes.find(settings.teacher)
    teacher = replace(standard, epochs=min(standard.epochs, recipe.epochs))
    networks = []
    for seed in range(settings.networks):
        checkpoints = Checkpoints(runs / TEACHERS / f"{teacher.name}-{seed}")
        expected = fingerprint(teacher, seed, digest)
        try:
            state = checkpoints.start(expected, teacher.epochs, resume=True)
        except ResumeError:
            state = checkpoints.start(expected, teacher.epochs, resume=False)
        print(f"Teacher {teacher.name}, seed {seed}: {state.epoch} of {teacher.epochs} epochs done", flush=True)
        fitted = fit(teacher, digits, validation, seed, state, checkpoints)
        networks.append(build(teacher, to_fit=True))  # half precision is quick, and exact enough for a teacher
        networks[-1].set_weights(fitted.get_weights())
    right = mean_logits(networks, validation.images).argmax(axis=1) == validation.labels
    card = {"recipe": teacher.name, "networks": settings.networks, "epochs": teacher.epochs}
    return prepare(recipe, settings, digits, networks, cache), card | {"validation_accuracy": float(right.mean())}


def prepare(recipe: Recipe, settings: Distillation, digits: Digits, networks: list[keras.Model], cache: Path) -> Lesson:
    """Augmented copies of the digits, and of each the mean of what the networks say, with a share of its label."""
    sources = [Path(augmentation.__file__), Path(__file__)]
    told = f"{settings.copies}-{_digest(repr(recipe.augmentation).encode())}"
    images = cached(cache, f"copies-{told}", digits, sources, lambda: _copies(recipe, settings.copies, digits))
    minds = _digest(*(weight.tobytes() for network in networks for weight in network.get_weights()))
    name = f"logits-{told}-{minds}"
    logits = cached(cache, name, digits, sources, lambda: np.stack([mean_logits(networks, copy) for copy in images]))
    said = np.exp(log_softmax(logits / settings.temperature))
    targets = (1 - settings.labels) * said + settings.labels * np.eye(10)[digits.labels]
    return Lesson(images, targets.astype(np.float32))


def _copies(recipe: Recipe, copies: int, digits: Digits) -> Pixels:
    images = np.empty((copies, *digits.images.shape), np.uint8)
    for copy in range(copies):
        for first in range(0, len(digits), CHUNK):
            part = digits.take(np.arange(first, min(first + CHUNK, len(digits))))
            rng = np.random.default_rng([copy, first])
            assert recipe.augmentation is not None
            images[copy, first : first + CHUNK] = np.rint(augment(part.images, part.labels, recipe.augmentation, rng))
    return images


def mean_logits(networks: list[keras.Model], images: Pixels) -> npt.NDArray[np.float32]:
    """(n, 10): the networks' mean."""
    logits: npt.NDArray[np.float32] = np.mean([keras_outputs(network, images) for network in networks], axis=0)
    return logits


def _digest(*parts: bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()[:8]
