"""Scribbles, shapes and stars: polylines drawn four times too large with a random pen, then put into the box."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from training.outliers.placing import Images, in_box

Points = npt.NDArray[np.floating]  # (k, 2): x, y in 0..1
SIDE = 128
ROOM = 0.15  # of the side: free on every edge before a shape is turned
PENS = (0.06, 0.2)  # stroke width as a share of a drawing's longer side: 1.2 to 4 px of the box


@dataclass(frozen=True, slots=True)
class Line:
    """One stroke, or, `filled`, the surface it goes around."""

    points: Points
    filled: bool = False


Drawing = list[Line]
Draughtsman = Callable[[np.random.Generator], Drawing]


def scribbles(n: int, rng: np.random.Generator) -> Images:
    """Curves without a meaning: tangles, hatching, and heaps of short strokes."""
    return _drawn((_tangle, _tangle, _heap, _hatching, _spiral, _dots), n, rng)


def shapes(n: int, rng: np.random.Generator) -> Images:
    """Polygons, discs, arrows, grids, ticks, waves; no outline that a hand could mean as a 0, 1 or 7."""
    return _drawn(SHAPES, n, rng)


def stars(n: int, rng: np.random.Generator) -> Images:
    """Stars and hearts, outlined or filled. Held out of every fit."""
    return _drawn((_star, _star, _heart), n, rng)


def _drawn(kinds: tuple[Draughtsman, ...], n: int, rng: np.random.Generator) -> Images:
    chosen = rng.integers(len(kinds), size=n)
    return in_box(_sheet(kinds[kind](rng), rng) for kind in chosen)


def _sheet(drawing: Drawing, rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """The drawing turned, stretched and shaken a little, as ink 0..1."""
    angle, shear, aspect = rng.normal(0, 0.25), rng.normal(0, 0.12), np.exp(rng.normal(0, 0.15))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = turn @ np.array([[aspect, shear], [0, 1 / aspect]])
    shaken = [(line.points - 0.5) @ matrix.T + rng.normal(0, 0.008, line.points.shape) for line in drawing]
    every = np.concatenate(shaken)
    low, high = every.min(0), every.max(0)
    scale = (1 - 2 * ROOM) * SIDE / max(float((high - low).max()), 1e-3)
    shift = SIDE / 2 - scale * (low + high) / 2
    sheet = Image.new("L", (SIDE, SIDE))
    draw = ImageDraw.Draw(sheet)
    width = max(2, round(rng.uniform(*PENS) * (1 - 2 * ROOM) * SIDE))
    for line, points in zip(drawing, shaken, strict=True):
        corners = [(float(x), float(y)) for x, y in scale * points + shift]
        if line.filled:
            draw.polygon(corners, fill=255)
        else:
            draw.line(corners, fill=255, width=width, joint="curve")
            for x, y in (corners[0], corners[-1]):
                draw.ellipse((x - width / 2, y - width / 2, x + width / 2, y + width / 2), fill=255)
    ink: npt.NDArray[np.float32] = np.asarray(sheet, np.float32)
    return ink / np.float32(255)


def _smooth(points: Points, steps: int = 6) -> Points:
    """A curve near these points: Chaikin's corner cutting, twice, is enough at this size."""
    for _ in range(2 if steps > 3 else 1):
        near, far = 0.75 * points[:-1] + 0.25 * points[1:], 0.25 * points[:-1] + 0.75 * points[1:]
        points = np.concatenate([points[:1], np.stack([near, far], 1).reshape(-1, 2), points[-1:]])
    return points


def _ring(corners: int, radius: float = 0.5, start: float = 0.0) -> Points:
    angles = start + 2 * np.pi * np.arange(corners + 1) / corners
    return 0.5 + radius * np.stack([np.cos(angles), np.sin(angles)], 1)


def _line(*points: tuple[float, float]) -> Line:
    return Line(np.array(points))


