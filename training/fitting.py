"""The fit: Keras' own loop and progress bar, an average of the weights, a checkpoint after every epoch."""

from __future__ import annotations

import gc
import math
import sys
import time

import keras
import numpy as np
import numpy.typing as npt

from training.batches import Batches, Lesson
from training.checkpoint import BEST, LATEST, MEASURED, Checkpoints, State
from training.data import Digits
from training.interruption import Interruption, deferred
from training.losses import DigitAccuracy, loss, targets
from training.networks import MOMENTUM, build
from training.recipe import Optimiser, Recipe

Weights = list[npt.NDArray[np.float32]]
AVERAGED_STEPS = 4  # the average takes every fourth step's weights: fetching them takes time


class Average:
    """The exponential moving average of a network's weights and of BatchNorm's statistics: Polyak and Juditsky, 1992.

    It is what a fit at a falling learning rate would come to, epochs earlier, and less noisy. `momentum` is what a step
    keeps of it; the first steps keep less, so that it forgets where the weights began. 0 follows them closely.
    """

    def __init__(self, momentum: float, steps: int, weights: Weights | None) -> None:
        self._momentum = momentum
        self._steps = steps
        self._weights = weights

    def follow(self, network: keras.Model) -> None:
        """Call after every step."""
        self._steps += 1
        if not self._momentum or self._steps % AVERAGED_STEPS:
            return
        now = network.get_weights()
        if self._weights is None:
            self._weights = now
        kept = min(self._momentum, self._steps / (self._steps + 10)) ** AVERAGED_STEPS
        for mean, weight in zip(self._weights, now, strict=True):
            mean += (1 - kept) * (weight - mean)  # noqa: PLW2901 - in place

    def of(self, network: keras.Model) -> Weights:
        """The average, or the network's own weights where there is none."""
        return self._weights if self._momentum and self._weights is not None else network.get_weights()


class Epochs(keras.callbacks.Callback):  # type: ignore[misc]
    """Sets images and learning rate before an epoch; measures and keeps the state after it; stops a stalled fit.

    Measured and published is the moving average of the weights, where the recipe keeps one.
    An interruption ends the fit after its batch; the epoch that it cuts short leaves no trace.
    """

    def __init__(
        self,
        batches: Batches,
        validation: Digits,
        recipe: Recipe,
        state: State,
        checkpoints: Checkpoints,
        interruption: Interruption,
    ) -> None:
        super().__init__()
        self._batches = batches
        self._validation = validation
        self._recipe = recipe
        self._state = state
        self._checkpoints = checkpoints
        self._interruption = interruption
        self._cut_short = False
        self._measured = build(recipe)  # without the optimiser, to be saved
        newest = checkpoints.newest()
        before = keras.models.load_model(newest / MEASURED, compile=False).get_weights() if newest else None
        self._average = Average(recipe.average, state.epoch * len(batches), before)
        self._started = 0.0

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        del logs
        self._started = time.perf_counter()
        self._batches.start(epoch)
        self._seed_dropout(epoch)
        self.model.optimizer.learning_rate = learning_rate(self._recipe.optimiser, epoch, self._recipe.epochs)

    def _seed_dropout(self, epoch: int) -> None:
        # Keras saves no state of its random layers, so they begin each epoch from a seed of its own.
        for place, layer in enumerate(self.model.layers):
            if isinstance(layer, keras.layers.Dropout):
                state = np.random.SeedSequence([self._batches.seed, epoch, place]).generate_state(2)
                layer.seed_generator.state.assign(state)

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        del batch, logs
        self._average.follow(self.model)
        if self._interruption.requested:
            self._cut_short = self.model.stop_training = True

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        del epoch
        if self._cut_short or logs is None:
            return
        self._measured.set_weights(self._average.of(self.model))
        logs |= measure(self._measured, self._validation, self._recipe)
        keep_last = self._recipe.keep == "last"
        is_best = self._state.add(logs, time.perf_counter() - self._started, keep_last=keep_last)
        self._checkpoints.save(self.model, self._measured, self._state, is_best=is_best)
        patience = self._recipe.early_stop_patience
        stalled = patience is not None and self._state.has_stalled(patience)
        if stalled or self._interruption.requested:
            self.model.stop_training = True


