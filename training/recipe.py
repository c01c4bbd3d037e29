"""What a recipe is: all that `training.train` needs to know of a network.

It is plain data: it is written into the model's card, and `--resume` compares it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from training.augmentation import Augmentation, UniformAffine


@dataclass(frozen=True)
class Dense:
    """Fully connected layers of these sizes, then ten logits. `batch_norm` normalises before each activation."""

    units: tuple[int, ...]
    activation: Literal["relu", "sigmoid"] = "relu"
    dropout: float = 0.0
    batch_norm: bool = False
    kind: Literal["dense"] = "dense"


@dataclass(frozen=True)
class Convolution:
    """BatchNorm before ReLU. `pool` halves the picture after it (max pooling)."""

    filters: int
    kernel: int = 3
    stride: int = 1
    pool: bool = False
    dropout: float = 0.0


@dataclass(frozen=True)
class Convolutional:
    """Valid convolutions in order, flattened, then fully connected layers of these sizes, then ten logits."""

    convolutions: tuple[Convolution, ...]
    units: tuple[int, ...] = ()
    dropout: float = 0.0
    kind: Literal["convolutional"] = "convolutional"


@dataclass(frozen=True)
class Optimiser:
    """`schedule` cosine: from the learning rate to 0 over the epochs, after `warmup_epochs` of rising.

    `decay` is of RMSprop's mean of squared gradients.
    """

    name: Literal["adam", "adamw", "rmsprop", "sgd"]
    learning_rate: float = 0.001
    weight_decay: float = 0.0
    decay: float = 0.9
    schedule: Literal["constant", "cosine"] = "constant"
    warmup_epochs: int = 0


@dataclass(frozen=True)
class Distillation:
    """The fit imitates a mean of networks instead of labels: as many of the recipe `teacher` as `networks`.

    They answer `copies` augmented passes over the digits, which the epochs show in turn. `temperature` divides their
    logits, so that more than the likeliest digit is heard; calibration takes it out again. `labels` is the share of
    what is learnt that is the label all the same, where the networks are wrong about a digit that has one.
    Hinton, Vinyals and Dean, arXiv:1503.02531.
    """

    teacher: str
    networks: int = 2
    copies: int = 10
    temperature: float = 2.0
    labels: float = 0.0


@dataclass(frozen=True)
class Recipe:
    """`target_accuracy` on the test set is what a full run must reach to be published.

    `scaling`: pixels divided by 255, or each image as a vector of length 1. `output`: what the loss compares with the
    one-hot label; the network itself always ends in logits. `early_stop_patience`: epochs without a better
    training accuracy before the fit ends. `keep`: which epoch's weights are published, those with the least validation
    loss or the last ones. `validation` and `calibration` are shares of the training images.
    `average`: how much of the weights' moving average a step keeps; the average is what is measured and published.
    `precision`: what the layers compute in during the fit; weights are float32 always.
    `quantised`: the inner layers are exported to compute in 8-bit integers (training.quantisation).
    `distillation`: whom the fit learns the digits from, where not from their labels.
    `pictures` and `outliers`: how many rendered pictures (training.pictures) and pictures without a digit
    (training.outliers) an epoch shows, as shares of its training digits.
    """

    name: str
    network: Dense | Convolutional
    optimiser: Optimiser
    batch_size: int
    epochs: int
    target_accuracy: float
    scaling: Literal["unit", "l2"] = "unit"
    output: Literal["softmax", "sigmoid"] = "softmax"
    loss: Literal["cross_entropy", "mean_squared_error"] = "cross_entropy"
    label_smoothing: float = 0.0
    augmentation: Augmentation | UniformAffine | None = None
    early_stop_patience: int | None = None
    keep: Literal["best", "last"] = "best"
    average: float = 0.0
    precision: Literal["float32", "bfloat16"] = "float32"
    quantised: bool = False
    distillation: Distillation | None = None
    pictures: float = 0.0
    outliers: float = 0.0
    validation: float = 1 / 24
    calibration: float = 1 / 12