def _tangle(rng: np.random.Generator) -> Drawing:
    strokes = int(rng.integers(1, 4))
    return [Line(_smooth(rng.random((int(rng.integers(8, 22)) // strokes + 3, 2)))) for _ in range(strokes)]


def _heap(rng: np.random.Generator) -> Drawing:
    starts = rng.random((int(rng.integers(4, 12)), 2))
    return [Line(_smooth(start + np.cumsum(rng.normal(0, 0.2, (3, 2)), 0))) for start in starts]


def _hatching(rng: np.random.Generator) -> Drawing:
    legs = int(rng.integers(5, 12))
    x = np.linspace(0, 1, legs)
    y = np.arange(legs) % 2 + rng.normal(0, 0.12, legs)
    points = np.stack([x, y], 1)
    return [Line(_smooth(points) if rng.random() < 0.5 else points)]


def _spiral(rng: np.random.Generator) -> Drawing:
    turns = rng.uniform(2, 4)
    angle = np.linspace(0, 2 * np.pi * turns, 80)
    radius = np.linspace(0.04, 0.5, 80)
    hand = rng.choice([-1, 1])
    return [Line(0.5 + radius[:, None] * np.stack([np.cos(angle), hand * np.sin(angle)], 1))]


def _dots(rng: np.random.Generator) -> Drawing:
    return [
        Line(at + _ring(10, rng.uniform(0.02, 0.09)) - 0.5, filled=True) for at in rng.random((rng.integers(3, 12), 2))
    ]


def _polygon(rng: np.random.Generator) -> Drawing:
    corners = int(rng.integers(3, 8))
    points = _ring(corners, start=rng.uniform(0, np.pi)) + rng.normal(0, 0.08, (corners + 1, 2))
    return [Line(points, filled=True)]


def _disc(rng: np.random.Generator) -> Drawing:
    squashed = _ring(40) * [1, rng.uniform(0.3, 1)]
    disc = [Line(squashed, filled=True)]
    return disc if rng.random() < 0.6 else [*disc, Line(_ring(3, 0.7, rng.uniform(0, 6)), filled=True)]


def _triangle(rng: np.random.Generator) -> Drawing:
    points = _ring(3, start=rng.uniform(0, np.pi)) if rng.random() < 0.5 else _ring(4, start=np.pi / 4)
    outline = [Line(points)]
    return outline if len(points) == 4 else [*outline, Line(points[[0, 2]])]


def _arrow(rng: np.random.Generator) -> Drawing:
    quarter = int(rng.integers(4))
    head = rng.uniform(0.2, 0.4)
    lines = [np.array([(0, 0.5), (1, 0.5)]), np.array([(1 - head, 0.5 - head), (1, 0.5), (1 - head, 0.5 + head)])]
    if rng.random() < 0.3:
        lines.append(1 - lines[1])
    turn = np.linalg.matrix_power(np.array([[0, -1], [1, 0]]), quarter)
    return [Line((points - 0.5) @ turn.T + 0.5) for points in lines]


def _grid(rng: np.random.Generator) -> Drawing:
    across, down = rng.integers(2, 5, 2)
    rows = [_line((0, y), (1, y)) for y in np.linspace(0.05, 0.95, down)]
    return rows + [_line((x, 0), (x, 1)) for x in np.linspace(0.05, 0.95, across)]


def _cross(rng: np.random.Generator) -> Drawing:
    rays = int(rng.integers(2, 5))
    angles = rng.uniform(0, np.pi) + np.pi * np.arange(rays) / rays
    ends = [0.5 * np.array([np.cos(angle), np.sin(angle)]) for angle in angles]
    cross = [Line(np.stack([0.5 - end, 0.5 + end])) for end in ends]
    return [*cross, Line(_ring(24, rng.uniform(0.25, 0.5)))] if rng.random() < 0.3 else cross


def _tick(rng: np.random.Generator) -> Drawing:
    return [_line((0, rng.uniform(0.4, 0.7)), (rng.uniform(0.25, 0.45), 1), (1, rng.uniform(0, 0.2)))]


def _wave(rng: np.random.Generator) -> Drawing:
    x = np.linspace(0, 1, 60)
    y = 0.5 + rng.uniform(0.1, 0.4) * np.sin(2 * np.pi * rng.uniform(1.5, 4) * x + rng.uniform(0, 6))
    return [Line(np.stack([x, y], 1))]


def _bars(rng: np.random.Generator) -> Drawing:
    lines = int(rng.integers(1, 5))
    return [_line((0, y), (1, y + rng.normal(0, 0.05))) for y in (np.arange(lines) + 0.5) / max(lines, 2)]


def _target(rng: np.random.Generator) -> Drawing:
    radii = np.linspace(0.5, 0.12, int(rng.integers(2, 4)))
    rings = [Line(_ring(32, radius)) for radius in radii]
    return [*rings, Line(_ring(20, 0.08), filled=True)] if rng.random() < 0.5 else rings


def _house(rng: np.random.Generator) -> Drawing:
    eaves = rng.uniform(0.3, 0.5)
    walls = _line((0.1, eaves), (0.1, 1), (0.9, 1), (0.9, eaves))
    roof = _line((0, eaves), (0.5, 0), (1, eaves), (0, eaves))
    return [walls, roof, _line((0.4, 1), (0.4, 0.7), (0.6, 0.7), (0.6, 1))]


def _cloud(rng: np.random.Generator) -> Drawing:
    """An outline of bows."""
    bows = int(rng.integers(5, 9))
    angle = np.linspace(0, 2 * np.pi, 12 * bows + 1)
    radius = 0.36 + rng.uniform(0.12, 0.2) * np.abs(np.sin(bows * angle / 2 + rng.uniform(0, 3)))
    points = 0.5 + radius[:, None] * np.stack([np.cos(angle), rng.uniform(0.5, 0.9) * np.sin(angle)], 1)
    return [Line(points, filled=rng.random() < 0.3)]


def _bolt(rng: np.random.Generator) -> Drawing:
    """A flash of lightning."""
    upper, lower = rng.uniform(0.4, 0.5), rng.uniform(0.5, 0.65)
    points = [(0.6, 0), (0.1, lower), (0.45, lower), (0.3, 1), (0.9, upper), (0.5, upper), (0.6, 0)]
    return [Line(np.array(points), filled=rng.random() < 0.7)]


def _star(rng: np.random.Generator) -> Drawing:
    rays = int(rng.integers(5, 9))
    if rays == 5 and rng.random() < 0.4:  # in one stroke, as children draw it
        return [Line(_ring(5, start=np.pi / 2)[[0, 2, 4, 1, 3, 0]])]
    points = _ring(2 * rays, start=rng.uniform(0, np.pi))
    points[1::2] = 0.5 + rng.uniform(0.35, 0.6) * (points[1::2] - 0.5)
    return [Line(points, filled=rng.random() < 0.5)]


def _heart(rng: np.random.Generator) -> Drawing:
    t = np.linspace(0, 2 * np.pi, 50)
    x = 16 * np.sin(t) ** 3
    y = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    return [Line(np.stack([0.5 + x / 34, 0.5 - y / 34], 1), filled=rng.random() < 0.5)]


SHAPES: tuple[Draughtsman, ...] = (
    _polygon,
    _disc,
    _triangle,
    _arrow,
    _grid,
    _cross,
    _tick,
    _wave,
    _bars,
    _target,
    _house,
    _cloud,
    _bolt,
)
