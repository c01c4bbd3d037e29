"""The fit: batches drawn and augmented from a seed, Keras' own progress bar, a checkpoint after every epoch.

Every random number comes from (seed, epoch, batch), so that a resumed fit goes on as if it had not stopped.
"""

from __future__ import annotations

import gc
import math
import sys
import time

import keras
import numpy as np
import numpy.typing as npt

from training.augmentation import augment
from training.checkpoint import BEST, LATEST, Checkpoints, State
from training.data import Digits, Split
from training.interruption import Interruption, deferred
from training.networks import MOMENTUM, build
from training.recipes import Optimiser, Recipe

Batch = tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]


class Batches(keras.utils.PyDataset):  # type: ignore[misc]
    """One shuffled pass over the digits an epoch: pixels (b, 28, 28) in 0..255 and one-hot labels (b, 10)."""

    def __init__(self, digits: Digits, recipe: Recipe, seed: int) -> None:
        super().__init__()
        self._digits = digits
        self._recipe = recipe
        self.seed = seed
        self.start(0)

    def start(self, epoch: int) -> None:
        """Call before each epoch. Keras' own hook for it is called more than once an epoch, and ahead of time."""
        self._epoch = epoch
        self._order = np.random.default_rng([self.seed, epoch]).permutation(len(self._digits))

    def __len__(self) -> int:
        return math.ceil(len(self._digits) / self._recipe.batch_size)

    def __getitem__(self, index: int) -> Batch:
        size = self._recipe.batch_size
        digits = self._digits.take(self._order[index * size : (index + 1) * size])
        if self._recipe.augmentation is None:
            return digits.images.astype(np.float32), one_hot(digits.labels)
        rng = np.random.default_rng([self.seed, self._epoch, index])
        return augment(digits.images, digits.labels, self._recipe.augmentation, rng), one_hot(digits.labels)


class Epochs(keras.callbacks.Callback):  # type: ignore[misc]
    """Sets images and learning rate before an epoch, keeps the state after it, stops a fit that has stalled.

    An interruption ends the fit after its batch; the epoch that it cuts short leaves no trace.
    """

    def __init__(
        self,
        batches: Batches,
        recipe: Recipe,
        state: State,
        checkpoints: Checkpoints,
        interruption: Interruption,
    ) -> None:
        super().__init__()
        self._batches = batches
        self._recipe = recipe
        self._state = state
        self._checkpoints = checkpoints
        self._interruption = interruption
        self._cut_short = False
        self._best = build(recipe)  # without the optimiser, to be saved
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
        if self._interruption.requested:
            self._cut_short = self.model.stop_training = True

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        del epoch
        if self._cut_short:
            return
        keep_last = self._recipe.keep == "last"
        is_best = self._state.add(logs or {}, time.perf_counter() - self._started, keep_last=keep_last)
        if is_best:
            self._best.set_weights(self.model.get_weights())
        self._checkpoints.save(self.model, self._best if is_best else None, self._state)
        patience = self._recipe.early_stop_patience
        stalled = patience is not None and self._state.has_stalled(patience)
        if stalled or self._interruption.requested:
            self.model.stop_training = True


def fit(recipe: Recipe, parts: Split, seed: int, state: State, checkpoints: Checkpoints) -> keras.Model:
    """Fits until the recipe's last epoch and returns the network of the best one.

    Where there is a checkpoint, goes on from it; `state` is its state.

    Raises:
        KeyboardInterrupt: Ctrl-C or SIGTERM, once the batch is done and Keras has left its loop.
    """
    keras.utils.set_random_seed(seed)
    newest = checkpoints.newest()
    if newest is not None:
        network = keras.models.load_model(newest / LATEST)
    else:
        network = build(recipe, momentum(recipe.epochs * len(Batches(parts.training, recipe, seed))))
        compile_network(network, recipe)
    if state.epoch < recipe.epochs and not _has_stalled(recipe, state):
        _fit(network, recipe, parts, seed, state, checkpoints)
    return keras.models.load_model(checkpoints.folder / f"epoch-{state.epoch:05d}" / BEST, compile=False)


def _fit(network: keras.Model, recipe: Recipe, parts: Split, seed: int, state: State, checkpoints: Checkpoints) -> None:
    batches = Batches(parts.training, recipe, seed)
    with deferred() as interruption:
        network.fit(
            batches,
            validation_data=(parts.validation.images.astype(np.float32), one_hot(parts.validation.labels)),
            validation_batch_size=500,
            initial_epoch=state.epoch,
            epochs=recipe.epochs,
            callbacks=[Epochs(batches, recipe, state, checkpoints, interruption)],
            verbose=1 if sys.stdout.isatty() else 2,
            shuffle=False,  # Keras would shuffle the batches from a state that a checkpoint does not hold
        )
        gc.collect()  # an iterator that is left in the middle has to go before the interpreter does


def compile_network(network: keras.Model, recipe: Recipe) -> None:
    """Joins the recipe's loss and optimiser to the network. XLA is off: on CPUs it halves the speed (docs/log.md)."""
    network.compile(optimizer(recipe.optimiser), loss(recipe), metrics=["accuracy"], jit_compile=_jit())


def loss(recipe: Recipe) -> keras.losses.Loss:
    """The recipe's loss of logits, so that every network can end in them."""
    if recipe.loss == "cross_entropy":
        return keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=recipe.label_smoothing)
    return SquaredErrorOfSoftmax() if recipe.output == "softmax" else SquaredErrorOfSigmoid()


@keras.saving.register_keras_serializable("digit-service")
class SquaredErrorOfSoftmax(keras.losses.Loss):  # type: ignore[misc]
    """Mean squared error between softmax(logits) and the one-hot label."""

    def call(self, y_true: keras.KerasTensor, y_pred: keras.KerasTensor) -> keras.KerasTensor:
        return keras.losses.mean_squared_error(y_true, keras.ops.softmax(y_pred))


@keras.saving.register_keras_serializable("digit-service")
class SquaredErrorOfSigmoid(keras.losses.Loss):  # type: ignore[misc]
    """Mean squared error between sigmoid(logits) and the one-hot label."""

    def call(self, y_true: keras.KerasTensor, y_pred: keras.KerasTensor) -> keras.KerasTensor:
        return keras.losses.mean_squared_error(y_true, keras.ops.sigmoid(y_pred))


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


def one_hot(labels: npt.NDArray[np.integer]) -> npt.NDArray[np.float32]:
    rows: npt.NDArray[np.float32] = np.eye(10, dtype=np.float32)[labels]
    return rows


def _has_stalled(recipe: Recipe, state: State) -> bool:
    return recipe.early_stop_patience is not None and state.has_stalled(recipe.early_stop_patience)


def _jit() -> bool | str:
    return False if keras.backend.backend() == "tensorflow" else "auto"
