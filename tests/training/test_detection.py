from dataclasses import replace
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from digit_files import draw
from PIL import Image

from training import outliers, recipes
from training.data import split
from training.detection import area, compare, compare_rivals, main, read_unseen
from training.errors import TrainingError
from training.networks import build
from training.outliers import strangers
from training.recipe import Dense

FONTS = Path(mpl.get_data_path()) / "fonts" / "ttf"


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_the_area_is_how_often_another_picture_scores_above_a_digit():
    assert area(np.array([1.0, 2.0, 3.0]), np.array([4.0, 5.0])) == 1
    assert area(np.array([1.0, 3.0]), np.array([2.0])) == 0.5
    assert area(np.array([1.0, 1.0]), np.array([1.0])) == 0.5


def test_every_way_is_tried_on_every_family_and_on_strangers():
    digits = draw(400)
    parts = split(digits, 0.3, 0.3, 0)
    recipe = replace(recipes.find("dense"), network=Dense((16,)), outliers=0.5)
    table = compare(build(recipe), parts, {"mine": digits.images[:20]}, images=5)
    assert table[0].count("|") == 8
    assert "trained" in table[0]
    told = [row.split("|")[1].strip() for row in table[2:]]
    assert told[0] == "held-out digits"
    assert "mine (in no fit)" in told
    assert all(any(name in row for row in told) for name in outliers.FAMILIES)


def test_digits_that_could_be_two_are_counted():
    digits = draw(200)
    recipe = replace(recipes.find("dense"), network=Dense((16,)), outliers=0.0)
    table = compare_rivals(build(recipe), split(digits, 0.4, 0.4, 0), images=10)
    assert len(table) == 6
    assert all(row.count("|") == 6 for row in table)


def test_fonts_give_letters(tmp_path, rng):
    (tmp_path / "font.ttf").write_bytes((FONTS / "cmr10.ttf").read_bytes())
    images = strangers.draw(tmp_path, 6, rng)
    assert images.shape == (6, 28, 28)
    assert images.any(axis=(1, 2)).all()


def test_photos_are_cropped(tmp_path, rng):
    Image.fromarray(rng.integers(0, 256, (12, 16), np.uint8)).resize((160, 120)).save(tmp_path / "photo.png")
    assert strangers.draw(tmp_path, 4, rng).shape == (4, 28, 28)


def test_a_folder_without_pictures_or_fonts_is_refused(tmp_path, rng):
    with pytest.raises(TrainingError, match="No font"):
        strangers.draw(tmp_path, 1, rng)


def test_strangers_come_from_an_archive_too(tmp_path, rng):
    np.savez(tmp_path / "mine.npz", images=draw(3).images)
    name, images = read_unseen(f"mine={tmp_path / 'mine.npz'}", rng)
    assert name == "mine"
    assert images.shape == (3, 28, 28)


@pytest.mark.parametrize("told", ["fashion", "fashion=nowhere.npz"])
def test_strangers_that_are_not_there_are_told(told, capsys):
    assert main(["models", "--unseen", told]) != 0
    assert "NAME=PATH" in capsys.readouterr().err
