"""What a fit makes small, what it counts, and what both compare with. All of logits: every network ends in them."""

from __future__ import annotations

import keras
import numpy as np
import numpy.typing as npt

from training.recipe import Recipe

OUTLIER_WEIGHT = 0.3  # of "is there a digit at all?" beside "which one?"


def targets(labels: npt.NDArray[np.integer], recipe: Recipe) -> npt.NDArray[np.float32]:
    """What the loss compares with: one-hot rows (n, 10); with outliers (n, 11), whose last is 1 for `NO_DIGIT`.

    The ten of an outlier are 0: it says nothing of digits. Pulled to be even, it takes odd digits along (docs/log.md).
    """
    rows: npt.NDArray[np.float32] = np.eye(11, dtype=np.float32)[labels]
    return rows if recipe.outliers else rows[:, :10]


def loss(recipe: Recipe) -> keras.losses.Loss:
    """The recipe's loss of logits, so that every network can end in them."""
    if recipe.outliers:
        return DigitOrNot()
    if recipe.loss == "cross_entropy":
        return keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=recipe.label_smoothing)
    return SquaredErrorOfSoftmax() if recipe.output == "softmax" else SquaredErrorOfSigmoid()


@keras.saving.register_keras_serializable("digit-service")
class DigitOrNot(keras.losses.Loss):  # type: ignore[misc]
    """Cross-entropy of the ten logits, and the eleventh output's of whether there is a digit at all.

    Outlier exposure: Hendrycks, Mazeika and Dietterich, ICLR 2019. `targets` gives what it compares with.
    """

    def call(self, y_true: keras.KerasTensor, y_pred: keras.KerasTensor) -> keras.KerasTensor:
        ops = keras.ops
        digit = -ops.sum(y_true[:, :10] * ops.log_softmax(y_pred[:, :10]), axis=1)
        return digit + OUTLIER_WEIGHT * ops.binary_crossentropy(y_true[:, 10], y_pred[:, 10], from_logits=True)


@keras.saving.register_keras_serializable("digit-service")
class DigitAccuracy(keras.metrics.Mean):  # type: ignore[misc]
    """Accuracy over the images that hold a digit."""

    def __init__(self, name: str = "accuracy", dtype: str | None = None) -> None:
        super().__init__(name, dtype)

    def update_state(
        self, y_true: keras.KerasTensor, y_pred: keras.KerasTensor, sample_weight: keras.KerasTensor | None = None
    ) -> None:
        del sample_weight
        right = keras.ops.equal(keras.ops.argmax(y_true[:, :10], axis=1), keras.ops.argmax(y_pred[:, :10], axis=1))
        super().update_state(right, 1 - y_true[:, 10])


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
