import numpy as np
import pytest
from PIL import Image

from service.imaging.background import Ground
from service.imaging.smooth import smooth_ground


@pytest.mark.parametrize("box", [None, (0.1, 0.25, 0.6, 0.9)])
@pytest.mark.parametrize("size", [(320, 240), (97, 301)])
def test_a_ground_lies_under_a_picture_as_pillow_would_enlarge_it(size, box):
    surface = np.random.default_rng(0).uniform(60, 200, (24, 32)).astype(np.float32)
    left, top, right, bottom = box or (0, 0, 1, 1)
    part = (32 * left, 24 * top, 32 * right, 24 * bottom)
    large = np.asarray(Image.fromarray(surface).resize(size, Image.Resampling.BILINEAR, part))
    pixels = np.full(size[::-1], 40, np.uint8)
    assert Ground(surface, dark=False, even=False).ink(pixels, box) == pytest.approx((40 - large) / 255, abs=1e-5)
    assert Ground(surface, dark=True, even=False).ink(pixels, box) == pytest.approx((large - 40) / large, abs=1e-5)


@pytest.mark.parametrize("dark", [True, False])
def test_light_that_falls_off_is_followed_beneath_strokes(dark):
    rows, columns = np.mgrid[-1:1:200j, -1:1:260j]
    light = 200 - 50 * (rows**2 + columns**2) - 20 * rows
    picture = light.copy()
    picture[60:140, 100:130] += -90 if dark else 50
    ground = smooth_ground(np.rint(picture).astype(np.uint8))
    assert ground is not None
    assert ground.dark is dark
    under = np.asarray(Image.fromarray(ground.surface).resize((260, 200), Image.Resampling.BILINEAR))
    assert np.abs(under - light)[20:-20, 20:-20].max() < 3
