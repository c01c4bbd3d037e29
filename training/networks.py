"""Recipes' networks in Keras: pixels 0..255 in, ten logits out, scaling inside.

BatchNorm stands between a linear layer without bias and its activation, so that the export folds it away.
"""

from __future__ import annotations

import keras
from keras import layers

from training.recipes import Convolution, Convolutional, Dense, Recipe

MOMENTUM = 0.99  # of BatchNorm's running statistics, Keras' default


def build(recipe: Recipe, momentum: float = MOMENTUM) -> keras.Model:
    """A network from float pixels (n, 28, 28) in 0..255 to logits (n, 10).

    `momentum`: how much of its running statistics BatchNorm keeps at each step.
    """
    pixels = keras.Input((28, 28), name="pixels")
    x = (
        layers.UnitNormalization()(_reshape(pixels, 784))
        if recipe.scaling == "l2"
        else keras.ops.multiply(pixels, 1 / 255)
    )
    network = recipe.network
    x = dense(x, network, momentum) if network.kind == "dense" else convolutional(x, network, momentum)
    return keras.Model(pixels, layers.Dense(10, name="logits")(x), name=recipe.name.replace("-", "_"))


def dense(x: keras.KerasTensor, network: Dense, momentum: float) -> keras.KerasTensor:
    x = _reshape(x, 784)
    for units in network.units:
        x = layers.Dense(units, use_bias=not network.batch_norm)(x)
        if network.batch_norm:
            x = layers.BatchNormalization(momentum=momentum)(x)
        x = layers.Activation(network.activation)(x)
        if network.dropout:
            x = layers.Dropout(network.dropout)(x)
    return x


def convolutional(x: keras.KerasTensor, network: Convolutional, momentum: float) -> keras.KerasTensor:
    x = _reshape(x, 28, 28, 1)
    for convolution in network.convolutions:
        x = _convolution(x, convolution, momentum)
    x = _reshape(x, x.shape[1] * x.shape[2] * x.shape[3])
    for units in network.units:
        x = layers.Dense(units, use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization(momentum=momentum)(x))
    return layers.Dropout(network.dropout)(x) if network.dropout else x


def _convolution(x: keras.KerasTensor, convolution: Convolution, momentum: float) -> keras.KerasTensor:
    x = layers.Conv2D(convolution.filters, convolution.kernel, strides=convolution.stride, use_bias=False)(x)
    x = layers.ReLU()(layers.BatchNormalization(momentum=momentum)(x))
    if convolution.pool:
        x = layers.MaxPooling2D()(x)
    return layers.Dropout(convolution.dropout)(x) if convolution.dropout else x


def _reshape(x: keras.KerasTensor, *shape: int) -> keras.KerasTensor:
    # With -1 for the batch the graph holds a constant; layers.Reshape leaves six nodes that compute the shape.
    return keras.ops.reshape(x, (-1, *shape))
