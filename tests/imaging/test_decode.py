"""Every format and depth, every orientation; limits before decoding; no error but ours."""

import random
import struct
import subprocess
import sys
import time
import tracemalloc
import zlib
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pictures import LIMIT, encoded, likeness, seven
from PIL import Image

from service.errors import InvalidImage, ServiceError, TooLarge
from service.imaging.decode import decode, from_pixels

DRAWN = Image.fromarray(seven())
NOISE = Image.fromarray(np.random.default_rng(1).integers(0, 256, (37, 29, 4), dtype=np.uint8))


def chunk(name: bytes, body: bytes) -> bytes:
    """One chunk of a PNG."""
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def header_only_png(width: int, height: int) -> bytes:
    """A PNG that names a size and holds a little compressed black."""
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    pixels = zlib.compress(bytes(100_000_000), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
def test_a_png_of_any_mode_shows_what_was_drawn(mode: str) -> None:
    picture = decode(encoded(DRAWN.convert(mode)), max_pixels=LIMIT)
    assert likeness(picture.pixels, seven()) > 0.999
    assert (picture.width, picture.height) == (160, 200)


@pytest.mark.parametrize(
    ("kind", "mode", "options"),
    [
        ("JPEG", "L", {}),
        ("JPEG", "RGB", {"progressive": True}),
        ("JPEG", "CMYK", {}),
        ("WEBP", "RGB", {}),
        ("WEBP", "RGBA", {"lossless": True}),
        ("BMP", "RGB", {}),
        ("BMP", "P", {}),
        ("GIF", "P", {}),
        ("TIFF", "L", {"compression": "tiff_lzw"}),
        ("TIFF", "CMYK", {}),
        ("TIFF", "1", {"compression": "group4"}),
        ("TIFF", "RGB", {"compression": "jpeg"}),
    ],
)
def test_every_format_shows_what_was_drawn(kind: str, mode: str, options: dict[str, object]) -> None:
    picture = decode(encoded(DRAWN.convert(mode), kind, **options), max_pixels=LIMIT)
    assert likeness(picture.pixels, seven()) > 0.97
    assert picture.pixels.dtype == np.uint8


@pytest.mark.parametrize("shape", [(28, 28), (1, 1), (3, 300), (200, 160)])
@pytest.mark.parametrize("interlaced", [False, True])
def test_a_grey_png_has_the_pixels_that_pillow_reads(shape: tuple[int, int], interlaced: bool) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    data = encoded(Image.fromarray(pixels), interlace=interlaced)
    assert np.array_equal(decode(data, max_pixels=LIMIT).pixels, np.asarray(Image.open(BytesIO(data))))


@pytest.mark.parametrize("wrap", [bytes, bytearray, memoryview])
def test_bytes_in_any_wrapping_are_read(wrap: type) -> None:
    assert decode(wrap(encoded(DRAWN)), max_pixels=LIMIT).pixels.shape == (200, 160)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_are_scaled_and_not_clipped(kind: str) -> None:
    deep = Image.fromarray(seven().astype(np.uint16) * 257)
    picture = decode(encoded(deep, kind), max_pixels=LIMIT)
    assert np.array_equal(picture.pixels, seven())
    assert "scaled_from_16_bit" in picture.steps


def test_sixteen_bits_that_hold_eight_keep_their_values() -> None:
    shallow = Image.fromarray(seven().astype(np.uint16))
    assert np.array_equal(decode(encoded(shallow), max_pixels=LIMIT).pixels, seven())


@pytest.mark.parametrize("top", [1.0, 255.0])
def test_float_pixels_are_scaled_by_their_range(top: float) -> None:
    image = Image.fromarray((seven() / 255 * top).astype(np.float32))
    assert likeness(decode(encoded(image, "TIFF"), max_pixels=LIMIT).pixels, seven()) > 0.999


def test_float_pixels_that_are_no_numbers_are_black() -> None:
    values = np.array([[np.nan, np.inf, -np.inf, 1.0]], np.float32)
    picture = decode(encoded(Image.fromarray(values), "TIFF"), max_pixels=LIMIT)
    assert picture.pixels.tolist() == [[0, 0, 0, 255]]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_comes_upright(orientation: int, kind: str) -> None:
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = DRAWN.convert("RGB").transpose(undo[orientation]) if orientation > 1 else DRAWN.convert("RGB")
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = decode(encoded(stored, kind, exif=exif), max_pixels=LIMIT)
    assert likeness(picture.pixels, seven()) > 0.98
    assert (picture.width, picture.height) == (160, 200)
    assert any(step.startswith("exif_") for step in picture.steps) == (orientation > 1)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_a_broken_exif_block_does_not_make_a_photo_unreadable() -> None:
    exif = b"Exif\x00\x00" + b"II*\x00" + b"\xff" * 40
    assert decode(encoded(DRAWN, "JPEG", exif=exif), max_pixels=LIMIT).pixels.shape == (200, 160)


def test_an_odd_tag_is_no_error_where_warnings_are() -> None:
    exif = b"Exif\x00\x00" + b"II*\x00" + b"\xff" * 40
    script = (
        "import sys; from service.imaging.decode import decode; "
        "print(decode(sys.stdin.buffer.read(), max_pixels=10**6).pixels.shape)"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        input=encoded(DRAWN, "JPEG", exif=exif),
        capture_output=True,
        check=False,
    )
    assert (done.stdout.decode().strip(), done.stderr.decode()) == ("(200, 160)", "")


@pytest.mark.parametrize("after", [False, True])
def test_the_orientation_of_a_png_is_read_before_and_behind_the_pixels(after: bool) -> None:
    whole = encoded(DRAWN)
    exif = Image.Exif()
    exif[0x0112] = 6
    body = exif.tobytes().removeprefix(b"Exif\x00\x00")
    at = len(whole) - 12 if after else 33
    picture = decode(whole[:at] + chunk(b"eXIf", body) + whole[at:], max_pixels=LIMIT)
    assert np.array_equal(picture.pixels, np.rot90(seven(), -1))


@pytest.mark.parametrize(
    ("dtype", "kind"), [(np.uint16, "PNG"), (np.uint16, "TIFF"), (np.int32, "TIFF"), (np.float32, "TIFF")]
)
def test_deep_pixels_take_little_memory_beside_pillows_own(dtype: type, kind: str) -> None:
    side = 3000
    values = (np.arange(side * side, dtype=np.uint32) % 60_000).astype(dtype).reshape(side, side)
    data = encoded(Image.fromarray(values), kind)
    tracemalloc.start()  # sees numpy's arrays and Python's bytes, not Pillow's own buffer
    decode(data, max_pixels=LIMIT)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak_bytes - len(data) < 5 * side * side


@pytest.mark.parametrize("top", [200, 4000, 60_000, 2_000_000_000])
@pytest.mark.parametrize("rows", [1, 3, 700])
def test_deep_pixels_are_scaled_alike_in_all_strips(top: int, rows: int) -> None:
    values = np.random.default_rng(2).integers(0, top, (rows, 901)).astype(np.int32)
    values[0, 0] = top
    full = next((limit for limit in (255, 4095, 65_535) if top <= limit), top)
    low = 0 if full != top else values.min()
    expected = np.rint((values.astype(float) - low) * (255 / (full - low)))
    assert np.array_equal(decode(encoded(Image.fromarray(values), "TIFF"), max_pixels=LIMIT).pixels, expected)


@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (200, 30, 30)])
def test_ink_in_the_alpha_channel_alone_is_the_ink(colour: tuple[int, int, int]) -> None:
    image = Image.new("RGBA", DRAWN.size, colour)
    image.putalpha(DRAWN)
    picture = decode(encoded(image), max_pixels=LIMIT)
    assert likeness(picture.pixels, seven()) > 0.999
    assert "alpha_as_ink" in picture.steps


