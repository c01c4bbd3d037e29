"""Where a network looked: each part of the digit is hidden in turn, and what that costs is told.

Occlusion sensitivity, Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks", 2014, section 4.2.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from service.imaging.grey import GreyImage
from service.inference.runtime import Tensor
from service.inference.version import ModelVersion

SIDE = 28
PATCH = 6  # px: two strokes wide; smaller ones hide too little for a network to notice
STRIDE = 2
EVERY_PIXEL = range(STRIDE - PATCH, SIDE, STRIDE)  # starts that cover each pixel equally often
LEAST = 1e-7  # float32 tells no probabilities apart that are closer to 0 or 1


class Saliency(NamedTuple):
    """`values` (28, 28) in nats: how much the log-odds of the likeliest digit fall when a patch hides the pixel.

    Negative where hiding helps the digit. `images` were asked of the network, the unhidden one included.
    """

    digit: int
    confidence: float
    values: Tensor
    images: int
    queue_s: float
    infer_s: float


async def occlusion(model: ModelVersion, image: GreyImage, timeout_s: float) -> Saliency:
    """Saliency of the likeliest digit for one image, (28, 28) uint8 on black, from one call of the micro-batcher.

    Raises:
        Overloaded, DeadlineExceeded, NotReady, InferenceFailed: see `MicroBatcher.submit`.
    """
    # Black on black hides nothing: those patches would give the same image again.
    patches = [patch for top in EVERY_PIXEL for left in EVERY_PIXEL if image[patch := _patch(top, left)].any()]
    images = np.repeat(image[np.newaxis], len(patches) + 1, axis=0)
    for hidden, patch in zip(images[1:], patches, strict=True):
        hidden[patch] = 0
    answer = await model.infer((images,), timeout_s)
    told = answer.outputs[-1][0, :10]
    digit = int(told.argmax())
    odds = _log_odds(answer.outputs[model.output("probabilities")][:, digit])
    values = np.zeros((SIDE, SIDE))
    for patch, fall in zip(patches, odds[0] - odds[1:], strict=True):
        values[patch] += fall
    values /= (PATCH // STRIDE) ** 2
    return Saliency(digit, float(told[digit]), values, len(images), answer.queue_s, answer.infer_s)


def _patch(top: int, left: int) -> tuple[slice, slice]:
    return slice(max(top, 0), top + PATCH), slice(max(left, 0), left + PATCH)


def _log_odds(probabilities: Tensor) -> Tensor:
    inside = np.clip(probabilities.astype(np.float64), LEAST, 1 - LEAST)
    return np.log(inside / (1 - inside))
