"""Bytes -> one upright grey picture. Every failure is a `ServiceError`; the header tells the size before decoding."""

from __future__ import annotations

import struct
import warnings
from io import BytesIO

import numpy as np
import numpy.typing as npt
import pyspng
import simplejpeg
from msgspec import Struct
from PIL import GifImagePlugin, Image, JpegImagePlugin, PngImagePlugin, WebPImagePlugin
from PIL.ImageFile import ImageFile

from service.errors import InvalidImage, ServiceError, TooLarge
from service.imaging import png
from service.imaging.formats import FORMATS, JPEG_SIGNATURE, reader_of, webp_size
from service.imaging.grey import GreyImage, to_grey

LIGHT_PIXELS = 64 * 64
LIGHT_JPEG_BYTES = 65_536
# Four times the side a digit is looked for at (normalise.VIEW_SIDE): detail beyond it only costs time.
LARGE_SIDE = 1280
MAX_JPEG_SCANS = 64  # a progressive file has about 10; thousands of scans are a known way to burn minutes of CPU
EXIF_ORIENTATION = 0x0112
# What `pyspng.load` calls; it looks up a table of formats each time, a sixth of what a small picture takes.
_load_png, AS_IT_IS = pyspng.c.spng_decode_image_bytes, pyspng.c.SPNG_FMT_AUTO
ORIENTATION_STEPS = {
    2: "exif_mirrored",
    3: "exif_rotated_180",
    4: "exif_mirrored_rotated_180",
    5: "exif_mirrored_rotated_270",
    6: "exif_rotated_90",
    7: "exif_mirrored_rotated_90",
    8: "exif_rotated_270",
}
# Once for the process: `warnings.catch_warnings` is not safe in threads, and an odd tag is not the operator's concern.
warnings.filterwarnings("ignore", module=r"PIL\.")


class Picture(Struct, frozen=True):
    """One grey picture: `pixels` (height, width), upright, polarity as sent; `width` x `height` px originally."""

    pixels: GreyImage
    steps: tuple[str, ...] = ()
    width: int = 0
    height: int = 0


def decode(data: bytes | bytearray | memoryview, *, max_pixels: int, reduce: bool = True) -> Picture:
    """Read an encoded picture; with `reduce`, large ones at a fraction of their size, which saves most of the time.

    Raises `InvalidImage` for what is no image or a broken one, `TooLarge` for more than `max_pixels` by its header.
    """
    encoded = data if isinstance(data, bytes) else bytes(data)
    try:
        plain = decode_plain(encoded, max_pixels=min(LIGHT_PIXELS, max_pixels))
        quick = plain or _decode_grey_png(encoded, max_pixels) or _decode_grey_jpeg(encoded, max_pixels)
        return quick or _decode_with_pillow(encoded, max_pixels, reduce=reduce)
    except ServiceError:
        raise
    except Image.DecompressionBombError as error:  # a GIF's frame may be larger than its header says
        raise TooLarge(
            f"Expected at most {max_pixels} pixels (DIGITS_MAX_IMAGE_PIXELS); got more ({error}). "
            "Send a smaller picture."
        ) from error
    except Exception as error:  # hostile bytes make decoders raise anything, struct.error and MemoryError included
        if str(error) == "unknown pixel mode":  # Pillow's, of TIFFs
            raise InvalidImage(
                "Pixels of that kind are not read. Save the file with 8 or 16 bits a channel."
            ) from error
        raise InvalidImage(
            f"The image could not be decoded ({error or type(error).__name__}). It is truncated or corrupt: "
            f"send a complete {FORMATS} file."
        ) from error


def decode_plain(data: bytes, *, max_pixels: int) -> Picture | None:
    """The hot path: what `decode` gives for a whole and plain grey PNG of at most `max_pixels`; None for all else."""
    size = png.plain_grey_size(data)
    if size is None or size[0] * size[1] > max_pixels:
        return None
    try:
        return Picture(_load_png(data, AS_IT_IS)[:, :, 0], (), *size)
    except (RuntimeError, ValueError):
        return None


def from_pixels(pixels: npt.NDArray[np.integer], *, max_pixels: int) -> Picture:
    """A picture from a client's own array: whole numbers 0..255, (height, width). Raises `InvalidImage`, `TooLarge`."""
    if pixels.ndim != 2 or pixels.size == 0:
        raise InvalidImage(
            f"Expected pixels as rows of one length, (height, width); got the shape {pixels.shape}. "
            "Send one grey value a pixel, in at least one row."
        )
    if pixels.dtype.kind not in "iub" or pixels.min() < 0 or pixels.max() > 255:
        raise InvalidImage("Expected pixels as whole numbers from 0 to 255. Scale the values and round them.")
    height, width = pixels.shape
    _check_size(width, height, max_pixels)
    return Picture(np.ascontiguousarray(pixels, dtype=np.uint8), width=width, height=height)


