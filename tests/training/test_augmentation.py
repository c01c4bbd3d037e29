from dataclasses import replace

import numpy as np
import pytest
from digit_files import draw

from training.augmentation import (
    Augmentation,
    UniformAffine,
    add_serifs,
    affine_points,
    augment,
    blur,
    change_stroke_width,
    displacements,
    elastic_field,
    sample,
    segment,
)
from training.recipes import HANDWRITING


def centre_of_mass(image: np.ndarray) -> tuple[float, float]:
    rows, columns = np.mgrid[:28, :28]
    return float((rows * image).sum() / image.sum()), float((columns * image).sum() / image.sum())


def test_without_settings_an_image_stays_as_it_is():
    digits = draw(20)
    changed = augment(digits.images, digits.labels, Augmentation(), np.random.default_rng(0))
    assert changed.dtype == np.float32
    assert np.abs(changed - digits.images).max() < 1e-3


def test_every_kind_of_change_changes_something_and_keeps_the_range():
    digits = draw(40)
    for name in ("rotation", "shear", "zoom", "aspect", "shift", "elastic", "thicker", "thinner", "blur", "contrast"):
        settings = replace(Augmentation(), **{name: getattr(HANDWRITING, name)})
        changed = augment(digits.images, digits.labels, settings, np.random.default_rng(0))
        assert np.abs(changed - digits.images).max() > 10, name
        assert changed.min() >= 0, name
        assert changed.max() <= 255, name


def test_the_same_generator_gives_the_same_images_and_another_one_others():
    digits = draw(20)
    one, same, other = (
        augment(digits.images, digits.labels, HANDWRITING, np.random.default_rng(seed)) for seed in (1, 1, 2)
    )
    assert one.tobytes() == same.tobytes()
    assert one.tobytes() != other.tobytes()


def test_the_images_given_are_not_written_to():
    digits = draw(20)
    before = digits.images.copy()
    augment(digits.images, digits.labels, HANDWRITING, np.random.default_rng(0))
    assert digits.images.tobytes() == before.tobytes()


def test_most_of_the_ink_stays_in_the_picture():
    digits = draw(500)
    changed = augment(digits.images, digits.labels, replace(HANDWRITING, noise=0), np.random.default_rng(0))
    ratio = changed.sum(axis=(1, 2)) / digits.images.sum(axis=(1, 2), dtype=np.float32)
    assert ratio.min() > 0.2
    assert 0.8 < np.median(ratio) < 1.25


def test_a_shift_moves_the_centre_of_mass_by_no_more_than_it_says():
    digits = draw(200)
    changed = augment(digits.images, digits.labels, Augmentation(shift=3), np.random.default_rng(0))
    moved = [
        np.subtract(centre_of_mass(new), centre_of_mass(old)) for new, old in zip(changed, digits.images, strict=True)
    ]
    assert 2 < np.abs(moved).max() <= 3.01


def test_a_rotation_turns_about_the_middle():
    settings = Augmentation(rotation=90)
    rows, columns = displacements(settings, np.ones(50, np.float32), np.random.default_rng(0))
    assert np.allclose(rows[:, 13:15, 13:15].mean(axis=(1, 2)), 13.5, atol=1e-4)
    assert np.allclose(columns[:, 13:15, 13:15].mean(axis=(1, 2)), 13.5, atol=1e-4)
    radius = np.hypot(rows - 13.5, columns - 13.5)
    assert np.allclose(radius, radius[0], atol=1e-3)


def test_a_point_outside_the_image_is_background():
    images = np.full((1, 28, 28), 255, np.float32)
    rows = np.full((1, 28, 28), -40, np.float32)
    assert sample(images, rows, rows).max() == 0


def test_half_a_pixel_is_the_mean_of_two():
    images = np.random.default_rng(0).integers(0, 256, (1, 28, 28)).astype(np.float32)
    rows, columns = np.mgrid[:28, :28].astype(np.float32)
    shifted = sample(images, rows[None], columns[None] + 0.5)
    assert np.allclose(shifted[0, :, :-1], (images[0, :, :-1] + images[0, :, 1:]) / 2)


