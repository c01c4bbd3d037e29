"""Rendered pictures and pools of outliers: made once, the same each time, and what the fit is shown."""

from dataclasses import replace

import numpy as np
import pytest
from digit_files import draw

from training import material, pictures, recipes
from training.cache import cached
from training.data import NO_DIGIT


def test_a_digit_is_still_there_after_it_was_rendered_and_read_by_the_service():
    digits = draw(40)
    images = pictures.render_chunk(0, digits)
    assert images.shape == (40, 28, 28)
    assert images.dtype == np.uint8
    assert (images.max(axis=(1, 2)) > 100).all()
    assert (images != digits.images).any(axis=(1, 2)).mean() > 0.8


def test_pictures_depend_on_the_digits_and_their_places_alone():
    digits = draw(6)
    first, same, other = (pictures.render_chunk(start, digits) for start in (0, 0, 200))
    assert first.tobytes() == same.tobytes()
    assert first.tobytes() != other.tobytes()


def test_every_share_is_of_a_condition_that_there_is():
    assert pictures.SHARES.keys() <= pictures.photos.CONDITIONS.keys()


def test_what_was_made_once_is_read_again(tmp_path):
    digits = draw(3)
    made = cached(tmp_path, "images", digits, [], lambda: digits.images)
    again = cached(tmp_path, "images", digits, [], lambda: pytest.fail("made twice"))
    assert made.tobytes() == again.tobytes()
    assert len(list(tmp_path.iterdir())) == 1


def test_other_digits_or_other_code_make_it_anew(tmp_path):
    digits, source = draw(3), tmp_path / "code.py"
    source.write_text("1")
    cached(tmp_path, "images", digits, [source], lambda: digits.images)
    source.write_text("2")
    for one in (digits, draw(4)):
        cached(tmp_path, "images", one, [source], lambda one=one: one.images)
    assert len(list(tmp_path.glob("images-*.npy"))) == 3


def test_a_fit_is_shown_its_digits_pictures_of_some_and_a_pool_of_outliers(tmp_path):
    digits = draw(30)
    shown, outliers = material.gather(digits, replace(recipes.find("cnn"), pictures=0.2, outliers=0.1), tmp_path)
    assert (outliers.labels == NO_DIGIT).all()
    assert (len(shown), len(outliers)) == (30 + 6, 3 * material.OUTLIER_EPOCHS)
    assert shown.images[:30].tobytes() == digits.images.tobytes()
    assert (shown.labels[30:36] == digits.labels[:6]).all()


def test_a_recipe_of_a_tutorial_is_shown_its_digits_alone(tmp_path):
    digits = draw(30)
    shown, outliers = material.gather(digits, recipes.find("dense-512"), tmp_path)
    assert (len(shown), len(outliers)) == (30, 0)
    assert not list(tmp_path.iterdir())
