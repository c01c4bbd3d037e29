"""Which ink is the digit: noise, dust and page edges are told from strokes; broken strokes are kept together."""

from __future__ import annotations

from dataclasses import dataclass

import mahotas
import numpy as np
import numpy.typing as npt

from service.imaging.background import SMALL_SIDE, InkMap, Plane
from service.imaging.boxes import without_box
from service.imaging.labels import Labels, Mask, labelled
from service.imaging.rules import without_rules

FAINTEST = 0.03  # of the range: less ink than this cannot be told from a canvas' own rounding
NOISE_SIDE = 100  # pixels across, and as many down, or up to twice as many, tell the noise
NOISES = 4.5  # standard deviations of bare paper that a stroke must stand out by
FAINT = 0.3  # of the ink's level: where a fine pen skips, and more than most ruled lines have
SPECK = 0.03  # of the main mark's area: smaller ones are dust
NEAR = 0.2  # of the digit's longer side: a stroke that far away still belongs to it
STROKE = 0.1  # of the longest mark's extent: what is smaller may be dust
PALE = 0.4  # of the ink's level: a shadow's edge
RIVAL = 0.25  # of the main mark's area: a mark that large elsewhere may be a second digit


@dataclass(frozen=True, slots=True)
class Mark:
    """The digit's `mask` (height, width), the `level` of its ink, and what is odd about it.

    `sides`: how many sides of the frame it touches.
    """

    mask: Mask
    level: float
    sides: int
    steps: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def box(self) -> tuple[int, int, int, int]:
        """Top, bottom, left and right; bottom and right are the first row and column beyond it."""
        rows, columns = (np.nonzero(self.mask.any(axis=axis))[0] for axis in (1, 0))
        return int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1


def find_digit(ink: InkMap, faintest: float = FAINTEST, *, shaded: bool = False) -> Mark | None:
    """The strokes of one digit in `ink`, or None where there are none. `shaded`: shadows may have left marks, too."""
    noise = _noise(ink)
    if noise > 0.002:
        ink = binomial(ink)
        noise = _noise(ink)
    floor = max(NOISES * noise, faintest)
    steps: list[str] = []
    strokes = ink > floor
    if max(ink.shape) > SMALL_SIDE:  # smaller ones are crops, in which only the digit can be so long
        labels = labelled(strokes)
        strokes, framed = _without_frame(strokes, labels)
        strokes, ruled = without_rules(strokes)
        strokes, boxed = without_box(strokes, labelled(strokes) if framed or ruled else labels)
        steps += ["page_edge_removed"] * framed + ["lines_removed"] * ruled + ["box_removed"] * boxed
    strong = ink[strokes]
    if strong.size == 0:
        return None
    level = float(np.percentile(strong, 90))
    labels = labelled(strokes & (ink > max(floor, FAINT * level)))
    if shaded:
        labels = _without_pale(labels, ink)
    chosen, warnings = _grouped(labels)
    mask = np.take(chosen, labels.plane)
    sides = sum(bool(side.any()) for side in (mask[0], mask[-1], mask[:, 0], mask[:, -1]))
    if steps and sides > 1 and "several_marks" not in warnings:
        warnings.append("several_marks")  # one of several stripes: the others were taken for edges or lines
    return Mark(mask, float(np.percentile(ink[mask], 75)), sides, tuple(steps), tuple(warnings))


def _noise(ink: InkMap) -> float:
    """Standard deviation over bare paper, told from what is less than no ink: strokes cannot raise it."""
    sample = ink[:: max(1, ink.shape[0] // NOISE_SIDE), :: max(1, ink.shape[1] // NOISE_SIDE)]
    below = sample[sample < 0]
    return 1.4826 * float(-np.median(below)) if below.size > sample.size // 20 else 0.0


def binomial(ink: Plane) -> Plane:
    """3 x 3 binomial mean."""
    padded: Plane = np.pad(ink, 1, mode="edge")
    rows = padded[:-2] + 2 * padded[1:-1] + padded[2:]
    smooth: Plane = (rows[:, :-2] + 2 * rows[:, 1:-1] + rows[:, 2:]) / np.float32(16)
    return smooth


def _without_frame(mask: Mask, labels: Labels) -> tuple[Mask, bool]:
    """Drop marks that hold a corner of the frame (desk, page edge, shadow), where something else is left."""
    if labels.count < 2:
        return mask, False
    height, width = mask.shape
    edge = max(1, min(mask.shape) // 100)
    frame = np.zeros(labels.count + 1, bool)
    plane = labels.plane
    for corner in (plane[:edge, :edge], plane[:edge, -edge:], plane[-edge:, :edge], plane[-edge:, -edge:]):
        frame[np.unique(corner)] = True
    for side, length in ((plane[0], width), (plane[-1], width), (plane[:, 0], height), (plane[:, -1], height)):
        frame |= np.bincount(side, minlength=labels.count + 1) > 0.3 * length
    frame[0] = False
    if not frame.any():
        return mask, False
    tall = labels.boxes[:, 1] - labels.boxes[:, 0] > 0.08 * height
    if not (~frame & tall & (labels.sizes > 0.0004 * mask.size)).any():
        return mask, False
    return mask & ~frame[plane], True


def _without_pale(labels: Labels, ink: InkMap) -> Labels:
    """Without the edges of shadows: long marks that are far paler than a smaller one, which is ink."""
    levels = mahotas.labeled.labeled_max(ink, labels.plane)
    long = labels.extents >= max(STROKE * labels.extents.max(), STROKE / 2 * min(labels.shape))
    return labels.only(levels >= PALE * levels[long].max(initial=0))


def _grouped(labels: Labels) -> tuple[npt.NDArray[np.bool_], list[str]]:
    """Which labels make up the digit: the weightiest mark, and those near enough and large enough to be its strokes."""
    sizes, boxes = labels.sizes.astype(float), labels.boxes.astype(float)
    height, width = labels.shape
    offset = np.hypot((boxes[:, 0] + boxes[:, 1]) / 2 / height - 0.5, (boxes[:, 2] + boxes[:, 3]) / 2 / width - 0.5)
    main = int((np.sqrt(sizes * labels.extents) * (1.3 - offset)).argmax())
    chosen = np.arange(len(sizes)) == main
    while True:
        top, left = boxes[chosen, 0].min(), boxes[chosen, 2].min()
        bottom, right = boxes[chosen, 1].max(), boxes[chosen, 3].max()
        down = np.maximum(0, np.maximum(boxes[:, 0] - bottom, top - boxes[:, 1]))
        across = np.maximum(0, np.maximum(boxes[:, 2] - right, left - boxes[:, 3]))
        near = np.hypot(down, across) < NEAR * max(bottom - top, right - left)
        grown = chosen | (near & (sizes >= SPECK * sizes[main]))
        if (grown == chosen).all():
            break
        chosen = grown
    warnings = ["several_marks"] if (sizes[~chosen] > RIVAL * sizes[main]).any() else []
    if top <= 0 or left <= 0 or bottom >= height or right >= width:
        warnings.append("touches_border")
    return chosen, warnings
