"""Letters, scripts and symbols as a hand might write them: glyphs of free fonts, bent and drawn anew with any pen.

The fonts are those that matplotlib brings (DejaVu, STIX, Computer Modern) and Hershey's strokes, so every machine
draws the same. A glyph that a digit could be taken for is left out: by name, or since it overlaps a printed digit.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from functools import cache, lru_cache
from pathlib import Path

import mahotas
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from service.imaging.fit import boxed, centred
from training.augmentation import elastic_field
from training.outliers.placing import Images, in_box

Field = npt.NDArray[np.float32]  # (64, 64): px to the middle of the nearest stroke, or signed to a filled glyph's edge

SIDE = 64
BODY = 48  # px: the longer side of a glyph in its field
SCALE = BODY / 20  # field px in a px of the 20 x 20 box
ALIKE = 0.86  # cosine of two boxed glyphs: from here on they are taken for the same
PENS = (1.3, 4.2)  # px of the box
BATCH = 256

# Hand-written, these are digits, or cannot be told from one.
LIKE_DIGITS = set(
    "ΟοΙιΖζσθΘΦφϕϑδβςοτОоЗзЭэБбВвЧчІіЇїЄєЅѕЈјасАб"  # Greek and Cyrillic
    "סוןזיךاهةوأإآلر"  # Hebrew and Arabic
)
LATIN = "ABCDEFGHJKLMNPRTUVWXYacdefhjkmnprtuvwxy&@#$%?*+="
MODELS = "0123456789OoIlZzSsbgq/\\|()"  # of every font: who is drawn like one of these is left out
HERSHEY_LATIN = (
    "futural",
    "futuram",
    "scripts",
    "scriptc",
    "cursive",
    "rowmans",
    "rowmant",
    "gothiceng",
    "gothitt",
    "timesi",
)
HERSHEY_SCRIPTS = ("greeks", "greekc", "cyrillic", "cyrilc_1", "japanese")
HERSHEY_SYMBOLS = ("astrology", "markers", "meteorology", "music", "symbolic")
SANS = ("DejaVuSans.ttf", "DejaVuSans-Oblique.ttf", "DejaVuSerif.ttf", "DejaVuSansMono.ttf")
LATIN_FONTS = (
    *SANS,
    "DejaVuSerif-Italic.ttf",
    "DejaVuSans-Bold.ttf",
    "STIXGeneralItalic.ttf",
    "cmmi10.ttf",
    "cmss10.ttf",
    "cmti10.ttf",
)
SCRIPTS = ("GREEK", "CYRILLIC", "HEBREW", "ARABIC LETTER", "TIFINAGH", "NKO LETTER", "CANADIAN SYLLABICS", "LISU")
UNSEEN_SCRIPTS = ("ARMENIAN", "GEORGIAN", "LAO LETTER", "OGHAM LETTER")
SYMBOLS = (
    (0x00A1, 0x00BF), (0x2020, 0x2044), (0x20A0, 0x20B5), (0x2190, 0x21FF), (0x2200, 0x22FF), (0x2300, 0x2335),
    (0x25A0, 0x25FF), (0x2600, 0x26B2), (0x2701, 0x2767), (0x27C0, 0x27EF), (0x2801, 0x28FF), (0x2980, 0x29FF),
)  # fmt: skip
FILLED_SHARE = 0.35  # of a font's glyphs: drawn as they are printed, not with a pen


def draw(kind: str, n: int, rng: np.random.Generator) -> Images:
    """`n` images of random glyphs of `kind`: letters, scripts, symbols or unseen_scripts."""
    fields, pen_drawn = atlas(kind)
    images = []
    for first in range(0, n, BATCH):
        chosen = rng.integers(len(fields), size=min(BATCH, n - first))
        images.append(in_box(_written(fields[chosen], pen_drawn[chosen], rng)))
    return np.concatenate(images)


def _written(fields: Field, pen_drawn: npt.NDArray[np.bool_], rng: np.random.Generator) -> Field:
    """Ink (n, 64, 64), 0..1, of the glyphs with a slant, proportions, bends and a pen of their own."""
    n = len(fields)
    rows, columns = _bent(n, rng)
    distance = _sampled(fields, rows, columns)
    pen = rng.uniform(*PENS, n) * SCALE / 2
    bold = rng.uniform(-0.3, 0.8, n) * SCALE
    reach = np.where(pen_drawn, pen, bold).astype(np.float32)[:, None, None]
    ink: Field = np.clip(reach - distance + 0.5, 0, 1)
    return ink


def _bent(n: int, rng: np.random.Generator) -> tuple[Field, Field]:
    angle = np.deg2rad(rng.normal(0, 8, n))[:, None, None]
    slant = rng.normal(0, 0.25, n)[:, None, None]
    aspect = np.exp(rng.normal(0, 0.25, n))[:, None, None]
    middle = (SIDE - 1) / 2
    y, x = np.mgrid[:SIDE, :SIDE] - middle
    rows = (np.cos(angle) * y + np.sin(angle) * x) * np.sqrt(aspect) * 1.1
    columns = (np.cos(angle) * x - np.sin(angle) * y) / np.sqrt(aspect) * 1.1 + slant * rows
    amount = (rng.uniform(0, 1.8, n) * SCALE)[:, None, None]
    up = _enlarged(28)
    bends = [up @ elastic_field(n, rng.uniform(3, 6), rng) @ up.T for _ in range(2)]
    return (rows + middle + amount * bends[0]).astype(np.float32), (columns + middle + amount * bends[1]).astype(
        np.float32
    )


@cache
def _enlarged(side: int) -> Field:
    """The matrix (64, side) that interpolates linearly between `side` samples."""
    at = np.linspace(0, side - 1, SIDE)
    weights: Field = np.maximum(0, 1 - np.abs(at[:, None] - np.arange(side))).astype(np.float32)
    return weights


def _sampled(fields: Field, rows: Field, columns: Field) -> Field:
    """Bilinear values; outside, those of the border, which lie off the ink."""
    rows, columns = np.clip(rows, 0, SIDE - 1.001), np.clip(columns, 0, SIDE - 1.001)
    top, left = rows.astype(np.intp), columns.astype(np.intp)
    down, right = rows - top, columns - left
    at = (np.arange(len(fields))[:, None, None] * SIDE + top) * SIDE + left
    flat = fields.reshape(-1)
    upper = flat[at] * (1 - right) + flat[at + 1] * right
    lower = flat[at + SIDE] * (1 - right) + flat[at + SIDE + 1] * right
    result: Field = upper * (1 - down) + lower * down
    return result


# The atlas ------------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=4)
def atlas(kind: str) -> tuple[Field, npt.NDArray[np.bool_]]:
    """Fields (g, 64, 64) of every glyph of a kind, and whether each is to be drawn with a pen."""
    fields: list[Field] = []
    pen_drawn: list[bool] = []
    for index, bitmap in enumerate(_glyphs(kind)):
        filled = bitmap.dtype == np.uint8 and (index * FILLED_SHARE) % 1 < FILLED_SHARE
        if not _like_a_digit(bitmap):
            fields.append(_field(bitmap, filled=filled))
            pen_drawn.append(not filled)
    return np.stack(fields), np.array(pen_drawn)


def _glyphs(kind: str) -> Iterator[npt.NDArray[np.generic]]:
    """Bitmaps (64, 64): uint8 where a font fills them, bool where they are lines."""
    if kind == "letters":
        for font in LATIN_FONTS:
            yield from _printed(font, LATIN)
        yield from _printed("STIXGeneral.ttf", _ornate())
        yield from _hershey(HERSHEY_LATIN, LATIN)
    elif kind == "symbols":
        characters = [chr(code) for first, last in SYMBOLS for code in range(first, last + 1)]
        yield from _printed("DejaVuSans.ttf", characters)
        yield from _hershey(HERSHEY_SYMBOLS)
    else:
        for font in ("DejaVuSans.ttf", "DejaVuSerif.ttf", "DejaVuSansMono.ttf"):
            yield from _printed(font, _characters(font, SCRIPTS if kind == "scripts" else UNSEEN_SCRIPTS))
        if kind == "scripts":
            yield from _hershey(HERSHEY_SCRIPTS)


def _characters(font: str, scripts: tuple[str, ...]) -> list[str]:
    """Letters of these scripts that the font has; accents that stand alone and digits of any script are none."""
    from matplotlib.ft2font import FT2Font

    codes = FT2Font(str(_folder() / font)).get_charmap()
    letters = (chr(code) for code in sorted(codes) if unicodedata.category(chr(code)) in {"Lu", "Ll", "Lo"})
    plain = (
        letter for letter in letters if letter not in LIKE_DIGITS and unicodedata.normalize("NFD", letter) == letter
    )
    return [letter for letter in plain if unicodedata.name(letter, "").startswith(scripts)]


def _ornate() -> list[str]:
    """Script and blackletter as mathematics has them: the nearest to handwriting that the fonts hold."""
    codes = (*range(0x1D49C, 0x1D538), 0x212C, 0x2130, 0x2131, 0x210B, 0x2112, 0x2133, 0x211B, 0x212F)
    return [chr(code) for code in codes if unicodedata.normalize("NFKD", chr(code)) in LATIN]


def _folder() -> Path:
    import matplotlib as mpl

    return Path(mpl.get_data_path()) / "fonts" / "ttf"


def _printed(font: str, characters: list[str] | str) -> Iterator[npt.NDArray[np.uint8]]:
    face = ImageFont.truetype(str(_folder() / font), 96, layout_engine=ImageFont.Layout.BASIC)
    missing = face.getmask("\uffff").getbbox(), bytes(face.getmask("\uffff"))
    for character in characters:
        mask = face.getmask(character)
        if mask.getbbox() is None or (mask.getbbox(), bytes(mask)) == missing:
            continue
        yield _fitted(Image.frombytes("L", mask.size, bytes(mask)).crop(mask.getbbox()))


def _fitted(glyph: Image.Image) -> npt.NDArray[np.uint8]:
    """The glyph with its longer side at 48 px in the middle of 64 x 64."""
    scale = BODY / max(glyph.size)
    size = max(1, round(glyph.width * scale)), max(1, round(glyph.height * scale))
    sheet = Image.new("L", (SIDE, SIDE))
    sheet.paste(glyph.resize(size, Image.Resampling.BOX), ((SIDE - size[0]) // 2, (SIDE - size[1]) // 2))
    return np.asarray(sheet)


def _hershey(names: tuple[str, ...], characters: str | None = None) -> Iterator[npt.NDArray[np.bool_]]:
    from HersheyFonts import HersheyFonts

    font = HersheyFonts()
    for name in names:
        font.load_default_font(name)
        for character, glyph in sorted(font.all_glyphs.items()):
            lines = [stroke for stroke in map(list, glyph.strokes) if len(stroke) > 1]
            wanted = character in characters if characters else not character.isdigit()
            if wanted and lines and np.ptp(np.concatenate(lines), axis=0).max() > 6:
                yield _lines(lines)


def _lines(strokes: list[list[tuple[float, float]]]) -> npt.NDArray[np.bool_]:
    points = np.concatenate(strokes)
    low, high = points.min(0), points.max(0)
    scale = BODY / max(high - low)
    shift = (SIDE - 1) / 2 - scale * (low + high) / 2
    sheet = Image.new("1", (SIDE, SIDE))
    pen = ImageDraw.Draw(sheet)
    for stroke in strokes:
        pen.line([tuple(scale * np.array(point) + shift) for point in stroke], fill=1)
    return np.asarray(sheet)


def _field(bitmap: npt.NDArray[np.generic], *, filled: bool) -> Field:
    inside = bitmap.astype(np.uint8) > (127 if bitmap.dtype == np.uint8 else 0)
    if filled:
        signed = np.sqrt(mahotas.distance(~inside)) - np.sqrt(mahotas.distance(inside))
    else:
        line = mahotas.thin(inside) if bitmap.dtype == np.uint8 else inside
        signed = np.sqrt(mahotas.distance(~(line if line.any() else inside)))
    field: Field = signed.astype(np.float32)
    return field


def _like_a_digit(bitmap: npt.NDArray[np.generic]) -> bool:
    return bool((_models() @ _signature(bitmap)).max() > ALIKE)


@cache
def _models() -> Field:
    """Signatures (d, 784) of digits, and of what is written like them, in every font that letters are drawn with."""
    faces = [
        ImageFont.truetype(str(_folder() / font), 96, layout_engine=ImageFont.Layout.BASIC) for font in LATIN_FONTS
    ]
    masks = [face.getmask(character) for face in faces for character in MODELS]
    return np.stack([_signature(_fitted(Image.frombytes("L", m.size, bytes(m)).crop(m.getbbox()))) for m in masks])


def _signature(bitmap: npt.NDArray[np.generic]) -> Field:
    """The glyph drawn with one pen in the 20 x 20 box, as a vector of length 1."""
    ink = np.clip(1.6 * SCALE - _field(bitmap, filled=False) + 0.5, 0, 1)
    vector: Field = centred(boxed(ink)).astype(np.float32).reshape(-1)
    return vector / np.float32(max(float(np.linalg.norm(vector)), 1e-6))