def _decode_grey_png(data: bytes, max_pixels: int) -> Picture | None:
    """An 8-bit grey PNG, as MNIST's own files are; libspng needs a tenth of Pillow's time."""
    if not (data.startswith(png.SIGNATURE) and data[24:29] == png.GREY):
        return None
    if b"tRNS" in data or b"eXIf" in data:
        return None
    width, height = struct.unpack_from(">II", data, 16)
    _check_size(width, height, max_pixels)
    if max(width, height) > LARGE_SIDE:
        return None
    png.read_chunks(data)
    try:
        return Picture(_load_png(data, AS_IT_IS)[:, :, 0], (), width, height)
    except (RuntimeError, ValueError):
        png.check_grey_rows(data, width, height)  # Pillow would fill missing rows with black
        return None  # Pillow decides, and words the complaint


def _decode_grey_jpeg(data: bytes, max_pixels: int) -> Picture | None:
    """A small grey JPEG, upright as it is: the same pixels as Pillow's for a twentieth of its time."""
    if not data.startswith(JPEG_SIGNATURE) or len(data) > LIGHT_JPEG_BYTES or b"Exif" in data:
        return None
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(data)
        if colours != "Gray":
            return None
        _check_size(width, height, max_pixels)
        if _jpeg_scale(width, height) > 1:
            return None
        return Picture(simplejpeg.decode_jpeg(data, "GRAY")[:, :, 0], width=width, height=height)
    except ValueError:
        return None  # as above


def _decode_with_pillow(data: bytes, max_pixels: int, *, reduce: bool) -> Picture:
    reader = reader_of(data)
    _check_before_opening(data, reader, max_pixels)
    png_exif = png.read_chunks(data).exif if reader is PngImagePlugin.PngImageFile else b""
    image = reader(BytesIO(data))
    _check_size(*image.size, max_pixels)
    width, height = image.size
    orientation = _orientation(image, png_exif)
    several = getattr(image, "is_animated", False)
    if image.format == "TIFF":
        _check_tiles(image, max_pixels)
        image.load()  # turns the picture upright itself
    steps = ["first_frame"] if several else []
    if reduce and image.format == "JPEG" and (scale := _jpeg_scale(width, height)) > 1:
        image.draft("L", (width // scale, height // scale))
        steps.append(f"reduced_{scale}x")
    pixels, grey_steps = to_grey(image, LARGE_SIDE if reduce else None)
    steps += grey_steps
    if orientation in ORIENTATION_STEPS:
        pixels = pixels if image.format == "TIFF" else _upright(pixels, orientation)
        steps.append(ORIENTATION_STEPS[orientation])
        if orientation >= 5 and image.format != "TIFF":
            width, height = height, width
    return Picture(np.ascontiguousarray(pixels), tuple(steps), width, height)


def _check_size(width: int, height: int, max_pixels: int) -> None:
    if width < 1 or height < 1:
        raise InvalidImage(f"Expected an image of at least 1 x 1 pixel; got {width} x {height}. Send another file.")
    if width * height > max_pixels:
        raise TooLarge(
            f"Expected at most {max_pixels} pixels (DIGITS_MAX_IMAGE_PIXELS); "
            f"got {width} x {height} = {width * height}. Send a smaller picture, or raise the setting."
        )


def _check_before_opening(data: bytes, reader: type[ImageFile], max_pixels: int) -> None:
    """What Pillow would spend memory or minutes on before it tells a size."""
    if reader is GifImagePlugin.GifImageFile and len(data) >= 10:
        width, height = struct.unpack_from("<HH", data, 6)
        _check_size(width, height, max_pixels)
    if reader is PngImagePlugin.PngImageFile:
        _check_size(*png.header_size(data), max_pixels)
    if reader is WebPImagePlugin.WebPImageFile and (size := webp_size(data)):
        _check_size(*size, max_pixels)
    if reader is JpegImagePlugin.JpegImageFile and (scans := data.count(b"\xff\xda")) > MAX_JPEG_SCANS:
        raise InvalidImage(
            f"Expected a JPEG of at most {MAX_JPEG_SCANS} scans; got {scans}. Save it again as baseline."
        )


def _check_tiles(image: ImageFile, max_pixels: int) -> None:
    """A small TIFF may ask for a huge tile, which libtiff would allocate whole. Tags 322, 323: its width and length."""
    tags = getattr(image, "tag_v2", {})
    _check_size(int(tags.get(322, 1)), int(tags.get(323, 1)), max(max_pixels, 1 << 20))


def _orientation(image: ImageFile, png_exif: bytes) -> int:
    """EXIF orientation 1..8; 1 (upright) where there is none or it makes no sense."""
    try:
        if image.format == "PNG":  # Pillow would decode the pixels to look behind them
            exif = Image.Exif()
            exif.load(png_exif)
        else:
            exif = image.getexif()
        value = exif.get(EXIF_ORIENTATION, 1)
    except Exception:  # noqa: BLE001 (a broken EXIF block does not make the picture unreadable)
        return 1
    return value if value in ORIENTATION_STEPS else 1


def _jpeg_scale(width: int, height: int) -> int:
    """The largest of 1, 2, 4, 8 that leaves the longer side at `LARGE_SIDE` / 2 or more; the decoder skips the rest."""
    return next((scale for scale in (8, 4, 2) if max(width, height) // scale >= LARGE_SIDE // 2), 1)


def _upright(pixels: GreyImage, orientation: int) -> GreyImage:
    """Turn stored pixels upright (EXIF 2.32, tag 0x0112: where row 0 and column 0 of the file lie in the scene)."""
    if orientation >= 5:
        pixels = pixels.T
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels
