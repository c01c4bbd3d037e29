"""What the clients send: drawn digits in MNIST's convention as PNG, and photo-like JPEGs of any size."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

BOUNDARY = "benchmark-boundary"
Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Request:
    """A POST; clients send its bodies in turn. `images` is how many pictures each body holds.

    `json_bytes`: how many bytes of a body are JSON where raw tensors follow it (Open Inference Protocol).
    """

    path: str
    content_type: str
    bodies: tuple[bytes, ...]
    images: int = 1
    json_bytes: int | None = None

    @property
    def headers(self) -> dict[str, str]:
        length = {} if self.json_bytes is None else {"Inference-Header-Content-Length": str(self.json_bytes)}
        return {"Content-Type": self.content_type} | length


def digits(count: int) -> list[Pixels]:
    """uint8 (28, 28), light on black: a digit in a box of 20, its centre of mass in the middle; no two alike."""
    return [_digit(index) for index in range(count)]


def _digit(index: int) -> Pixels:
    large = Image.new("L", (200, 200))
    ImageDraw.Draw(large).text((100, 100), str(index % 10), 255, ImageFont.load_default(170), anchor="mm")
    large = large.rotate(4 * (index // 10 % 7 - 3), Image.Resampling.BICUBIC)
    cut = large.crop(large.getbbox())
    scale = 20 / max(cut.size)
    small = np.asarray(cut.resize((max(1, round(cut.width * scale)), max(1, round(cut.height * scale)))))
    rows, columns = (
        np.average(np.arange(n), weights=small.sum(axis)) for n, axis in zip(small.shape, (1, 0), strict=True)
    )
    top, left = round(14 - rows), round(14 - columns)
    image = np.zeros((28, 28), np.uint8)
    image[top : top + small.shape[0], left : left + small.shape[1]] = small
    return image


def png(pixels: Pixels) -> bytes:
    encoded = BytesIO()
    Image.fromarray(pixels).save(encoded, "PNG")
    return encoded.getvalue()


def photo(width: int, height: int) -> bytes:
    """A JPEG of a dark digit on white paper in uneven light, with a sensor's noise."""
    light = np.linspace(235, 175, width)[None] + np.linspace(10, -10, height)[:, None]
    noise = np.random.default_rng(0).normal(0, 3, (height, width))
    page = Image.fromarray((light + noise).clip(0, 255).astype(np.uint8))
    font = ImageFont.load_default(0.6 * min(width, height))
    ImageDraw.Draw(page).text((width / 2, height / 2), "5", 40, font, anchor="mm")
    encoded = BytesIO()
    page.convert("RGB").save(encoded, "JPEG", quality=85)
    return encoded.getvalue()


def form(name: str, files: list[bytes]) -> tuple[str, bytes]:
    """Content type and body of multipart/form-data with these files, all parts of one name."""
    parts = [
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"; filename="{index}.png"\r\n'
        f"Content-Type: image/png\r\n\r\n".encode()
        + file
        + b"\r\n"
        for index, file in enumerate(files)
    ]
    return f"multipart/form-data; boundary={BOUNDARY}", b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()