def test_a_page_with_clear_corners_keeps_its_paper() -> None:
    page = Image.fromarray(np.where(seven() > 0, 40, 220).astype(np.uint8)).convert("RGBA")
    clear = np.full((200, 160), 255, np.uint8)
    clear[:20, :20] = 0
    page.putalpha(Image.fromarray(clear))
    picture = decode(encoded(page), max_pixels=LIMIT)
    assert picture.steps[-1] == "alpha_flattened"
    assert picture.pixels[0, 0] == 220


def test_yellow_on_white_is_seen() -> None:
    image = Image.new("RGB", DRAWN.size, (255, 255, 255))
    image.paste((255, 245, 90), mask=DRAWN)
    assert likeness(255 - decode(encoded(image), max_pixels=LIMIT).pixels, seven()) > 0.99


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "TIFF", "PNG"])
def test_of_several_frames_the_first_is_read(kind: str) -> None:
    other = Image.new("RGB", DRAWN.size, (90, 90, 90))
    data = encoded(DRAWN.convert("RGB"), kind, save_all=True, append_images=[other])
    picture = decode(data, max_pixels=LIMIT)
    assert likeness(picture.pixels, seven()) > 0.99
    assert "first_frame" in picture.steps


def test_a_large_photo_is_decoded_at_reduced_scale() -> None:
    large = DRAWN.convert("RGB").resize((3200, 4000))
    data = encoded(large, "JPEG")
    picture = decode(data, max_pixels=LIMIT)
    assert max(picture.pixels.shape) < 1300
    assert (picture.width, picture.height) == (3200, 4000)
    assert decode(data, max_pixels=LIMIT, reduce=False).pixels.shape == (4000, 3200)


