"""Recipes' networks in Keras: pixels 0..255 in, ten logits out, scaling inside.

BatchNorm stands between a linear layer without bias and its activation, so that the export folds it away.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import keras
from keras import layers

from training.recipe import Convolution, Convolutional, Dense, Recipe

Norm = Callable[[], layers.Layer]  # makes one BatchNorm
OUTLIER_UNITS = 32  # between the last features and the eleventh output; a linear one refused less (docs/log.md)
MOMENTUM = 0.99  # of BatchNorm's running statistics, Keras' default


def build(recipe: Recipe, momentum: float = MOMENTUM, *, to_fit: bool = False) -> keras.Model:
    """A network from float pixels (n, 28, 28) in 0..255 to logits (n, 10).

    A recipe with outliers has an eleventh output: the log odds that the picture holds no digit.

    `momentum`: how much of its running statistics BatchNorm keeps at each step. `to_fit` builds the same weights, in
    the same order, for a quick fit: in the recipe's precision, with fused BatchNorm.
    """
    policy = "mixed_bfloat16" if to_fit and recipe.precision == "bfloat16" else "float32"
    with _policy(policy):
        pixels = keras.Input((28, 28), name="pixels")
        x = (
            layers.UnitNormalization()(_reshape(pixels, 784))
            if recipe.scaling == "l2"
            else keras.ops.multiply(pixels, 1 / 255)
        )
        network = recipe.network
        norm = partial(FusedBatchNormalization if to_fit else layers.BatchNormalization, momentum=momentum)
        x = dense(x, network, norm) if network.kind == "dense" else convolutional(x, network, norm)
        outputs = layers.Dense(10, dtype="float32", name="logits")(x)
        if recipe.outliers:
            doubt = layers.Dense(OUTLIER_UNITS, "relu", name="doubt")(x)
            outlier = layers.Dense(1, dtype="float32", name="outlier")(doubt)
            outputs = layers.Concatenate(dtype="float32")([outputs, outlier])
        return keras.Model(pixels, outputs, name=recipe.name.replace("-", "_"))


def dense(x: keras.KerasTensor, network: Dense, norm: Norm) -> keras.KerasTensor:
    x = _reshape(x, 784)
    for units in network.units:
        x = layers.Dense(units, use_bias=not network.batch_norm)(x)
        if network.batch_norm:
            x = norm()(x)
        x = layers.Activation(network.activation)(x)
        if network.dropout:
            x = layers.Dropout(network.dropout)(x)
    return x


def convolutional(x: keras.KerasTensor, network: Convolutional, norm: Norm) -> keras.KerasTensor:
    x = _reshape(x, 28, 28, 1)
    for convolution in network.convolutions:
        x = _convolution(x, convolution, norm)
    x = _reshape(x, x.shape[1] * x.shape[2] * x.shape[3])
    for units in network.units:
        x = layers.Dense(units, use_bias=False)(x)
        x = layers.ReLU()(norm()(x))
    return layers.Dropout(network.dropout)(x) if network.dropout else x


def _convolution(x: keras.KerasTensor, convolution: Convolution, norm: Norm) -> keras.KerasTensor:
    x = layers.Conv2D(convolution.filters, convolution.kernel, strides=convolution.stride, use_bias=False)(x)
    x = layers.ReLU()(norm()(x))
    if convolution.pool:
        x = layers.MaxPooling2D()(x)
    return layers.Dropout(convolution.dropout)(x) if convolution.dropout else x


def _reshape(x: keras.KerasTensor, *shape: int) -> keras.KerasTensor:
    # With -1 for the batch the graph holds a constant; layers.Reshape leaves six nodes that compute the shape.
    return keras.ops.reshape(x, (-1, *shape))


@contextmanager
def _policy(name: str) -> Iterator[None]:
    """Layers made inside compute in this precision."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


@keras.saving.register_keras_serializable("digit-service")
class FusedBatchNormalization(layers.BatchNormalization):  # type: ignore[misc]
    """BatchNorm over pictures as one operation of TensorFlow, where Keras makes a dozen: half the time of a fit.

    On other backends, and after fully connected layers, it is Keras' own.
    """

    def call(
        self, inputs: keras.KerasTensor, training: bool | None = None, mask: keras.KerasTensor | None = None
    ) -> keras.KerasTensor:
        if not training or len(inputs.shape) != 4 or keras.backend.backend() != "tensorflow":
            return super().call(inputs, training=training, mask=mask)
        from tensorflow.compat.v1.nn import fused_batch_norm

        outputs, mean, variance = fused_batch_norm(inputs, self.gamma, self.beta, epsilon=self.epsilon)
        for moving, now in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moving.assign(moving * self.momentum + now * (1 - self.momentum))
        return outputs
