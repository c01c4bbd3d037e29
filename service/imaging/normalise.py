"""One grey picture -> 28 x 28 in MNIST's convention: light ink on black, 20 x 20 box, centre of mass in the middle.

Never fails on a picture: a blank one gives zeros and a warning.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import mahotas
import numpy as np
from msgspec import Struct
from PIL import Image

from service.errors import InvalidImage
from service.imaging import convention
from service.imaging.background import SMALL_SIDE, Ground, InkMap, even_ground, uneven_ground
from service.imaging.decode import Picture
from service.imaging.fit import BOX, FINE, SIDE, fit, stroke_width
from service.imaging.grey import GreyImage
from service.imaging.labels import EIGHT
from service.imaging.marks import FAINTEST, Mark, binomial, find_digit
from service.imaging.page import Box, find_page
from service.imaging.smooth import smooth_ground
from service.imaging.texture import is_noise, is_texture, noise_deviation

ALREADY_MNIST = (convention.KEPT,)
WINDOWS = (0.16, 0.45)  # of the shorter side: how closely light and shadow are followed
AGREED = 0.1  # of the ground's brightness: nothing but shadow or thick strokes parts the two windows by more
FAINTEST_RAW = 16  # grey levels between the darkest and the lightest pixel: less is nothing that a network could read
NOISY = 25  # grey levels of noise's deviation; rendered pictures and the wild sample have 7 at most (docs/log.md)
MOST_SMOOTHING = 3
FAINT_INK = 0.15  # of what ink can be: a pencil's, or a shadow's
LEAST_SIDE = 6  # px of a mark's longer side: in fewer nobody reads a digit; a bright corner leaves such marks
VIEW_SIDE = 320  # px: the digit is looked for on a picture this large; its strokes are then cut from the larger one


class Normalised(Struct, frozen=True):
    """`pixels` uint8 (28, 28), light ink on black; what was done to them; what may make the answer doubtful."""

    pixels: GreyImage
    steps: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def exact(picture: Picture) -> Normalised:
    """`preprocess=none`: 28 x 28 as it comes. Raises `InvalidImage` for any other size."""
    if picture.pixels.shape != (SIDE, SIDE):
        height, width = picture.pixels.shape
        raise InvalidImage(
            f"preprocess=none expects 28 x 28 pixels; got {picture.width or width} x {picture.height or height}. "
            "Send 28 x 28, light ink on black, or leave preprocess at auto."
        )
    pixels = picture.pixels
    blank = int(pixels.max()) - int(pixels.min()) < FAINTEST_RAW
    return Normalised(pixels, picture.steps, ("blank",) if blank else ())


def normalise(picture: Picture) -> Normalised:
    """`preprocess=auto`: any picture of one digit."""
    return in_convention(picture) or found_in(picture)


def in_convention(picture: Picture) -> Normalised | None:
    """A picture that keeps MNIST's convention, but for its polarity or a move; None for any other. Takes 5 us."""
    placed = convention.place(picture.pixels)
    return None if placed is None else Normalised(placed[0], (*picture.steps, *placed[1]))


def already_mnist(pictures: Sequence[Picture | None]) -> list[Normalised | None]:
    """What `in_convention` gives for those that keep the convention as they are, quicker; None for all others."""
    alike = {index: one for index, one in enumerate(pictures) if one is not None and one.pixels.shape == (SIDE, SIDE)}
    found: list[Normalised | None] = [None] * len(pictures)
    if alike:
        kept = convention.keep([picture.pixels for picture in alike.values()])
        for (index, picture), keeps in zip(alike.items(), kept, strict=True):
            if keeps:
                found[index] = Normalised(picture.pixels, picture.steps + ALREADY_MNIST)
    return found


def found_in(picture: Picture) -> Normalised:
    """The digit that is looked for in any other picture. Takes milliseconds."""
    if is_noise(picture.pixels):
        return Normalised(_middle(picture.pixels), picture.steps, ("noise",))
    pixels, smoothed = _denoised(picture.pixels)
    for place in _places(pixels, noisy=smoothed):
        if place.mark is not None:
            break
    ground, mark = place.ground, place.mark
    steps = [*picture.steps, *(["denoised"] if smoothed else []), *place.steps]
    steps += [*(["inverted"] if ground.dark else []), *([] if ground.even else ["light_flattened"])]
    if mark is None or _is_tiny(mark, place.pixels) or (not ground.even and _is_light(mark)):
        return Normalised(np.zeros((SIDE, SIDE), np.uint8), tuple(steps), ("blank",))
    steps += [*mark.steps, "cropped", "centred"]
    warnings = [*mark.warnings, *(["low_contrast"] if mark.level < FAINT_INK else [])]
    if not ground.even and "several_marks" not in warnings and is_texture(place.view, ground, mark):
        warnings.append("several_marks")
    return Normalised(fit(_strokes(place.pixels, ground, mark)), tuple(steps), tuple(warnings))


class _Place(NamedTuple):
    """A part of a picture in full and as a view of it, with its ground and the digit found there."""

    pixels: GreyImage
    view: GreyImage
    ground: Ground
    mark: Mark | None
    steps: tuple[str, ...] = ()


def _places(pixels: GreyImage, *, noisy: bool) -> Iterator[_Place]:
    """Where the digit may be, to be taken where it is found first: alone in smooth light, on a page, or anywhere."""
    view = _view(pixels)
    large = max(view.shape) > SMALL_SIDE
    even = even_ground(view, noisy=noisy)
    if large and even is None and (alone := _in_smooth_light(view)) is not None:
        yield _Place(pixels, view, *alone)
    if large and (page := find_page(view)) is not None:
        inner = _cut(pixels, page)
        inner_view = _view(inner)
        found = _found(inner_view, even_ground(inner_view, noisy=noisy))
        yield _Place(inner, inner_view, *found, ("page_found",))
    yield _Place(pixels, view, *_found(view, even))