def test_too_many_pixels_are_refused_before_decoding_with_little_memory() -> None:
    bomb = header_only_png(30_000, 30_000)
    assert len(bomb) < 100_000
    tracemalloc.start()
    started = time.thread_time()
    with pytest.raises(TooLarge, match=r"DIGITS_MAX_IMAGE_PIXELS.*30000 x 30000"):
        decode(bomb, max_pixels=LIMIT)
    elapsed_s = time.thread_time() - started
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert elapsed_s < 0.1
    assert peak_bytes < 1_000_000


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF"])
def test_the_pixel_limit_holds_for_every_format(kind: str) -> None:
    data = encoded(DRAWN, kind)
    assert decode(data, max_pixels=200 * 160).pixels.shape == (200, 160)
    with pytest.raises(TooLarge, match="DIGITS_MAX_IMAGE_PIXELS"):
        decode(data, max_pixels=200 * 160 - 1)


@pytest.mark.parametrize(
    "first",
    [
        b"VP8X" + struct.pack("<I", 10) + bytes(4) + (13_999).to_bytes(3, "little") * 2,
        b"VP8L" + struct.pack("<I", 10) + b"\x2f" + struct.pack("<I", 13_999 | 13_999 << 14) + bytes(5),
        b"VP8 " + struct.pack("<I", 10) + bytes(3) + b"\x9d\x01\x2a" + struct.pack("<HH", 14_000, 14_000),
    ],
)
def test_a_huge_webp_is_refused_by_its_header(first: bytes) -> None:
    data = b"RIFF" + struct.pack("<I", 4 + len(first)) + b"WEBP" + first
    with pytest.raises(TooLarge, match=r"DIGITS_MAX_IMAGE_PIXELS.*14000 x 14000"):
        decode(data, max_pixels=LIMIT)


@pytest.mark.parametrize("options", [{}, {"lossless": True}, {"exif": b"Exif\x00\x00"}])
def test_a_webp_of_each_kind_tells_its_size_before_it_is_opened(options: dict[str, object]) -> None:
    with pytest.raises(TooLarge, match="160 x 200"):
        decode(encoded(DRAWN.convert("RGB"), "WEBP", **options)[:40], max_pixels=100)