def fit(
    recipe: Recipe,
    digits: Digits,
    validation: Digits,
    seed: int,
    state: State,
    checkpoints: Checkpoints,
    lesson: Lesson | None = None,
) -> keras.Model:
    """Fits `digits` until the recipe's last epoch and returns the network of the best one on `validation`.

    `digits` may hold images labelled `NO_DIGIT` where the recipe has outliers; `lesson` says what is learnt of the
    others where it is not their labels.

    Where there is a checkpoint, goes on from it; `state` is its state.

    Raises:
        KeyboardInterrupt: Ctrl-C or SIGTERM, once the batch is done and Keras has left its loop.
    """
    keras.utils.set_random_seed(seed)
    newest = checkpoints.newest()
    batches = Batches(digits, recipe, seed, lesson)
    if newest is not None:
        network = keras.models.load_model(newest / LATEST)
    else:
        steps = recipe.epochs * len(batches)
        network = build(recipe, momentum(steps), to_fit=True)
        compile_network(network, recipe)
    if state.epoch < recipe.epochs and not _has_stalled(recipe, state):
        _fit(network, batches, validation, recipe, state, checkpoints)
    return keras.models.load_model(checkpoints.folder / f"epoch-{state.epoch:05d}" / BEST, compile=False)


def _fit(
    network: keras.Model, batches: Batches, validation: Digits, recipe: Recipe, state: State, checkpoints: Checkpoints
) -> None:
    with deferred() as interruption:
        network.fit(
            batches,
            initial_epoch=state.epoch,
            epochs=recipe.epochs,
            callbacks=[Epochs(batches, validation, recipe, state, checkpoints, interruption)],
            verbose=1 if sys.stdout.isatty() else 2,
            shuffle=False,  # Keras would shuffle the batches from a state that a checkpoint does not hold
        )
        gc.collect()  # an iterator that is left in the middle has to go before the interpreter does


def measure(network: keras.Model, validation: Digits, recipe: Recipe) -> dict[str, float]:
    """Loss and accuracy on digits that the fit does not see, unchanged."""
    outputs = network.predict(validation.images.astype(np.float32), batch_size=500, verbose=0)
    found = float(loss(recipe)(targets(validation.labels, recipe), outputs))
    return {"val_loss": found, "val_accuracy": float((outputs[:, :10].argmax(axis=1) == validation.labels).mean())}


def compile_network(network: keras.Model, recipe: Recipe) -> None:
    """Joins the recipe's loss and optimiser to the network. XLA is off: on CPUs it halves the speed (docs/log.md)."""
    metric = DigitAccuracy() if recipe.outliers else "accuracy"
    network.compile(optimizer(recipe.optimiser), loss(recipe), metrics=[metric], jit_compile=_jit())


def optimizer(settings: Optimiser) -> keras.optimizers.Optimizer:
    if settings.name == "adamw":
        return keras.optimizers.AdamW(settings.learning_rate, weight_decay=settings.weight_decay)
    if settings.name == "rmsprop":
        return keras.optimizers.RMSprop(settings.learning_rate, rho=settings.decay)
    kinds = {"adam": keras.optimizers.Adam, "sgd": keras.optimizers.SGD}
    return kinds[settings.name](settings.learning_rate)


def learning_rate(settings: Optimiser, epoch: int, epochs: int) -> float:
    """The rate in this epoch (from 0), taken at its middle; cosine: Loshchilov and Hutter, arXiv:1608.03983."""
    if settings.schedule == "constant":
        return settings.learning_rate
    warmup = min(1.0, (epoch + 1) / (settings.warmup_epochs + 1))
    return settings.learning_rate * warmup * (1 + math.cos(math.pi * (epoch + 0.5) / epochs)) / 2


def momentum(steps: int) -> float:
    """BatchNorm's: a run of few steps forgets the statistics that it began with faster than Keras' 0.99 would."""
    return min(MOMENTUM, max(0.0, 1 - 10 / steps))


def _has_stalled(recipe: Recipe, state: State) -> bool:
    return recipe.early_stop_patience is not None and state.has_stalled(recipe.early_stop_patience)


def _jit() -> bool | str:
    return False if keras.backend.backend() == "tensorflow" else "auto"
