"""How a hand could have drawn the test digits that come with the page: their middle lines, as strokes of a pen."""

import mahotas
import numpy as np
from live import ROOT
from PIL import Image

SCALE = 4  # the lines are found on a picture this many times as large
SPUR = 3 * SCALE  # shorter side branches come from thinning, not from a pen
SHEET = ROOT / "service" / "web" / "samples.png"
NEIGHBOURS = [(-1, 0), (1, 0), (0, -1), (0, 1), (-1, -1), (-1, 1), (1, -1), (1, 1)]

Point = tuple[float, float]


def sample(digit: int, nth: int = 0) -> np.ndarray:
    """The nth picture of this digit in the page's sheet, 28 x 28 uint8."""
    sheet = np.asarray(Image.open(SHEET).convert("L"))
    return sheet[28 * digit : 28 * digit + 28, 28 * nth : 28 * nth + 28]


def strokes(image: np.ndarray) -> list[list[Point]]:
    """The digit's lines as paths of (x, y) from 0 to 1, longest first."""
    side = 28 * SCALE
    large = np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC))
    line = {(int(y), int(x)) for y, x in np.argwhere(mahotas.thin(large > 110))}
    paths = sorted(_walks(line), key=len, reverse=True)
    kept = [path for at, path in enumerate(paths) if at == 0 or len(path) > SPUR]
    return [[((x + 0.5) / side, (y + 0.5) / side) for y, x in (*path[:-1:6], path[-1])] for path in kept]


def _walks(line: set[tuple[int, int]]) -> list[list[tuple[int, int]]]:
    """Paths that together go over every point of a thin line, from its ends, each as far as it gets."""
    left = set(line)
    paths = []
    while left:
        ends = [point for point in left if len(_next_to(point, left)) <= 1]
        path = [min(ends or left)]
        left.discard(path[0])
        while around := _next_to(path[-1], left):
            path.append(min(around, key=lambda point: _turn(path, point)))
            left.discard(path[-1])
        paths.append(_joined(path, line - left - set(path)))
    return paths


def _next_to(point: tuple[int, int], line: set[tuple[int, int]]) -> list[tuple[int, int]]:
    return [found for dy, dx in NEIGHBOURS if (found := (point[0] + dy, point[1] + dx)) in line]


def _turn(path: list[tuple[int, int]], to: tuple[int, int]) -> float:
    """How much a step to this point would turn from the way of the last steps; the least is the way a pen goes."""
    (y, x), (y0, x0) = path[-1], path[max(0, len(path) - 5)]
    return -((y - y0) * (to[0] - y) + (x - x0) * (to[1] - x)) / np.hypot(to[0] - y, to[1] - x)


def _joined(path: list[tuple[int, int]], drawn: set[tuple[int, int]]) -> list[tuple[int, int]]:
    """The path with the points of earlier ones that it touches at its ends: branches meet, rings close."""
    before, after = _next_to(path[0], drawn), _next_to(path[-1], drawn)
    return [*before[:1], *path, *(after or [point for point in _next_to(path[-1], {path[0]}) if len(path) > SPUR])[:1]]
