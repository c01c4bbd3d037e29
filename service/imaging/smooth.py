"""Light that only falls off, as a lamp's or in a vignette: its ground is a polynomial through what is no ink."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from service.imaging.background import (
    DEEPEST_SHADOW,
    FLAT,
    TILT_ROUNDS,
    TILTED,
    Ground,
    Values,
    histogram,
    shrunk,
    two_means,
)
from service.imaging.grey import GreyImage

SMOOTH_SIDE = 32  # px: light without shadows is followed on a picture this large
DEGREE = 4  # of the polynomial that light falling off follows: a vignette goes with the fourth power
# Of row and column, in a polynomial's terms; then those that only products of two terms have.
POWERS = sorted(((i, j) for i in range(2 * DEGREE + 1) for j in range(2 * DEGREE + 1 - i)), key=sum)
TERMS = [powers for powers in POWERS if sum(powers) <= DEGREE]
PRODUCTS = np.array([[POWERS.index((i + k, j + m)) for k, m in TERMS] for i, j in TERMS])
SMOOTH_ROUNDS = 8
INK_SHARE = 0.998  # so much of a picture is paler than the ink of a small digit in it
MOST_INK = 0.4  # of the picture
INK_SIDES = np.array([[-1.0], [1.0]])  # ink darker than its ground, and lighter


def smooth_ground(pixels: GreyImage) -> Ground | None:
    """The ground where light only falls off: a lamp, a vignette. None where a shadow's edge, or all else, parts it.

    Robust least squares of a polynomial: thick strokes, which outweigh the paper in any window, are left out.
    """
    coarse = shrunk(pixels, SMOOTH_SIDE)
    values = coarse.astype(np.float64)
    every = np.ones((2, values.size), bool)
    if (ground := _followed(values, every)) is not None:
        return ground
    low, high = two_means(histogram(np.rint(coarse).astype(np.uint8)))
    if low >= DEEPEST_SHADOW * high:
        return None
    # Thick strokes may outweigh the rest; then from what is lighter than they.
    return _followed(values, np.stack([values.reshape(-1) >= (low + high) / 2, every[1]]))


def _followed(values: Values, kept: npt.NDArray[np.bool_]) -> Ground | None:
    """The ground of `values` (height, width), if one of the two that begin with what is `kept` explains them."""
    surfaces, apart = _bare(_monomials(*values.shape), values.reshape(-1), kept)
    near, pale = (np.abs(apart) < TILTED).mean(axis=1), (apart < 0.5).mean(axis=1)
    likely = np.where((pale > 1 - MOST_INK) & (near > FLAT * pale), near, 0)
    best = int(likely.argmax())
    if not likely[best]:
        return None
    return Ground(surfaces[best].reshape(values.shape).astype(np.float32), dark=best == 0, even=False)


@lru_cache(maxsize=16)
def _monomials(height: int, width: int) -> Values:
    """(pixels, 45): the products of powers of row and column in `POWERS`."""
    down, across = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].reshape(2, -1)
    return np.stack([down**i * across**j for i, j in POWERS], axis=1)


def _bare(monomials: Values, values: Values, kept: npt.NDArray[np.bool_]) -> tuple[Values, Values]:
    """(2, pixels): the surface through what is no ink, where ink is darker and where it is lighter, and how far the
    values are from it: 0 bare, 1 as far as ink is.
    """
    for _ in range(SMOOTH_ROUNDS):
        surfaces = _through(monomials, values, kept)
        apart = INK_SIDES * (values - surfaces)
        spread = 1.4826 * _median(np.where(kept, np.abs(apart), np.inf), kept.sum(axis=1))
        kept = (apart <= 2 * spread) & (apart >= -4 * spread)  # at least half, whatever the values
    rank = [round(INK_SHARE * (len(values) - 1))]
    ink = np.partition(apart, rank, axis=1)[:, rank]
    for _ in range(TILT_ROUNDS):
        kept = np.abs(apart) < 0.25 * ink
        surfaces = _through(monomials, values, kept)
        apart = INK_SIDES * (values - surfaces)
        ink = np.partition(apart, rank, axis=1)[:, rank]
    return surfaces, apart / np.maximum(ink, 1e-6)


def _median(values: Values, counts: npt.NDArray[np.intp]) -> Values:
    """(rows, 1): the median of the least `counts` values of each row, which are sorted in vector registers."""
    values.sort(axis=1)
    rows = np.arange(len(values))
    return (values[rows, counts // 2] + values[rows, (counts - 1) // 2])[:, None] / 2


def _through(monomials: Values, values: Values, kept: npt.NDArray[np.bool_]) -> Values:
    """(rows, pixels): the polynomials nearest to the values that each row of `kept` keeps, by the normal equations: 15
    unknowns, which are nearly orthogonal.
    """
    weights, basis = kept.astype(np.float64), monomials[:, : len(PRODUCTS)]
    # A product of two terms is a monomial again, so that 45 sums give all 225.
    gram = (weights @ monomials)[:, PRODUCTS] + 1e-6 * np.eye(len(PRODUCTS))
    terms = np.linalg.solve(gram, ((weights * values) @ basis)[..., None])[..., 0]
    surfaces: Values = terms @ basis.T
    return surfaces
