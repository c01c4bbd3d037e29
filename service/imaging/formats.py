"""A file's format by its first bytes, whatever its name or its Content-Type say.

Pillow's reader classes are called directly: no other format can be reached.
"""

from __future__ import annotations

import struct

from PIL import BmpImagePlugin, GifImagePlugin, JpegImagePlugin, PngImagePlugin, TiffImagePlugin, WebPImagePlugin
from PIL.ImageFile import ImageFile

from service.errors import InvalidImage
from service.imaging import png

FORMATS = "PNG, JPEG, WebP, BMP, GIF or TIFF"
JPEG_SIGNATURE = b"\xff\xd8\xff"
READERS: tuple[tuple[bytes, type[ImageFile]], ...] = (
    (png.SIGNATURE, PngImagePlugin.PngImageFile),
    (JPEG_SIGNATURE, JpegImagePlugin.JpegImageFile),
    (b"RIFF", WebPImagePlugin.WebPImageFile),
    (b"GIF87a", GifImagePlugin.GifImageFile),
    (b"GIF89a", GifImagePlugin.GifImageFile),
    (b"BM", BmpImagePlugin.BmpImageFile),
    (b"II*\x00", TiffImagePlugin.TiffImageFile),
    (b"MM\x00*", TiffImagePlugin.TiffImageFile),
    (b"II+\x00", TiffImagePlugin.TiffImageFile),
    (b"MM\x00+", TiffImagePlugin.TiffImageFile),
)
# Where a file's first 12 bytes hold one of these, it is what users take for a picture, too.
OTHER_FORMATS = {
    b"ftyphei": "HEIC", b"ftypmif": "HEIF", b"ftypavi": "AVIF", b"%PDF": "PDF", b"<svg": "SVG", b"<?xml": "SVG or XML",
    b"jP  ": "JPEG 2000", b"JXL ": "JPEG XL", b"8BPS": "Photoshop",
}  # fmt: skip


def reader_of(data: bytes) -> type[ImageFile]:
    """What reads this file. Raises `InvalidImage`, which tells what it is instead and what to do about it."""
    reader = next((cls for magic, cls in READERS if data.startswith(magic)), None)
    if reader is None:
        raise InvalidImage(f"Expected a {FORMATS} image, told by its content; got {_unread(data)}.")
    return reader


def _unread(data: bytes) -> str:
    for magic, name in OTHER_FORMATS.items():
        if magic in data[:12]:
            return f"{name}. Convert it to JPEG or PNG"
    came = f"{len(data)} bytes that begin with {data[:8]!r}" if data else "an empty body"
    return f"{came}. Send the encoded file itself"


def webp_size(data: bytes) -> tuple[int, int] | None:
    """The canvas in px by the first chunk (RFC 9649, 2.5 to 2.7; RFC 6386, 9.1); none where that makes no sense."""
    if len(data) < 30:
        return None
    kind = data[12:16]
    if kind == b"VP8X":
        return int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1
    if kind == b"VP8L":
        sides = int.from_bytes(data[21:25], "little")
        return (sides & 0x3FFF) + 1, (sides >> 14 & 0x3FFF) + 1
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF
    return None
