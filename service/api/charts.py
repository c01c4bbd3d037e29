"""The answer of `/confidence` as a picture: ten bars beside what the network saw, as SVG or PNG from one layout.

Colours are Okabe and Ito's, which people with any colour vision tell apart; no figure is told by colour alone.
"""

from __future__ import annotations

import asyncio
import base64
from functools import lru_cache
from html import escape
from io import BytesIO
from typing import NamedTuple

import numpy as np
from PIL import Image

from service.api.negotiation import preferred_type
from service.api.reply import Reply
from service.api.schemas import ConfidenceAnswer, encode
from service.imaging.grey import GreyImage

WIDTH, HEIGHT = 480, 300  # px; the smallest letters are 13, so 11 where it is shown 400 wide
PNG_SCALE = 2
PICTURE = (20, 112, 140)  # left, top, side
ROWS_TOP, ROW = 20, 26
LABEL, BAR, TOLD = 196, 210, 460  # right edge of the digits, left edge of the bars, right edge of the figures
BAR_LONGEST, BAR_THICK = 184, 18
LONGEST_NAME = 50  # letters that fit below all
INK, QUIET, PAPER, WELL, BEST, OTHER = "#1c1a17", "#595959", "#ffffff", "#ececec", "#0072b2", "#56b4e9"


JSON, SVG, PNG = "application/json", "image/svg+xml", "image/png"
VARY = (b"vary", b"Accept")
SVG_POLICY = (b"content-security-policy", b"default-src 'none'; img-src data:")


async def reply_in_form(accept: str, answer: ConfidenceAnswer, pixels: GreyImage, timings: str) -> Reply:
    """The answer as JSON, or as the chart that the `Accept` header would rather have."""
    form = preferred_type(accept, (JSON, SVG, PNG))
    if form == SVG:
        return Reply(svg_chart(answer, pixels), 200, SVG.encode(), [VARY, SVG_POLICY], timings)
    if form == PNG:
        chart = await asyncio.to_thread(png_chart, answer, pixels)
        return Reply(chart, 200, PNG.encode(), [VARY], timings)
    return Reply(encode(answer), extra_headers=[VARY], timings=timings)


class Box(NamedTuple):
    left: float
    top: float
    width: float
    height: float
    colour: str


class Words(NamedTuple):
    """`anchor` is the side that stays at `x`, as SVG calls it; `y` is the line that letters stand on."""

    x: float
    y: float
    size: int
    text: str
    colour: str
    anchor: str = "start"


Shape = Box | Words


def svg_chart(answer: ConfidenceAnswer, pixels: GreyImage) -> bytes:
    """An SVG document of 480 x 300 with a title and a description. `pixels`: 28 x 28, what the network saw."""
    left, top, side = PICTURE
    drawn = "".join(map(_tag, _shapes(answer)))
    shown = ", ".join(f"{digit}: {_percent(share)}" for digit, share in enumerate(answer.probabilities))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'role="img" aria-labelledby="title desc" font-family="system-ui, sans-serif">'
        f'<title id="title">{escape(_title(answer))}</title>'
        f'<desc id="desc">Probability of each digit, by {escape(answer.model_name)}. {shown}</desc>{drawn}'
        f'<image x="{left}" y="{top}" width="{side}" height="{side}" image-rendering="pixelated" '
        f'href="data:image/png;base64,{base64.b64encode(_encoded(Image.fromarray(pixels))).decode()}"/></svg>'
    ).encode()


def png_chart(answer: ConfidenceAnswer, pixels: GreyImage) -> bytes:
    """The same as a PNG file of 960 x 600, which takes some ten times as long."""
    from PIL import ImageDraw  # noqa: PLC0415 - most services never draw one

    scale = PNG_SCALE
    chart = Image.new("RGB", (WIDTH * scale, HEIGHT * scale), PAPER)
    draw = ImageDraw.Draw(chart)
    for shape in _shapes(answer):
        if isinstance(shape, Box):
            left, top = shape.left * scale, shape.top * scale
            draw.rectangle((left, top, left + shape.width * scale - 1, top + shape.height * scale - 1), shape.colour)
        else:
            anchor = "rs" if shape.anchor == "end" else "ls"
            font, bold = _font(shape.size * scale), shape.size * scale // 60 if shape.colour == INK else 0
            draw.text((shape.x * scale, shape.y * scale), shape.text, shape.colour, font, anchor, stroke_width=bold)
    left, top, side = (measure * scale for measure in PICTURE)
    chart.paste(Image.fromarray(pixels).resize((side, side), Image.Resampling.NEAREST), (left, top))
    return _encoded(chart)


def _shapes(answer: ConfidenceAnswer) -> list[Shape]:
    shapes: list[Shape] = [
        Box(0, 0, WIDTH, HEIGHT, PAPER),
        Words(20, 68, 64, "?" if answer.digit is None else str(answer.digit), INK),
        Words(20, 96, 16, "not a digit" if answer.digit is None else f"{_percent(answer.confidence)} sure", INK),
        Words(20, 292, 13, _shortened(f"{answer.model_name} {answer.model_version}"), QUIET),
    ]
    most = int(np.argmax(answer.probabilities))
    for digit, share in enumerate(answer.probabilities):
        top = ROWS_TOP + digit * ROW
        line = top + 14
        best = digit == most
        shapes += [
            Words(LABEL, line, 15, str(digit), INK if best else QUIET, "end"),
            Box(BAR, top, BAR_LONGEST, BAR_THICK, WELL),
            Box(BAR, top, max(round(share * BAR_LONGEST, 1), 1), BAR_THICK, BEST if best else OTHER),
            Words(TOLD, line, 15, _percent(share), INK if best else QUIET, "end"),
        ]
    return shapes


def _tag(shape: Shape) -> str:
    if isinstance(shape, Box):
        left, top, width, height, colour = shape
        return f'<rect x="{left}" y="{top}" width="{width}" height="{height}" fill="{colour}"/>'
    anchor = f' text-anchor="{shape.anchor}"' if shape.anchor != "start" else ""
    weight = ' font-weight="700"' if shape.colour == INK else ""
    return (
        f'<text x="{shape.x}" y="{shape.y}" font-size="{shape.size}" fill="{shape.colour}"{anchor}{weight}>'
        f"{escape(shape.text)}</text>"
    )


def _title(answer: ConfidenceAnswer) -> str:
    if answer.digit is None:
        return f"Not a digit: {str(answer.reason).replace('_', ' ')}"
    if answer.verdict == "uncertain":
        return f"Most likely {answer.digit}, {_percent(answer.confidence)} sure"
    return f"It is a {answer.digit}, {_percent(answer.confidence)} sure"


def _percent(share: float) -> str:
    return ">99.9 %" if share >= 0.9995 else f"{share:.1%}".replace("%", " %")


def _shortened(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"


def _encoded(image: Image.Image) -> bytes:
    file = BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


@lru_cache
def _font(size: int):  # type: ignore[no-untyped-def] # noqa: ANN202 - which class depends on how Pillow was built
    from PIL import ImageFont  # noqa: PLC0415

    return ImageFont.load_default(size)
