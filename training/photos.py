"""MNIST digits as people photograph, scan or draw them: files for `service.imaging`, to find its faults and train on.

Pure and seeded: the same digit, generator state and condition give the same bytes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from training import bitmaps, scenery
from training.ink import GreyImage, Plane, Renderer, Sheet, encoded, grey_bytes, ink_on_sheet

QUICK_SIDE = (150, 330)  # px: the service looks at 320; larger frames cost more and show it nothing else


def render(digit: GreyImage, rng: np.random.Generator, condition: str | None = None, *, quick: bool = False) -> bytes:
    """An encoded picture of `digit`, (28, 28) as in MNIST, under `condition`: a key of `CONDITIONS`, or any of them.

    `quick` photographs with fewer pixels, at a sixth of the time.
    """
    name = str(rng.choice(list(CONDITIONS))) if condition is None else condition
    draw = CONDITIONS[name]
    return (replace(draw, side=QUICK_SIDE) if quick and isinstance(draw, Photo) else draw)(digit, rng)


@dataclass(frozen=True, slots=True)
class Photo:
    """A photo of ink on paper; pairs are the bounds of a uniform draw."""

    pen: tuple[float, float] = (0.02, 0.05)  # stroke width as a share of the digit's height
    contrast: tuple[float, float] = (0.5, 0.85)  # share of the light that the ink swallows
    paper: tuple[float, float] = (0.55, 0.95)
    size: tuple[float, float] = (0.3, 0.7)
    unevenness: tuple[float, float] = (0.05, 0.35)
    side: tuple[int, int] = (280, 900)
    drift: float = 0.12
    shadow: bool = False
    lines: str | None = None  # "ruled" or "squared"
    box: bool = False  # a printed frame around the digit
    edge: bool = False  # the page ends inside the frame
    specks: tuple[int, int] = (0, 3)
    gap: float = 0.0
    grain: float = 0.0  # how far the ink is speckled, as pencil and chalk are

    def __call__(self, digit: GreyImage, rng: np.random.Generator) -> bytes:
        brightness = self.scene(digit, rng)
        brightness = scenery.camera(brightness, rng, blur=rng.uniform(0.3, 1.3), noise=rng.uniform(0.004, 0.025))
        return encoded(grey_bytes(brightness), "JPEG", int(rng.integers(60, 96)))

    def scene(self, digit: GreyImage, rng: np.random.Generator) -> Plane:
        side = int(rng.integers(*self.side))
        frame = (side, round(side * rng.uniform(0.75, 1.34)))
        sheet = Sheet(frame, rng.uniform(*self.size), rng.uniform(*self.pen), self.drift, gap=self.gap)
        ink = ink_on_sheet(digit, rng, sheet)
        if self.grain:
            ink = ink * np.clip(1 - self.grain * np.abs(scenery.texture(frame, rng, 2.5)), 0, 1)
        paper = rng.uniform(*self.paper) * (
            1 + 0.01 * scenery.texture(frame, rng, 3) + 0.012 * scenery.texture(frame, rng, side / 8)
        )
        if self.lines:
            paper = paper * (1 - rng.uniform(0.12, 0.45) * scenery.lines(frame, rng, squared=self.lines == "squared"))
        if self.box:
            paper = paper * (1 - rng.uniform(0.4, 0.8) * scenery.box(ink, rng))
        scene = scenery.dusty(paper.astype(np.float32), rng, int(rng.integers(*self.specks, endpoint=True)))
        scene = scene * (1 - rng.uniform(*self.contrast) * ink)
        if self.edge:
            scene = scenery.desk(scene, rng)
        scene = scene * scenery.light(frame, rng, rng.uniform(*self.unevenness))
        return scene * scenery.shadow(frame, rng) if self.shadow else scene


def _coloured(digit: GreyImage, rng: np.random.Generator) -> bytes:
    """Blue, red, green or violet pen on white, yellow or pink paper, in colour."""
    inks = ((0.1, 0.2, 0.7), (0.75, 0.1, 0.15), (0.1, 0.5, 0.25), (0.4, 0.15, 0.55), (0.9, 0.45, 0.1))
    papers = ((0.95, 0.95, 0.95), (0.97, 0.92, 0.55), (0.96, 0.78, 0.82), (0.75, 0.85, 0.95))
    side = int(rng.integers(280, 600))
    frame = (side, round(side * rng.uniform(0.75, 1.34)))
    ink = ink_on_sheet(digit, rng, Sheet(frame, rng.uniform(0.3, 0.7), rng.uniform(0.025, 0.07)))[..., None]
    colour = np.array(papers[rng.integers(len(papers))]) * (1 - ink) + np.array(inks[rng.integers(len(inks))]) * ink
    colour = colour * scenery.light(frame, rng, rng.uniform(0.05, 0.3))[..., None]
    planes = [scenery.camera(colour[..., i].astype(np.float32), rng, blur=0.7, noise=0.012) for i in range(3)]
    return encoded(grey_bytes(np.stack(planes, -1)), "JPEG", int(rng.integers(70, 96)))


def _canvas(*, light: bool, pen: tuple[float, float] = (0.03, 0.16), gap: float = 0.0) -> Renderer:
    """A drawing program: flat ground, hard pen, nothing else."""

    def draw(digit: GreyImage, rng: np.random.Generator) -> bytes:
        side = int(rng.integers(200, 601))
        sheet = Sheet((side, side), rng.uniform(0.35, 0.85), rng.uniform(*pen), drift=0.08, gap=gap)
        ink = ink_on_sheet(digit, rng, sheet)
        if rng.random() < 0.4:
            ink = np.round(ink)
        return encoded(grey_bytes(ink if light else 1 - ink), "PNG")

    return draw


def _transparent(digit: GreyImage, rng: np.random.Generator) -> bytes:
    """Ink in the alpha channel alone, of one colour on a clear ground."""
    side = int(rng.integers(200, 601))
    ink = ink_on_sheet(digit, rng, Sheet((side, side), rng.uniform(0.4, 0.85), rng.uniform(0.03, 0.12), drift=0.08))
    rgba = np.zeros((side, side, 4), np.uint8)
    rgba[..., :3] = rng.integers(0, 256, 3)
    rgba[..., 3] = grey_bytes(ink)
    return encoded(rgba, "PNG")


def _scan(digit: GreyImage, rng: np.random.Generator) -> bytes:
    """A flat-bed scan: even light, dust, sometimes black and white only."""
    side = int(rng.integers(120, 500))
    frame = (side, round(side * rng.uniform(0.7, 1.4)))
    ink = ink_on_sheet(digit, rng, Sheet(frame, rng.uniform(0.4, 0.85), rng.uniform(0.03, 0.1), drift=0.08, gap=0.2))
    scene = scenery.dusty(rng.uniform(0.9, 1.0) * (1 - rng.uniform(0.6, 0.95) * ink), rng, int(rng.integers(0, 12)))
    scene = scenery.camera(scene, rng, blur=rng.uniform(0, 0.8), noise=rng.uniform(0, 0.01))
    if rng.random() < 0.4:
        return encoded(grey_bytes(np.where(scene > 0.55, 1, 0).astype(np.float32)), "PNG")
    return encoded(grey_bytes(scene), "JPEG", int(rng.integers(60, 96)))


def _chalk(digit: GreyImage, rng: np.random.Generator) -> bytes:
    """Chalk on a smeared board."""
    photo = Photo(pen=(0.05, 0.09), contrast=(0.5, 0.8), grain=0.35, paper=(0.85, 0.95), unevenness=(0.05, 0.3))
    brightness = photo.scene(digit, rng)
    smears = 0.03 * np.abs(scenery.texture((brightness.shape[0], brightness.shape[1]), rng, 40))
    brightness = scenery.camera((1 - brightness + smears).astype(np.float32), rng, blur=0.6, noise=0.012)
    return encoded(grey_bytes(brightness), "JPEG", int(rng.integers(70, 96)))


def _sixteen_bit(digit: GreyImage, rng: np.random.Generator) -> bytes:
    ink = ink_on_sheet(digit, rng, Sheet((240, 240), 0.6, rng.uniform(0.04, 0.1)))
    return encoded(((0.95 - 0.8 * ink) * 65535).astype(np.uint16), "PNG")


def _touching(digit: GreyImage, rng: np.random.Generator) -> bytes:
    """Cropped so closely that strokes meet the frame."""
    side = int(rng.integers(60, 400))
    ink = ink_on_sheet(
        digit, rng, Sheet((side, side), rng.uniform(0.94, 1.04), rng.uniform(0.05, 0.14), drift=0.02, tilt=3)
    )
    plane = ink if rng.random() < 0.5 else 0.9 - 0.75 * ink
    return encoded(grey_bytes(scenery.camera(plane, rng, blur=0.4, noise=0.006)), "PNG")


_PEN = Photo()
CONDITIONS: dict[str, Renderer] = {
    "pen_photo": _PEN,
    "fine_pen_photo": replace(_PEN, pen=(0.012, 0.022), side=(600, 1200)),
    "marker_photo": replace(_PEN, pen=(0.09, 0.2), size=(0.45, 0.8)),
    "pencil_photo": replace(_PEN, contrast=(0.13, 0.35), grain=0.3),
    "shadow_photo": replace(_PEN, shadow=True),
    "dim_photo": replace(_PEN, paper=(0.2, 0.4), unevenness=(0.3, 0.6)),
    "ruled_paper": replace(_PEN, lines="ruled", pen=(0.03, 0.06)),
    "squared_paper": replace(_PEN, lines="squared", pen=(0.03, 0.06)),
    "vignette_photo": replace(_PEN, unevenness=(0.35, 0.7)),
    "boxed_photo": replace(_PEN, box=True, size=(0.25, 0.5), drift=0.08),
    "page_edge": replace(_PEN, edge=True, drift=0.05, size=(0.3, 0.55)),
    "dust": replace(_PEN, specks=(8, 30)),
    "broken_strokes": replace(_PEN, gap=1.0),
    "small_off_centre": replace(_PEN, size=(0.08, 0.16), drift=0.35, pen=(0.05, 0.1), side=(500, 1200)),
    "coloured_ink": _coloured,
    "chalk": _chalk,
    "canvas_light_on_dark": _canvas(light=True),
    "canvas_dark_on_light": _canvas(light=False),
    "canvas_broken": _canvas(light=False, gap=1.0),
    "brush": _canvas(light=True, pen=(0.18, 0.28)),
    "transparent": _transparent,
    "scan": _scan,
    "sixteen_bit": _sixteen_bit,
    "touches_border": _touching,
    **bitmaps.CONDITIONS,
}
