"""MNIST digits as people photograph, scan or draw them: files for `service.imaging`, to find its faults and train on.

Pure and seeded: the same digit, generator state and condition give the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from io import BytesIO

import mahotas
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

GreyImage = npt.NDArray[np.uint8]  # (28, 28), light ink on black
Plane = npt.NDArray[np.float32]  # (height, width), 0..1: ink coverage or brightness
FIELD_SIDE = 160  # px: the longer side of a digit where its strokes are measured
MEAN_STROKE = 2.3  # px at 28 x 28: MNIST's mean stroke width


@dataclass(frozen=True, slots=True)
class Sheet:
    """How a digit lies on its ground. Lengths are shares of the frame's shorter side, `pen` of the digit's height."""

    frame: tuple[int, int]  # height, width in px
    size: float = 0.6
    pen: float | None = None  # stroke width; None keeps the writer's own
    drift: float = 0.15  # how far the digit may lie from the middle
    tilt: float = 6.0  # degrees, at most
    gap: float = 0.0  # probability that the stroke is broken


def render(digit: GreyImage, rng: np.random.Generator, condition: str | None = None) -> bytes:
    """An encoded picture of `digit`, (28, 28) as in MNIST, under `condition`: a key of `CONDITIONS`, or any of them."""
    name = str(rng.choice(list(CONDITIONS))) if condition is None else condition
    return CONDITIONS[name](digit, rng)


# Ink ------------------------------------------------------------------------------------------------------------------


def ink_on_sheet(digit: GreyImage, rng: np.random.Generator, sheet: Sheet) -> Plane:
    """Coverage 0..1 of the sheet's frame by the digit's strokes, redrawn with the sheet's pen."""
    field = _stroke_field(digit, sheet.pen)
    height, width = sheet.frame
    scale = sheet.size * min(sheet.frame) / FIELD_SIDE
    angle = np.deg2rad(rng.uniform(-sheet.tilt, sheet.tilt))
    slant, stretch = rng.uniform(-0.12, 0.12), rng.uniform(0.9, 1.12)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = np.linalg.inv(turn @ np.array([[stretch, slant], [0.0, 1.0]]) * scale)
    middle = np.array([width, height]) * (0.5 + rng.uniform(-sheet.drift, sheet.drift, 2))
    shift = np.array(field.shape[::-1]) / 2 - matrix @ middle
    coefficients = (*matrix[0], shift[0], *matrix[1], shift[1])
    far = float(field.max())
    lifted = Image.fromarray(far - field)  # pixels outside the field come as 0, that is as far from the pen
    distance = far - np.asarray(
        lifted.transform((width, height), Image.Transform.AFFINE, coefficients, Image.Resampling.BILINEAR)
    )
    ink: Plane = np.clip(0.5 - distance * scale, 0, 1).astype(
        np.float32
    )  # one pixel of antialiasing at the stroke's edge
    return _broken(ink, rng) if rng.random() < sheet.gap else ink


def _stroke_field(digit: GreyImage, pen: float | None) -> Plane:
    """Signed distance to the stroke's edge in field pixels, negative inside, with room around it."""
    ys, xs = np.nonzero(digit.max(1))[0], np.nonzero(digit.max(0))[0]
    crop = Image.fromarray(np.pad(digit[ys[0] : ys[-1] + 1, xs[0] : xs[-1] + 1], 3))
    scale = FIELD_SIDE / (max(crop.size) - 6)
    size = round(crop.width * scale), round(crop.height * scale)
    smooth = crop.resize(size, Image.Resampling.BICUBIC).filter(ImageFilter.GaussianBlur(0.3 * scale))
    inside = np.asarray(smooth) > 110
    if pen is None:
        outer, inner = mahotas.distance(~inside), mahotas.distance(inside)
        signed: Plane = (np.sqrt(outer) - np.sqrt(inner)).astype(np.float32)
        return signed
    distance: Plane = np.sqrt(mahotas.distance(~_pruned(mahotas.thin(inside)))).astype(np.float32)
    # A pen runs smoother than the pixels of a skeleton.
    return _blurred(distance, 1.5) - np.float32(max(pen * FIELD_SIDE / 2, 0.5))


def _pruned(skeleton: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Shorten every open end by half a stroke: thinning forks them, and no pen does."""
    for _ in range(round(MEAN_STROKE / 20 * FIELD_SIDE * 0.8)):
        frame = np.pad(skeleton, 1)
        rows, columns = frame.shape
        around = [(0, 0), (0, 1), (0, 2), (1, 2), (2, 2), (2, 1), (2, 0), (1, 0)]
        ring = np.stack([frame[y : y + rows - 2, x : x + columns - 2] for y, x in around])
        branches = (ring & ~np.roll(ring, 1, axis=0)).sum(0)  # runs of neighbours around a pixel: 1 at an open end
        shorter = skeleton & (branches > 1)
        if shorter.sum() < FIELD_SIDE / 3:
            break
        skeleton = shorter
    return skeleton


def _broken(ink: Plane, rng: np.random.Generator) -> Plane:
    """Lift the pen once: a clear band across the ink, a few per cent of its height."""
    ys, xs = np.nonzero(ink > 0.5)
    if ys.size == 0:
        return ink
    at = int(rng.integers(ys.size))
    angle = rng.uniform(0, np.pi)
    rows, columns = np.indices(ink.shape, dtype=np.float32)
    along = (rows - ys[at]) * np.cos(angle) + (columns - xs[at]) * np.sin(angle)
    away = np.hypot(rows - ys[at], columns - xs[at])
    reach = np.ptp(ys)
    return np.where((np.abs(along) < 0.025 * reach) & (away < 0.2 * reach), 0, ink)


# Paper, light and camera ----------------------------------------------------------------------------------------------


def _blurred(plane: Plane, radius: float) -> Plane:
    """Gaussian blur of any float plane; Pillow blurs 8-bit planes alone, so this one goes through its spectrum."""
    frequency_y, frequency_x = np.fft.fftfreq(plane.shape[0])[:, None], np.fft.rfftfreq(plane.shape[1])[None]
    gain = np.exp(-2 * (np.pi * radius) ** 2 * (frequency_y**2 + frequency_x**2))
    return np.fft.irfft2(np.fft.rfft2(plane) * gain, plane.shape).astype(np.float32)


def _texture(frame: tuple[int, int], rng: np.random.Generator, grain: float) -> Plane:
    """Noise of mean 0 and standard deviation 1 with spots of about `grain` px."""
    coarse = tuple(max(2, round(side / grain) + 1) for side in frame)
    spots = rng.normal(0, 1, coarse).astype(np.float32)
    plane = np.asarray(Image.fromarray(spots).resize(frame[::-1], Image.Resampling.BICUBIC))
    texture: Plane = (plane / max(float(plane.std()), 1e-6)).astype(np.float32)
    return texture


def _light(frame: tuple[int, int], rng: np.random.Generator, unevenness: float) -> Plane:
    """Brightness about 1 that falls to 1 - `unevenness` across the frame and towards its corners."""
    rows, columns = np.meshgrid(np.linspace(-1, 1, frame[0]), np.linspace(-1, 1, frame[1]), indexing="ij")
    angle = rng.uniform(0, 2 * np.pi)
    ramp = (rows * np.sin(angle) + columns * np.cos(angle)) / np.sqrt(2)
    vignette = (rows**2 + columns**2) / 2
    share = rng.uniform(0.2, 1.0)
    light: Plane = (1 - unevenness * (share * (ramp + 1) / 2 + (1 - share) * vignette)).astype(np.float32)
    return light


def _shadow(frame: tuple[int, int], rng: np.random.Generator) -> Plane:
    """The shadow of a hand or a phone: a half-plane or a disc, 25 to 55 % darker, with a soft edge."""
    rows, columns = np.meshgrid(np.linspace(-1, 1, frame[0]), np.linspace(-1, 1, frame[1]), indexing="ij")
    angle = rng.uniform(0, 2 * np.pi)
    if rng.random() < 0.6:
        depth = rows * np.sin(angle) + columns * np.cos(angle) - rng.uniform(-0.3, 0.5)
    else:
        depth = rng.uniform(0.5, 0.9) - np.hypot(rows - np.sin(angle), columns - np.cos(angle))
    edge = rng.uniform(0.03, 0.2)
    shade = rng.uniform(0.25, 0.55) / (1 + np.exp(-np.clip(depth / edge, -30, 30)))
    light: Plane = (1 - shade).astype(np.float32)
    return light


def _lines(frame: tuple[int, int], rng: np.random.Generator, *, squared: bool) -> Plane:
    """Ruled or squared paper: coverage 0..1 of thin parallel lines, a little askew."""
    rows, columns = np.indices(frame, dtype=np.float32)
    pitch = rng.uniform(0.10, 0.22) * min(frame)
    if not squared:
        pitch *= 1.6
    width = max(1.0, rng.uniform(0.004, 0.009) * min(frame))
    askew = np.deg2rad(rng.uniform(-3, 3))
    across = [rows * np.cos(askew) + columns * np.sin(askew)]
    if squared:
        across.append(columns * np.cos(askew) - rows * np.sin(askew))
    cover = np.zeros(frame, np.float32)
    for position in across:
        offset = np.abs((position + rng.uniform(0, pitch)) % pitch - pitch / 2)
        cover = np.maximum(cover, np.clip(width / 2 + 0.5 - offset, 0, 1))
    return cover


def _dusty(plane: Plane, rng: np.random.Generator, specks: int) -> Plane:
    """Dark specks, 0.3 to 1.2 % of the frame across."""
    plane = plane.copy()
    height, width = plane.shape
    for _ in range(specks):
        radius = rng.uniform(0.0015, 0.006) * min(plane.shape) + 0.4
        y, x = rng.uniform(0, height), rng.uniform(0, width)
        top, left = max(0, int(y - radius - 1)), max(0, int(x - radius - 1))
        patch = plane[top : int(y + radius + 2), left : int(x + radius + 2)]
        rows, columns = np.indices(patch.shape)
        patch *= 1 - rng.uniform(0.3, 0.8) * np.clip(radius + 0.5 - np.hypot(rows + top - y, columns + left - x), 0, 1)
    return plane


def _camera(brightness: Plane, rng: np.random.Generator, *, blur: float, noise: float) -> Plane:
    if blur > 0:
        brightness = _blurred(brightness, blur)
    return np.clip(brightness + noise * rng.normal(0, 1, brightness.shape).astype(np.float32), 0, 1)


def _encoded(pixels: npt.NDArray[np.generic], kind: str, quality: int = 90) -> bytes:
    file = BytesIO()
    Image.fromarray(pixels).save(file, kind, **({"quality": quality} if kind == "JPEG" else {}))
    return file.getvalue()


def _bytes(plane: Plane) -> npt.NDArray[np.uint8]:
    return np.rint(np.clip(plane, 0, 1) * 255).astype(np.uint8)


# Conditions -----------------------------------------------------------------------------------------------------------

Renderer = Callable[[GreyImage, np.random.Generator], bytes]


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
    edge: bool = False  # the page ends inside the frame
    specks: tuple[int, int] = (0, 3)
    gap: float = 0.0
    grain: float = 0.0  # how far the ink is speckled, as pencil and chalk are

    def __call__(self, digit: GreyImage, rng: np.random.Generator) -> bytes:
        brightness = self.scene(digit, rng)
        brightness = _camera(brightness, rng, blur=rng.uniform(0.3, 1.3), noise=rng.uniform(0.004, 0.025))
        return _encoded(_bytes(brightness), "JPEG", int(rng.integers(60, 96)))

    def scene(self, digit: GreyImage, rng: np.random.Generator) -> Plane:
        side = int(rng.integers(*self.side))
        frame = (side, round(side * rng.uniform(0.75, 1.34)))
        sheet = Sheet(frame, rng.uniform(*self.size), rng.uniform(*self.pen), self.drift, gap=self.gap)
        ink = ink_on_sheet(digit, rng, sheet)
        if self.grain:
            ink = ink * np.clip(1 - self.grain * np.abs(_texture(frame, rng, 2.5)), 0, 1)
        paper = rng.uniform(*self.paper) * (1 + 0.01 * _texture(frame, rng, 3) + 0.012 * _texture(frame, rng, side / 8))
        if self.lines:
            paper = paper * (1 - rng.uniform(0.12, 0.45) * _lines(frame, rng, squared=self.lines == "squared"))
        scene = _dusty(paper.astype(np.float32), rng, int(rng.integers(*self.specks, endpoint=True)))
        scene = scene * (1 - rng.uniform(*self.contrast) * ink)
        if self.edge:
            scene = _desk(scene, rng)
        scene = scene * _light(frame, rng, rng.uniform(*self.unevenness))
        return scene * _shadow(frame, rng) if self.shadow else scene


def _desk(scene: Plane, rng: np.random.Generator) -> Plane:
    """The page ends: one to four sides of the frame show a dark desk or a scanner's black lid."""
    scene = scene.copy()
    dark = rng.uniform(0.02, 0.3)
    for side in rng.permutation(4)[: rng.integers(1, 5)]:
        depth = round(rng.uniform(0.02, 0.1) * min(scene.shape))
        slope = rng.uniform(-0.03, 0.03)
        view = np.rot90(scene, int(side))
        reach = depth + slope * (np.arange(view.shape[1]) - view.shape[1] / 2)
        view[np.arange(view.shape[0])[:, None] < reach[None]] = dark
    return scene


def _coloured(digit: GreyImage, rng: np.random.Generator) -> bytes:
    """Blue, red, green or violet pen on white, yellow or pink paper, in colour."""
    inks = ((0.1, 0.2, 0.7), (0.75, 0.1, 0.15), (0.1, 0.5, 0.25), (0.4, 0.15, 0.55), (0.9, 0.45, 0.1))
    papers = ((0.95, 0.95, 0.95), (0.97, 0.92, 0.55), (0.96, 0.78, 0.82), (0.75, 0.85, 0.95))
    side = int(rng.integers(280, 900))
    frame = (side, round(side * rng.uniform(0.75, 1.34)))
    ink = ink_on_sheet(digit, rng, Sheet(frame, rng.uniform(0.3, 0.7), rng.uniform(0.025, 0.07)))[..., None]
    colour = np.array(papers[rng.integers(len(papers))]) * (1 - ink) + np.array(inks[rng.integers(len(inks))]) * ink
    colour = colour * _light(frame, rng, rng.uniform(0.05, 0.3))[..., None]
    planes = [_camera(colour[..., i].astype(np.float32), rng, blur=0.7, noise=0.012) for i in range(3)]
    return _encoded(_bytes(np.stack(planes, -1)), "JPEG", int(rng.integers(70, 96)))


def _canvas(*, light: bool, pen: tuple[float, float] = (0.03, 0.16), gap: float = 0.0) -> Renderer:
    """A drawing program: flat ground, hard pen, nothing else."""

    def draw(digit: GreyImage, rng: np.random.Generator) -> bytes:
        side = int(rng.integers(200, 601))
        sheet = Sheet((side, side), rng.uniform(0.35, 0.85), rng.uniform(*pen), drift=0.08, gap=gap)
        ink = ink_on_sheet(digit, rng, sheet)
        if rng.random() < 0.4:
            ink = np.round(ink)
        return _encoded(_bytes(ink if light else 1 - ink), "PNG")

    return draw


def _transparent(digit: GreyImage, rng: np.random.Generator) -> bytes:
    """Ink in the alpha channel alone, of one colour on a clear ground."""
    side = int(rng.integers(200, 601))
    ink = ink_on_sheet(digit, rng, Sheet((side, side), rng.uniform(0.4, 0.85), rng.uniform(0.03, 0.12), drift=0.08))
    rgba = np.zeros((side, side, 4), np.uint8)
    rgba[..., :3] = rng.integers(0, 256, 3)
    rgba[..., 3] = _bytes(ink)
    return _encoded(rgba, "PNG")


def _scan(digit: GreyImage, rng: np.random.Generator) -> bytes:
    """A flat-bed scan: even light, dust, sometimes black and white only."""
    side = int(rng.integers(120, 500))
    frame = (side, round(side * rng.uniform(0.7, 1.4)))
    ink = ink_on_sheet(digit, rng, Sheet(frame, rng.uniform(0.4, 0.85), rng.uniform(0.03, 0.1), drift=0.08, gap=0.2))
    scene = _dusty(rng.uniform(0.9, 1.0) * (1 - rng.uniform(0.6, 0.95) * ink), rng, int(rng.integers(0, 12)))
    scene = _camera(scene, rng, blur=rng.uniform(0, 0.8), noise=rng.uniform(0, 0.01))
    if rng.random() < 0.4:
        return _encoded(_bytes(np.where(scene > 0.55, 1, 0).astype(np.float32)), "PNG")
    return _encoded(_bytes(scene), "JPEG", int(rng.integers(60, 96)))


def _form(digit: GreyImage, rng: np.random.Generator) -> bytes:
    """A box cut from a filled-in form, as NIST's: 128 x 128, black and white, anywhere in the frame."""
    ink = ink_on_sheet(digit, rng, Sheet((128, 128), rng.uniform(0.35, 0.75), rng.uniform(0.04, 0.14), tilt=12))
    return _encoded(_bytes(1 - np.round(ink)), "PNG")


def _postal(side: int) -> Renderer:
    """A tight grey box, as the postal service's: the digit fills it from edge to edge; either polarity."""

    def draw(digit: GreyImage, rng: np.random.Generator) -> bytes:
        pen = rng.uniform(0.07, 0.2) if rng.random() < 0.5 else None
        ink = ink_on_sheet(digit, rng, Sheet((192, 192), 0.94, pen, drift=0.0, tilt=3))
        plane = np.asarray(Image.fromarray(ink).resize((side, side), Image.Resampling.BOX))
        return _encoded(_bytes(plane if rng.random() < 0.7 else 1 - plane), "PNG")

    return draw


def _framed(side: int, *, inverted: bool = False, moved: int = 0) -> Renderer:
    """MNIST's own pixels, inverted, moved or scaled with their frame."""

    def draw(digit: GreyImage, rng: np.random.Generator) -> bytes:
        pixels = np.roll(digit, tuple(rng.integers(-moved, moved + 1, 2)), (0, 1)) if moved else digit
        pixels = 255 - pixels if inverted else pixels
        filter_ = Image.Resampling.BICUBIC if rng.random() < 0.7 else Image.Resampling.NEAREST
        return _encoded(np.asarray(Image.fromarray(pixels).resize((side, side), filter_)), "PNG")

    return draw


def _squeezed(digit: GreyImage, rng: np.random.Generator) -> bytes:
    """Somebody's own "resize to 28 x 28" of a drawing: thin grey strokes, not centred."""
    sheet = Sheet((336, 336), rng.uniform(0.4, 0.85), rng.uniform(0.03, 0.14), drift=0.08)
    ink = ink_on_sheet(digit, rng, sheet)
    small = np.asarray(Image.fromarray(ink).resize((28, 28), Image.Resampling.BOX))
    return _encoded(_bytes(small if rng.random() < 0.5 else 1 - small), "PNG")


def _chalk(digit: GreyImage, rng: np.random.Generator) -> bytes:
    """Chalk on a smeared board."""
    photo = Photo(pen=(0.05, 0.09), contrast=(0.5, 0.8), grain=0.35, paper=(0.85, 0.95), unevenness=(0.05, 0.3))
    brightness = photo.scene(digit, rng)
    smears = 0.03 * np.abs(_texture((brightness.shape[0], brightness.shape[1]), rng, 40))
    brightness = _camera((1 - brightness + smears).astype(np.float32), rng, blur=0.6, noise=0.012)
    return _encoded(_bytes(brightness), "JPEG", int(rng.integers(70, 96)))


def _sixteen_bit(digit: GreyImage, rng: np.random.Generator) -> bytes:
    ink = ink_on_sheet(digit, rng, Sheet((240, 240), 0.6, rng.uniform(0.04, 0.1)))
    return _encoded(((0.95 - 0.8 * ink) * 65535).astype(np.uint16), "PNG")


def _touching(digit: GreyImage, rng: np.random.Generator) -> bytes:
    """Cropped so closely that strokes meet the frame."""
    side = int(rng.integers(60, 400))
    ink = ink_on_sheet(
        digit, rng, Sheet((side, side), rng.uniform(0.94, 1.04), rng.uniform(0.05, 0.14), drift=0.02, tilt=3)
    )
    plane = ink if rng.random() < 0.5 else 0.9 - 0.75 * ink
    return _encoded(_bytes(_camera(plane, rng, blur=0.4, noise=0.006)), "PNG")


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
    "form_box": _form,
    "postal_16": _postal(16),
    "postal_32": _postal(32),
    "squeezed_28": _squeezed,
    "inverted_28": _framed(28, inverted=True),
    "moved_28": _framed(28, moved=4),
    "framed_20": _framed(20),
    "framed_56": _framed(56, moved=3),
    "framed_280_inverted": _framed(280, inverted=True),
    "sixteen_bit": _sixteen_bit,
    "touches_border": _touching,
}
