"""MNIST's own pictures pass unchanged; everybody else's come to MNIST's convention; nothing raises."""

import csv
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pictures import LIMIT, encoded, likeness, seven
from PIL import Image, ImageDraw, ImageFilter

from service.errors import InvalidImage
from service.imaging.decode import decode, from_pixels
from service.imaging.normalise import Normalised, exact, normalise

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
RNG = np.random.default_rng(3)


def result(pixels: npt.NDArray[np.generic]) -> Normalised:
    return normalise(from_pixels(np.asarray(pixels, np.uint8), max_pixels=10**8))


REFERENCE = result(seven()).pixels


def photo(
    ink: npt.NDArray[np.uint8], light: npt.NDArray[np.float64] | float = 1.0, contrast: float = 0.7
) -> npt.NDArray[np.float64]:
    """Dark ink on grey, grainy paper."""
    grain = np.random.default_rng(5).normal(0, 2.5, ink.shape)
    return np.clip(190 * light * (1 - contrast * ink / 255) + grain, 0, 255)


def in_mnist_convention(pixels: npt.NDArray[np.uint8]) -> bool:
    ys, xs = np.nonzero(pixels.max(1))[0], np.nonzero(pixels.max(0))[0]
    mass = pixels.sum()
    down = (pixels.sum(1) * np.arange(28)).sum() / mass
    across = (pixels.sum(0) * np.arange(28)).sum() / mass
    return bool(
        max(np.ptp(ys), np.ptp(xs)) + 1 == 20
        and abs(down - 14) <= 0.6
        and abs(across - 14) <= 0.6
        and pixels.max() == 255
    )


def test_a_drawing_comes_to_mnists_convention() -> None:
    assert REFERENCE.shape == (28, 28)
    assert in_mnist_convention(REFERENCE)


@pytest.mark.parametrize(
    "pixels",
    [
        pytest.param(255 - seven(), id="dark on light"),
        pytest.param(seven() // 3, id="dim"),
        pytest.param(235 - seven() // 12, id="faint on light"),
        pytest.param(np.pad(seven(), ((300, 20), (10, 350))), id="small and off-centre"),
        pytest.param(photo(seven()), id="photo"),
        pytest.param(photo(seven(), np.linspace(0.5, 1.2, 160)), id="uneven light"),
        pytest.param(photo(seven(), np.where(np.arange(160) < 70, 0.6, 1.0)), id="shadow"),
        pytest.param(255 - photo(seven()), id="chalk"),
        pytest.param(photo(seven(pen=4), contrast=0.3), id="pencil"),
        pytest.param(np.asarray(Image.fromarray(seven()).resize((640, 800))), id="large"),
        pytest.param(np.asarray(Image.fromarray(seven()).resize((40, 50))), id="small"),
        pytest.param(seven(pen=3), id="thin"),
    ],
)
def test_the_same_digit_looks_the_same_however_it_was_sent(pixels: npt.NDArray[np.generic]) -> None:
    assert likeness(result(pixels).pixels, REFERENCE) > 0.8


@pytest.mark.parametrize(
    ("width", "kind"), [(28, "falls off"), (28, "lamp"), (40, "falls off"), (40, "lamp"), (64, "lamp"), (64, "shadow")]
)
def test_a_small_photo_may_lie_in_uneven_light(width: int, kind: str) -> None:
    down, across = np.mgrid[-1 : 1 : 1.25 * width * 1j, -1 : 1 : width * 1j]
    light = {
        "falls off": 1 + 0.3 * across - 0.1 * down,
        "lamp": 0.7 + 0.4 * np.exp(-((across - 0.4) ** 2 + (down + 0.3) ** 2)),
        "shadow": np.where(across < 0.2, 1.0, 0.7),
    }[kind]
    ink = np.asarray(Image.fromarray(seven()).resize(down.shape[::-1], Image.Resampling.BICUBIC))
    done = result(photo(ink, light))
    assert likeness(done.pixels, REFERENCE) > 0.75
    assert done.warnings == ()


def test_light_alone_is_blank_in_a_small_picture() -> None:
    assert "blank" in result(np.linspace(90, 220, 48)[None] + np.linspace(-20, 20, 40)[:, None]).warnings


def test_thin_strokes_end_as_wide_as_mnists() -> None:
    thin = result(seven(height=1000, width=800, pen=5)).pixels
    assert (thin > 127).sum(1)[8:24].mean() >= 1.7


@pytest.mark.parametrize("turned", [False, True])
def test_ruled_lines_are_taken_out(turned: bool) -> None:
    ink = seven(300, 300, 14).copy()
    for row in range(20, 300, 45):
        ink[row : row + 2] = np.maximum(ink[row : row + 2], 130)
        if turned:
            ink[:, row : row + 2] = np.maximum(ink[:, row : row + 2], 130)
    done = result(photo(ink))
    assert "lines_removed" in done.steps
    assert likeness(done.pixels, result(photo(seven(300, 300, 14))).pixels) > 0.85


def boxed(tilt: float = 0.0, touch: bool = False) -> npt.NDArray[np.uint8]:
    """The seven in a thin frame that does not reach the picture's edge, turned by `tilt` degrees."""
    image = Image.fromarray(np.pad(seven(200, 160, 10), 80))
    bottom = 240 if touch else 265
    ImageDraw.Draw(image).rectangle((90, 95, 230, bottom), outline=255, width=3)
    return np.asarray(image.rotate(tilt, Image.Resampling.BICUBIC))


@pytest.mark.parametrize("tilt", [0.0, 2.5, -3.0])
def test_a_box_around_the_digit_is_taken_out(tilt: float) -> None:
    done = result(photo(boxed(tilt)))
    assert "box_removed" in done.steps
    assert done.warnings == ()
    assert likeness(done.pixels, REFERENCE) > 0.7


def test_a_box_that_the_digit_touches_is_taken_out() -> None:
    done = result(photo(boxed(touch=True)))
    assert "box_removed" in done.steps
    assert likeness(done.pixels, REFERENCE) > 0.6


def test_an_empty_box_is_no_box_around_a_digit() -> None:
    image = Image.new("L", (300, 300))
    ImageDraw.Draw(image).rectangle((60, 60, 240, 240), outline=255, width=4)
    assert "box_removed" not in result(photo(np.asarray(image))).steps


@pytest.mark.parametrize("pen", [12, 45])
def test_a_vignette_is_neither_ink_nor_desk(pen: int) -> None:
    down, across = np.mgrid[-1:1:200j, -1:1:160j]
    done = result(photo(seven(pen=pen), 1 - 0.4 * (down**2 + across**2)))
    assert done.warnings == ()
    assert "page_found" not in done.steps
    assert likeness(done.pixels, result(photo(seven(pen=pen))).pixels) > 0.85


def six(pen: int, room: int) -> npt.NDArray[np.uint8]:
    """A six, light on black, with so much room on every side: 0 cuts it to its ink."""
    image = Image.new("L", (120 + 2 * room, 180 + 2 * room))
    draw = ImageDraw.Draw(image)
    draw.ellipse((room, 80 + room, room + 120, room + 180), outline=255, width=pen)
    draw.line([(room + 90, room), (room + pen / 2, room + 120)], fill=255, width=pen)
    return np.asarray(image)


@pytest.mark.parametrize("pen", [14, 30])
@pytest.mark.parametrize("light", [False, True])
def test_a_digit_cut_to_its_ink_is_told_from_its_ground(pen: int, light: bool) -> None:
    cut = photo(six(pen, 0), contrast=0.8) + np.random.default_rng(6).normal(0, 7, (180, 120))
    done = result(255 - cut if light else cut)
    assert ("inverted" in done.steps) is not light
    assert likeness(done.pixels, result(photo(six(pen, 60), contrast=0.8)).pixels) > 0.9


def test_strokes_that_cover_a_third_of_the_picture_are_not_hollowed_by_its_light() -> None:
    bold = six(36, 14)
    down, across = np.mgrid[-1 : 1 : bold.shape[0] * 1j, -1 : 1 : bold.shape[1] * 1j]
    done = result(photo(bold, 1 - 0.25 * (down**2 + across**2), contrast=0.8))
    assert done.warnings == ()
    assert likeness(done.pixels, result(photo(bold, contrast=0.8)).pixels) > 0.9


def shaded(beyond: npt.NDArray[np.float64], depth: float) -> Normalised:
    """A small seven on paper; where `beyond` is above 0, in px, a shadow takes `depth` of the light."""
    ink = np.zeros((320, 320), np.uint8)
    ink[230:290, 200:248] = seven(60, 48, 5)
    return result(photo(ink, 1 - depth / (1 + np.exp(-beyond))))


DOWN, ACROSS = np.mgrid[:320, :320].astype(float)


@pytest.mark.parametrize("width", [2.0, 6.0, 10.0])
@pytest.mark.parametrize("depth", [0.3, 0.5])
def test_a_shadows_edge_does_not_tell_the_polarity(width: float, depth: float) -> None:
    done = shaded((100 + 0.5 * ACROSS - DOWN) / width, depth)
    assert done.warnings == ()
    assert likeness(done.pixels, REFERENCE) > 0.85


def test_a_shadows_corner_is_no_second_mark() -> None:
    done = shaded(np.minimum(150 - DOWN, 160 - ACROSS), 0.3)
    assert done.warnings == ()
    assert likeness(done.pixels, REFERENCE) > 0.85


def test_a_strip_of_desk_beside_the_page_is_not_taken_for_the_digit() -> None:
    page = photo(seven(300, 300, 14), np.linspace(1, 0.7, 300)[None])
    page[:, :12] = 60
    assert likeness(result(page).pixels, result(photo(seven(300, 300, 14))).pixels) > 0.85


def test_light_that_falls_off_towards_a_side_is_no_ink() -> None:
    light = np.tile(np.clip(np.linspace(0.3, 2, 300), 0, 1), (200, 1))
    assert "blank" in result(photo(np.zeros((200, 300), np.uint8), light)).warnings


def test_dust_is_not_taken_for_the_digit() -> None:
    dusty = seven().copy()
    for y, x in np.random.default_rng(2).integers(0, 150, (25, 2)):
        dusty[y : y + 2, x : x + 2] = 255
    assert likeness(result(photo(dusty)).pixels, REFERENCE) > 0.8


def test_a_dark_frame_around_the_page_is_not_taken_for_the_digit() -> None:
    page = photo(seven(260, 240, 12))
    framed = np.full((320, 300), 20.0)
    framed[30:290, 30:270] = page
    assert likeness(result(framed).pixels, result(page).pixels) > 0.9


def test_the_separate_bar_of_a_five_is_kept() -> None:
    image = Image.new("L", (200, 200))
    draw = ImageDraw.Draw(image)
    draw.line([(80, 50), (140, 50)], fill=255, width=8)
    draw.arc((60, 80, 140, 160), 230, 130, fill=255, width=8)
    draw.line([(80, 62), (76, 95)], fill=255, width=8)
    done = result(np.asarray(image))
    rows = np.flatnonzero((done.pixels > 127).any(1))
    assert np.ptp(rows) + 1 >= 19
    assert (done.pixels[rows[0]] > 127).sum() >= 5
    assert "several_marks" not in done.warnings


def test_two_digits_are_told() -> None:
    both = np.hstack([seven(), np.zeros((200, 60), np.uint8), seven()])
    assert "several_marks" in result(both).warnings


def test_a_digit_cut_by_the_frame_is_told() -> None:
    assert "touches_border" in result(seven()[40:, :]).warnings


@pytest.mark.parametrize("level", [0, 1, 128, 255])
@pytest.mark.parametrize("shape", [(1, 1), (28, 28), (300, 200), (1, 500), (700, 2)])
def test_a_blank_picture_gives_zeros_and_a_warning(shape: tuple[int, int], level: int) -> None:
    done = result(np.full(shape, level))
    assert done.warnings == ("blank",)
    assert not done.pixels.any()


def test_bare_paper_is_blank() -> None:
    grain = np.random.default_rng(0).normal(180, 3, (400, 300))
    assert "blank" in result(grain).warnings


@settings(max_examples=150, deadline=None)
@given(arrays.arrays(np.uint8, st.tuples(st.integers(1, 90), st.integers(1, 90))))
def test_no_picture_raises(pixels: npt.NDArray[np.uint8]) -> None:
    done = result(pixels)
    assert done.pixels.shape == (28, 28)
    assert done.pixels.dtype == np.uint8


# MNIST's own ----------------------------------------------------------------------------------------------------------


def mnist_sample() -> list[Path]:
    return sorted((DATA / "mnist_png_sample").glob("*/*.png"))


needs_data = pytest.mark.skipif(not mnist_sample(), reason="needs ../shared/data, which a clone alone has not")


@needs_data
def test_mnists_own_pictures_pass_unchanged() -> None:
    for path in mnist_sample():
        picture = decode(path.read_bytes(), max_pixels=LIMIT)
        done = normalise(picture)
        assert np.array_equal(done.pixels, picture.pixels)
        assert done.steps == ("already_mnist",)


@needs_data
def test_mnists_own_pictures_come_back_from_being_inverted_and_moved() -> None:
    for path in mnist_sample():
        pixels = np.asarray(Image.open(path))
        assert np.array_equal(result(255 - pixels).pixels, pixels)
        if not pixels[-1].any() and not pixels[:, 0].any():
            assert np.array_equal(result(np.roll(pixels, (1, -1), (0, 1))).pixels, pixels)


@pytest.mark.parametrize(
    "pixels",
    [
        pytest.param(np.asarray(Image.fromarray(seven()).resize((28, 28))), id="squeezed"),
        pytest.param(RNG.integers(0, 256, (28, 28)), id="noise"),
        pytest.param(np.pad(np.full((20, 20), 255), 4), id="a square"),
        pytest.param(np.pad(np.full((20, 1), 60), ((4, 4), (13, 14))), id="a faint line"),
    ],
)
def test_what_is_not_in_the_convention_is_not_passed_unchanged(pixels: npt.NDArray[np.generic]) -> None:
    assert "already_mnist" not in result(pixels).steps


@needs_data
def test_the_wild_sample_comes_to_the_convention() -> None:
    with (DATA / "wild_sample" / "index.csv").open() as index:
        rows = list(csv.DictReader(index))
    for row in rows:
        done = normalise(decode((DATA / "wild_sample" / row["file"]).read_bytes(), max_pixels=LIMIT))
        assert ("inverted" in done.steps) == (row["polarity"] == "dark_on_light"), row["file"]
        assert done.warnings == (), row["file"]
        assert in_mnist_convention(done.pixels), row["file"]


# preprocess=none ------------------------------------------------------------------------------------------------------


def test_exact_takes_28_x_28_as_it_comes() -> None:
    pixels = RNG.integers(0, 256, (28, 28)).astype(np.uint8)
    assert np.array_equal(exact(from_pixels(pixels, max_pixels=784)).pixels, pixels)


def test_exact_refuses_any_other_size_and_says_how_to_mend_it() -> None:
    with pytest.raises(InvalidImage, match=r"28 x 28 pixels; got 160 x 200.*auto"):
        exact(from_pixels(seven(), max_pixels=10**8))


# Time -----------------------------------------------------------------------------------------------------------------


def best_ms(work: Callable[[], object], times: int) -> float:
    """CPU time, which other work on the machine does not lengthen much."""
    spent = []
    for _ in range(times):
        started = time.thread_time()
        work()
        spent.append(time.thread_time() - started)
    return 1000 * min(spent)


def reading(data: bytes) -> Callable[[], object]:
    return lambda: normalise(decode(data, max_pixels=LIMIT))


def test_a_28_x_28_png_takes_under_a_millisecond() -> None:
    assert best_ms(reading(encoded(Image.fromarray(REFERENCE))), 50) < 1


def test_a_photo_of_12_megapixels_is_read_faster_than_at_full_size() -> None:
    ink = np.asarray(Image.fromarray(seven(300, 400, 16)).resize((4000, 3000)))
    grain = Image.fromarray(np.random.default_rng(1).integers(96, 160, (3000, 4000), dtype=np.uint8))
    soft = np.asarray(grain.filter(ImageFilter.BoxBlur(1)), np.int16) - 128
    noisy = Image.fromarray(np.clip(190 - 0.6 * ink + soft, 0, 255).astype(np.uint8)).convert("RGB")
    photo = encoded(noisy, "JPEG", quality=90)
    at_full_size = best_ms(lambda: normalise(decode(photo, max_pixels=LIMIT, reduce=False)), 3)
    assert best_ms(reading(photo), 3) < 0.8 * at_full_size


@pytest.mark.parametrize("side", [28, 100, 300])
@pytest.mark.parametrize("kind", ["uniform", "gaussian", "salt and pepper"])
def test_noise_goes_to_the_network_as_noise(kind: str, side: int) -> None:
    rng = np.random.default_rng(side)
    noise = {
        "uniform": rng.integers(0, 256, (side, side)),
        "gaussian": np.clip(rng.normal(127, 60, (side, side)), 0, 255),
        "salt and pepper": 255 * (rng.random((side, side)) < 0.3),
    }[kind].astype(np.uint8)
    seen = result(noise)
    assert seen.warnings == ("noise",)
    assert seen.pixels.shape == (28, 28)
    assert seen.pixels.std() > 40


def test_a_digit_under_heavy_noise_is_looked_for() -> None:
    noisy = np.clip(seven() + np.random.default_rng(0).normal(0, 80, seven().shape), 0, 255)
    assert "noise" not in result(noisy).warnings


@pytest.mark.parametrize("side", [28, 56, 112])
@pytest.mark.parametrize("inverted", [False, True])
def test_strokes_are_found_under_noise_that_is_as_bright_as_they_are(side: int, inverted: bool) -> None:
    clean = np.asarray(Image.fromarray(seven()).resize((side, side), Image.Resampling.BICUBIC))
    clean = 255 - clean if inverted else clean
    noisy = np.clip(clean + np.random.default_rng(3).normal(0, 75, clean.shape), 0, 255).astype(np.uint8)
    seen = result(noisy)
    assert "denoised" in seen.steps
    assert likeness(seen.pixels, result(clean).pixels) > 0.85


@pytest.mark.parametrize("side", [28, 112])
def test_a_picture_without_noise_is_not_smoothed(side: int) -> None:
    clean = 255 - np.asarray(Image.fromarray(seven()).resize((side, side), Image.Resampling.NEAREST))
    assert "denoised" not in result(clean).steps


def gradient(side: int) -> np.ndarray:
    return np.tile(np.linspace(20, 235, side), (side, 1)).astype(np.uint8)


def stripes(side: int) -> np.ndarray:
    return np.where(np.arange(side) // (side // 6) % 2, 220, 30).astype(np.uint8)[None].repeat(side, 0)


@pytest.mark.parametrize("side", [128, 300])
@pytest.mark.parametrize("turns", [0, 1])
def test_light_that_falls_off_across_an_empty_picture_is_no_ink(side: int, turns: int) -> None:
    aslant = ((gradient(side) / 2.0 + gradient(side).T / 2.0) ** 2 / 255).astype(np.uint8)
    for light in (gradient(side), aslant):
        assert {"blank", "several_marks"} & set(result(np.rot90(light, turns)).warnings)


@pytest.mark.parametrize("turns", [0, 1])
def test_one_of_several_stripes_across_the_picture_is_no_one(turns: int) -> None:
    assert "several_marks" in result(np.rot90(stripes(300), turns)).warnings


@pytest.mark.parametrize("seed", [0, 4, 9, 11])
def test_a_piece_of_rough_fur_is_no_one(seed: int) -> None:
    rng = np.random.default_rng(seed)
    hair = np.cumsum(rng.normal(0, 1, (220, 200)), axis=0)[20:]
    hair -= hair.mean(axis=0)
    fur = 128 + 40 * hair / hair.std() + rng.normal(0, 6, (200, 200))
    done = result(np.clip(fur, 0, 255))
    assert {"blank", "several_marks", "noise"} & set(done.warnings)


@pytest.mark.parametrize("slope", [0.9, 1.0])
def test_the_brightest_corner_of_light_is_no_digit(slope: float) -> None:
    down, across = np.mgrid[0:1:28j, 0:1:28j]
    bent = (across + slope * down) / (1 + slope)
    assert result(255 * bent**1.5).warnings == ("blank",)


def patches(seed: int) -> np.ndarray:
    """28 x 28: each pixel has the grey of the nearest of some points."""
    rng = np.random.default_rng(seed)
    places = rng.uniform(-11, 123, (20, 2, 1, 1))
    nearest = np.square(np.mgrid[:112, :112] - places).sum(axis=1).argmin(axis=0)
    return rng.integers(0, 256, 20)[nearest].reshape(28, 4, 28, 4).mean(axis=(1, 3))


@pytest.mark.parametrize("seed", [2, 40, 57, 89])
def test_one_of_many_edges_in_a_small_picture_is_no_one(seed: int) -> None:
    assert "several_marks" in result(patches(seed)).warnings