def test_a_gif_whose_frame_is_larger_than_its_screen_is_too_large() -> None:
    screen = b"GIF89a" + struct.pack("<HHBBB", 1, 1, 0x80, 0, 0) + bytes(6)
    frame = b"," + struct.pack("<HHHHB", 0, 0, 65_535, 65_535, 0) + b"\x02\x02\x44\x01\x00;"
    with pytest.raises(TooLarge, match="DIGITS_MAX_IMAGE_PIXELS"):
        decode(screen + frame, max_pixels=LIMIT)


def test_a_small_tiff_that_asks_for_a_huge_tile_is_refused() -> None:
    values = {256: 16, 257: 16, 258: 8, 259: 8, 262: 1, 277: 1, 322: 60_000, 323: 60_000, 324: 200, 325: 9}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in values.items())
    directory = struct.pack("<IH", 8, len(values)) + entries + bytes(4)
    with pytest.raises(TooLarge, match="60000 x 60000"):
        decode((b"II*\x00" + directory).ljust(200, b"\x00") + zlib.compress(b""), max_pixels=LIMIT)


def test_a_jpeg_of_thousands_of_scans_is_refused() -> None:
    data = encoded(DRAWN, "JPEG", progressive=True)
    start = data.index(b"\xff\xda")
    with pytest.raises(InvalidImage, match="scans"):
        decode(data[:start] + data[start:-2] * 500, max_pixels=LIMIT)


@pytest.mark.parametrize(
    "data",
    [b"", b"\x00", b"hello", b"%PDF-1.7 ...", b"%!PS-Adobe-3.0 EPSF-3.0", b"8BPS\x00\x01", b"<svg/>", b"RIFF\x00\x00"],
)
def test_what_is_no_image_is_refused_with_what_was_expected(data: bytes) -> None:
    with pytest.raises(InvalidImage, match="PNG, JPEG, WebP, BMP, GIF or TIFF"):
        decode(data, max_pixels=LIMIT)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF"])
def test_a_truncated_file_is_refused(kind: str) -> None:
    data = encoded(NOISE.convert("RGB"), kind)
    for end in (1, 3, 9, 20, len(data) // 2):
        with pytest.raises(InvalidImage):
            decode(data[:end], max_pixels=LIMIT)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
@pytest.mark.parametrize("cut", [1, 4, 8, 12, 16])
def test_a_png_without_its_end_is_truncated(mode: str, cut: int) -> None:
    whole = encoded(DRAWN.convert(mode))
    with pytest.raises(InvalidImage, match="truncated"):
        decode(whole[:-cut], max_pixels=LIMIT)


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_bytes_behind_the_end_of_a_png_are_ignored(mode: str) -> None:
    whole = encoded(DRAWN.convert(mode))
    assert np.array_equal(decode(whole + b"more", max_pixels=LIMIT).pixels, seven())


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_png_whose_checksum_is_wrong_is_refused(mode: str) -> None:
    data = bytearray(encoded(DRAWN.convert(mode)))
    data[-13] ^= 1
    with pytest.raises(InvalidImage, match="checksum of its IDAT"):
        decode(data, max_pixels=LIMIT)


def test_a_png_without_the_palette_that_it_needs_is_refused() -> None:
    whole = encoded(DRAWN.convert("P"))
    begin = whole.index(b"PLTE") - 4
    without = whole[:begin] + whole[begin + 12 + int.from_bytes(whole[begin : begin + 4], "big") :]
    assert decode(whole, max_pixels=LIMIT).pixels.max() == 255
    end = without.index(b"IEND") - 4
    empty, odd = chunk(b"PLTE", b""), chunk(b"PLTE", bytes(31))
    late = without[:end] + whole[begin : begin + 12 + 768] + without[end:]
    for broken in (without, without[:begin] + empty + without[begin:], without[:begin] + odd + without[begin:], late):
        with pytest.raises(InvalidImage, match="palette"):
            decode(broken, max_pixels=LIMIT)


@pytest.mark.parametrize("rows", [0, 1, 14, 27])
def test_a_grey_png_with_fewer_rows_than_its_header_says_is_truncated(rows: int) -> None:
    head = struct.pack(">IIBBBBB", 28, 28, 8, 0, 0, 0, 0)
    pixels = zlib.compress((b"\x00" + bytes(range(28))) * rows)
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    with pytest.raises(InvalidImage, match=f"{rows} of 28 rows"):
        decode(data, max_pixels=LIMIT)


@given(
    st.binary(max_size=200), st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF89a", b"BM", b"II*\x00"])
)
def test_random_bytes_raise_nothing_but_our_errors(data: bytes, magic: bytes) -> None:
    with pytest.raises(ServiceError):
        decode(magic + data, max_pixels=LIMIT)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF"])
def test_mutated_files_raise_nothing_but_our_errors(kind: str) -> None:
    rng = random.Random(7)
    whole = encoded(NOISE.convert("RGB"), kind)
    for _ in range(400):
        data = bytearray(whole)
        for _ in range(rng.choice([1, 2, 8])):
            data[rng.randrange(min(len(data), rng.choice([40, 200, 100_000])))] = rng.choice(
                [0, 255, rng.randrange(256)]
            )
        try:
            picture = decode(data[: rng.choice([len(data), rng.randrange(len(data))])], max_pixels=1_000_000)
        except ServiceError as error:
            assert error.detail  # noqa: PT017 (both outcomes are right)
        else:
            assert picture.pixels.ndim == 2


def test_many_threads_read_the_same_as_one() -> None:
    files = [
        encoded(NOISE.convert(mode), kind)
        for mode, kind in (("RGB", "JPEG"), ("L", "PNG"), ("RGB", "TIFF"), ("RGBA", "WEBP"))
    ]
    alone = [decode(data, max_pixels=LIMIT).pixels for data in files]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda i: decode(files[i % 4], max_pixels=LIMIT).pixels, range(200)))
    assert all(np.array_equal(pixels, alone[i % 4]) for i, pixels in enumerate(together))


