"""Non-digits from files that are not ours: every letter of a font, crops of a photo. To test with, never to fit."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from training.errors import TrainingError
from training.outliers.placing import Images, as_predicted

FONTS = {".ttf", ".otf", ".woff"}
PHOTOS = {".jpg", ".jpeg", ".png", ".webp"}
LATIN = "ACEFHJKLMNPRTUVWXYacdefhjkmnprtuvwxy"  # the others are a digit in somebody's hand
SHEET = 180
Picture = npt.NDArray[np.uint8]  # (height, width)


def draw(folder: Path, n: int, rng: np.random.Generator) -> Images:
    """`n` of the `pictures` of a folder as `/predict` hands them to the network."""
    return as_predicted(pictures(folder, n, rng))


def pictures(folder: Path, n: int, rng: np.random.Generator) -> list[Picture]:
    """`n` pictures from the fonts or, if there are none, the photos in `folder` and below.

    Raises:
        TrainingError: it holds neither.
    """
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in FONTS | PHOTOS)
    alphabets = [(path, _letters(path)) for path in files if path.suffix.lower() in FONTS]
    alphabets = [(path, letters) for path, letters in alphabets if letters]
    photos = [np.asarray(Image.open(path).convert("L")) for path in files if path.suffix.lower() in PHOTOS]
    if not alphabets and not photos:
        raise TrainingError(f"No font ({', '.join(sorted(FONTS))}) and no photo in {folder}.")
    found: list[Picture] = []
    while len(found) < n:
        if alphabets:
            path, letters = alphabets[rng.integers(len(alphabets))]
            picture = _written(path, letters[rng.integers(len(letters))], rng)
        else:
            picture = _crop(photos[rng.integers(len(photos))], rng)
        if picture is not None:
            found.append(picture)
    return found


def _letters(path: Path) -> str:
    """What the font can write: its letters of other scripts, or, if it has none, those of `LATIN`."""
    from fontTools.ttLib import TTFont

    with TTFont(path, lazy=True) as font:
        characters = [chr(code) for code in sorted(font.getBestCmap() or {})]
    letters = [one for one in characters if unicodedata.category(one) in {"Lo", "Lu", "Ll"}]
    foreign = [one for one in letters if not unicodedata.name(one, "LATIN").startswith("LATIN")]
    return "".join(foreign) if len(foreign) > 20 else "".join(one for one in letters if one in LATIN)


def _written(path: Path, letter: str, rng: np.random.Generator) -> Picture | None:
    """The letter light on black or as a pen on paper; None where the font draws nothing for it."""
    face = ImageFont.truetype(path, int(rng.integers(60, 110)), layout_engine=ImageFont.Layout.BASIC)
    left, top, right, bottom = face.getbbox(letter)
    if max(right - left, bottom - top) < 6:
        return None
    sheet = Image.new("L", (SHEET, SHEET))
    at = SHEET / 2 - np.array([left + right, top + bottom]) / 2 + rng.uniform(-20, 20, 2)
    ImageDraw.Draw(sheet).text((at[0], at[1]), letter, fill=255, font=face)
    ink: npt.NDArray[np.floating] = np.asarray(sheet.rotate(rng.normal(0, 6), Image.Resampling.BILINEAR), np.float32)
    if rng.random() < 0.6:
        ink = rng.uniform(150, 245) * (1 - rng.uniform(0.5, 0.9) * ink / 255) + rng.normal(0, 3, ink.shape)
    picture: Picture = np.clip(ink, 0, 255).astype(np.uint8)
    return picture


def _crop(photo: Picture, rng: np.random.Generator) -> Picture:
    side = int(rng.integers(40, min(photo.shape)))
    top, left = (int(rng.integers(length - side + 1)) for length in photo.shape)
    return np.ascontiguousarray(photo[top : top + side, left : left + side])
