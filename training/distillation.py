"""Teachers, and the lesson that a distilled fit learns instead of labels: augmented digits and what the teachers say.

Both are kept between runs, the teachers as checkpoints that a run goes on from, the lesson beside what was rendered.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, replace
from functools import partial
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
Networks = list[keras.Model]


def learn_from(
    recipe: Recipe, digits: Digits, validation: Digits, digest: str, runs: Path, cache: Path
) -> tuple[Lesson | None, list[dict[str, Any]] | None]:
    """The lesson of a recipe with a distillation, and what the card tells of its teachers.

    `digest` is the data's. Teachers train no longer than the recipe itself; those of an earlier run teach again.
    """
    settings = recipe.distillation
    if settings is None:
        return None, None
    groups, cards = [], []
    for teacher in settings.teachers:
        standard = recipes.find(teacher.recipe)
        taught = replace(standard, epochs=min(standard.epochs, recipe.epochs))
        networks = [_fitted(taught, seed, digits, validation, digest, runs) for seed in range(teacher.networks)]
        right = mean_logits(networks, validation.images).argmax(axis=1) == validation.labels
        cards.append(asdict(teacher) | {"epochs": taught.epochs, "validation_accuracy": float(right.mean())})
        groups.append(networks)
    return prepare(recipe, settings, digits, groups, cache), cards


def _fitted(teacher: Recipe, seed: int, digits: Digits, validation: Digits, digest: str, runs: Path) -> keras.Model:
    checkpoints = Checkpoints(runs / TEACHERS / f"{teacher.name}-{seed}")
    expected = fingerprint(teacher, seed, digest)
    try:
        state = checkpoints.start(expected, teacher.epochs, resume=True)
    except ResumeError:
        state = checkpoints.start(expected, teacher.epochs, resume=False)
    print(f"Teacher {teacher.name}, seed {seed}: {state.epoch} of {teacher.epochs} epochs done", flush=True)
    fitted = fit(teacher, digits, validation, seed, state, checkpoints)
    network = build(teacher, to_fit=True)  # half precision is quick, and exact enough for a teacher
    network.set_weights(fitted.get_weights())
    return network


def prepare(recipe: Recipe, settings: Distillation, digits: Digits, groups: list[Networks], cache: Path) -> Lesson:
    """Augmented copies of the digits, and the mean of what the groups of networks say of each."""
    sources = [Path(augmentation.__file__), Path(__file__)]
    told = f"{settings.copies}-{_digest(repr(recipe.augmentation).encode())}"
    images = cached(cache, f"copies-{told}", digits, sources, lambda: _copies(recipe, settings.copies, digits))
    answers = []
    for networks in groups:
        minds = _digest(*(weight.tobytes() for network in networks for weight in network.get_weights()))
        answers.append(cached(cache, f"logits-{told}-{minds}", digits, sources, partial(_asked, networks, images)))
    logits = np.mean(answers, axis=0)
    return Lesson(images, np.exp(log_softmax(logits / settings.temperature)).astype(np.float32))


def _asked(networks: Networks, copies: Pixels) -> npt.NDArray[np.float32]:
    return np.stack([mean_logits(networks, copy) for copy in copies])


def _copies(recipe: Recipe, copies: int, digits: Digits) -> Pixels:
    images = np.empty((copies, *digits.images.shape), np.uint8)
    for copy in range(copies):
        for first in range(0, len(digits), CHUNK):
            part = digits.take(np.arange(first, min(first + CHUNK, len(digits))))
            rng = np.random.default_rng([copy, first])
            assert recipe.augmentation is not None
            images[copy, first : first + CHUNK] = np.rint(augment(part.images, part.labels, recipe.augmentation, rng))
    return images


def mean_logits(networks: Networks, images: Pixels) -> npt.NDArray[np.float32]:
    """(n, 10): the networks' mean."""
    logits: npt.NDArray[np.float32] = np.mean([keras_outputs(network, images) for network in networks], axis=0)
    return logits


def _digest(*parts: bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()[:8]