def test_pixel_arrays_are_taken_as_they_come() -> None:
    picture = from_pixels(np.arange(6).reshape(2, 3), max_pixels=6)
    assert picture.pixels.dtype == np.uint8
    assert picture.pixels.tolist() == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((0, 5), int),
        np.zeros(4, int),
        np.zeros((2, 2, 3), int),
        np.array([[256]]),
        np.array([[-1]]),
        np.array([[0.5]]),
    ],
)
def test_pixel_arrays_of_the_wrong_kind_are_refused(pixels: np.ndarray) -> None:
    with pytest.raises(InvalidImage, match="Expected pixels"):
        from_pixels(pixels, max_pixels=100)


GREY_FILES = {
    **{f"png level {level}": ("PNG", {"compress_level": level}) for level in (0, 1, 9)},
    "png palette of greys": ("PNG", {"bits": 8}),
    **{f"jpeg quality {quality}": ("JPEG", {"quality": quality}) for quality in (10, 75, 95, 100)},
    "progressive jpeg": ("JPEG", {"progressive": True}),
    "jpeg with restarts": ("JPEG", {"restart_marker_blocks": 2}),
}


@pytest.mark.parametrize("case", GREY_FILES)
@pytest.mark.parametrize("size", [(1, 1), (28, 28), (29, 37), (640, 480)])
def test_the_quick_decoders_give_pillows_pixels(case: str, size: tuple[int, int]) -> None:
    kind, options = GREY_FILES[case]
    data = encoded(NOISE.convert("L").resize(size), kind, **options)
    assert np.array_equal(decode(data, max_pixels=LIMIT, reduce=False).pixels, np.asarray(Image.open(BytesIO(data))))


def test_pixels_of_a_kind_that_is_not_read_are_not_called_corrupt() -> None:
    tags = {256: 2, 257: 2, 258: 64, 259: 1, 262: 1, 273: 130, 277: 1, 278: 2, 279: 32, 339: 3}  # 64-bit floats
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    file = b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries
    with pytest.raises(InvalidImage, match="Save the file with 8 or 16 bits"):
        decode(file.ljust(130, b"\0") + struct.pack("<4d", 0, 1, 2, 3), max_pixels=100)