def _is_tiny(mark: Mark, pixels: GreyImage) -> bool:
    """Whether the mark has too few of the pixels that were sent."""
    top, bottom, left, right = mark.box
    return bool(max(bottom - top, right - left) * max(pixels.shape) < LEAST_SIDE * max(mark.mask.shape))


def _is_light(mark: Mark) -> bool:
    """Whether what is left of uneven light is more of it: it meets two sides, or one and is as pale as light is."""
    return mark.sides > 1 or (mark.sides == 1 and mark.level < FAINT_INK)


def _denoised(pixels: GreyImage) -> tuple[GreyImage, bool]:
    """Smoothed until single pixels are no ink any more, and whether that was needed: specks join strokes otherwise."""
    smoothed = False
    if min(pixels.shape) >= SIDE:  # in fewer pixels, strokes themselves are that sharp
        for _ in range(MOST_SMOOTHING):
            if noise_deviation(pixels) < NOISY:
                break
            pixels, smoothed = np.rint(binomial(pixels.astype(np.float32))).astype(np.uint8), True
    return pixels, smoothed


def _middle(pixels: GreyImage) -> GreyImage:
    top, left = (pixels.shape[0] - SIDE) // 2, (pixels.shape[1] - SIDE) // 2
    return np.ascontiguousarray(pixels[top : top + SIDE, left : left + SIDE])


def _cut(pixels: GreyImage, box: Box) -> GreyImage:
    height, width = pixels.shape
    left, top, right, bottom = box
    return pixels[int(top * height) : int(bottom * height), int(left * width) : int(right * width)]


def _in_smooth_light(view: GreyImage) -> tuple[Ground, Mark] | None:
    """Ground and digit where light falls off without an edge and the digit lies alone in it."""
    if (ground := smooth_ground(view)) is None:
        return None
    mark = find_digit(ground.ink(view))
    return None if mark is None or mark.sides or mark.warnings else (ground, mark)


def _found(view: GreyImage, even: Ground | None) -> tuple[Ground, Mark | None]:
    """Ground and digit. Light that is not `even` is followed closely, unless that would take thick strokes for it."""
    if even is not None:
        ink = even.ink(view)
        return even, find_digit(ink, max(FAINTEST, 0.12 * float(np.percentile(ink, 99.5))))
    close, wide = (uneven_ground(view, window) for window in WINDOWS)
    close = replace(close, dark=wide.dark)  # in a small window thick strokes outweigh the paper
    mark = find_digit(close.ink(view), shaded=True)
    apart = float(np.percentile(np.abs(close.surface - wide.surface), 99))
    if apart < AGREED * max(64.0, float(wide.surface.mean())):
        return close, mark
    bold = find_digit(wide.ink(view), shaded=True)
    if bold is not None and (mark is None or _bolder(bold, mark)):
        return wide, bold
    return close, mark


def _bolder(bold: Mark, mark: Mark) -> bool:
    """Whether `mark` is what was left of the thick strokes of `bold`, and `bold` no shadow from the frame's edge."""
    thick = stroke_width(bold.mask) > 0.3 * WINDOWS[0] * min(bold.mask.shape)
    inside = (mark.mask & bold.mask).sum() > 0.6 * mark.mask.sum()
    return bool(thick and inside and "touches_border" not in bold.warnings)


def _view(pixels: GreyImage) -> GreyImage:
    image = Image.fromarray(pixels)
    scale = VIEW_SIDE / max(image.size)
    if scale >= 1:
        return pixels
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    return np.asarray(image.resize(size, Image.Resampling.BOX))


def _strokes(pixels: GreyImage, ground: Ground, mark: Mark) -> InkMap:
    """The digit alone, cut from the full picture at 120 px on its longer side; 0..1, a stroke's edge at 0.5."""
    top, bottom, left, right = mark.box
    height, width = mark.mask.shape
    top, left, bottom, right = max(top - 1, 0), max(left - 1, 0), min(bottom + 1, height), min(right + 1, width)
    scale = BOX * FINE / max(bottom - top, right - left)
    size = max(1, round((right - left) * scale)), max(1, round((bottom - top) * scale))
    zoom = pixels.shape[1] / width, pixels.shape[0] / height
    image = Image.fromarray(pixels)
    part = (left * zoom[0], top * zoom[1], right * zoom[0], bottom * zoom[1])
    filter_ = Image.Resampling.BICUBIC if size[0] > part[2] - part[0] else Image.Resampling.BOX
    fine = np.asarray(image.resize(size, filter_, part))
    ink = ground.ink(fine, (left / width, top / height, right / width, bottom / height))
    grown = Image.fromarray(mahotas.dilate(mark.mask, EIGHT)).convert("L")
    near = np.asarray(grown.resize(size, Image.Resampling.BILINEAR, (left, top, right, bottom))) > 127
    inside = ink[near & (ink > 0.4 * mark.level)]
    level = float(np.percentile(inside, 75)) if inside.size else mark.level
    strokes: InkMap = np.where(near, np.clip(ink / level, 0, 1), 0).astype(np.float32)
    ys, xs = np.nonzero((strokes > 0.5).any(1))[0], np.nonzero((strokes > 0.5).any(0))[0]
    return strokes[ys[0] : ys[-1] + 1, xs[0] : xs[-1] + 1] if ys.size else strokes