def test_an_elastic_field_is_smooth_and_of_unit_variance():
    field = elastic_field(2000, 4, np.random.default_rng(0))
    assert np.allclose(field.std(axis=0), 1, atol=0.1)
    assert np.abs(np.diff(field, axis=2)).mean() < 0.25


def test_a_pen_gets_thicker_and_thinner_and_no_stroke_vanishes():
    digits = draw(30)
    images = digits.images.astype(np.float32)
    thick = change_stroke_width(images, np.ones(30, np.float32), 1.0, 0.8)
    thin = change_stroke_width(images, -np.ones(30, np.float32), 1.0, 0.8)
    assert (thick.sum(axis=(1, 2)) > images.sum(axis=(1, 2))).all()
    assert (thin.sum(axis=(1, 2)) < images.sum(axis=(1, 2))).all()
    assert np.allclose(thin.max(axis=(1, 2)), images.max(axis=(1, 2)))


def test_a_blur_keeps_the_amount_of_ink():
    images = draw(10).images.astype(np.float32)
    assert np.allclose(blur(images, np.full(10, 0.2, np.float32)).sum(), images.sum(), rtol=1e-4)


def test_zeros_ones_and_sevens_alone_get_strokes_of_other_hands():
    digits = draw(200)
    images = digits.images.astype(np.float32)
    changed = add_serifs(images, digits.labels, Augmentation(serifs=1.0, upstrokes=1.0), np.random.default_rng(0))
    differs = (changed != images).any(axis=(1, 2))
    assert set(digits.labels[differs].tolist()) == {0, 1, 7}
    assert (changed >= images).all()


@pytest.mark.parametrize("label", [0, 1, 7])
def test_a_blank_or_pale_picture_gets_its_strokes_without_a_fault(label):
    images = np.zeros((2, 28, 28), np.uint8)
    images[1, 10, 10] = 90
    settings = Augmentation(serifs=1.0, upstrokes=1.0, thinner=1.0)
    changed = augment(images, np.array([label, label]), settings, np.random.default_rng(0))
    assert np.isfinite(changed).all()


def test_a_segment_is_as_wide_as_it_says():
    line = segment((5, 14), (22, 14), 3)
    assert line[14].sum() / 255 == pytest.approx(3)
    assert line[14, 14] == 255
    assert line[0].max() == 0


class Draws:
    """A generator whose uniform numbers are given: each a share from -1 to 1 of the range asked for."""

    def __init__(self, shares: np.ndarray) -> None:
        self._shares = list(shares)

    def uniform(self, low: float, high: float, n: int) -> np.ndarray:
        return np.full(n, (low + high) / 2 + self._shares.pop(0) * (high - low) / 2)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Keras' old augmentation calls SciPy by an old name
@pytest.mark.parametrize("seed", range(5))
def test_uniform_affine_changes_are_those_of_keras_image_data_generator(seed):
    from tensorflow.keras.preprocessing.image import apply_affine_transform

    image = draw(9).images[8].astype(np.float32)
    shares = np.random.default_rng(seed).uniform(-1, 1, 6)
    rotation, shear, down, right, zoom_y, zoom_x = shares
    ours = sample(image[None], *affine_points(UniformAffine(8, 0.3, 0.08, 0.08), 1, Draws(shares)))
    keras = apply_affine_transform(
        image[..., None],
        theta=8 * rotation, shear=0.3 * shear, tx=28 * 0.08 * right, ty=28 * 0.08 * down,
        zx=1 + 0.08 * zoom_x, zy=1 + 0.08 * zoom_y,
        row_axis=0, col_axis=1, channel_axis=2, fill_mode="nearest", order=1,
    )  # fmt: skip
    assert np.abs(ours[0] - keras[..., 0]).max() < 0.01
    assert np.abs(ours[0] - image).max() > 50


def test_uniform_affine_changes_are_as_strong_for_every_image():
    digits = draw(200)
    images = augment(digits.images, digits.labels, UniformAffine(8, 0.3, 0.08, 0.08), np.random.default_rng(0))
    moved = np.array(
        [np.subtract(centre_of_mass(a), centre_of_mass(b)) for a, b in zip(images, digits.images, strict=True)]
    )
    assert moved.std(axis=0) == pytest.approx([2.24 / 3**0.5] * 2, rel=0.2)
    assert np.abs(moved).max() < 3.2
