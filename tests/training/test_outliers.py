import numpy as np
import pytest
from digit_files import draw

from training import outliers
from training.errors import TrainingError


@pytest.fixture(scope="module")
def digits():
    drawn = draw(60)
    return drawn.images, drawn.labels


@pytest.mark.parametrize("family", outliers.FAMILIES)
def test_every_family_gives_different_pictures_of_28_by_28(family, digits):
    images, _ = outliers.draw(12, *digits, np.random.default_rng(0), [family])
    assert images.shape == (12, 28, 28)
    assert images.dtype == np.uint8
    assert len(np.unique(images, axis=0)) > 5


def test_the_same_generator_draws_the_same(digits):
    first, second = (outliers.draw(30, *digits, np.random.default_rng(7))[0] for _ in range(2))
    assert np.array_equal(first, second)


def test_families_come_in_their_parts_and_shuffled(digits):
    _, family = outliers.draw(90, *digits, np.random.default_rng(1), ["noise", "blank", "stars"])
    assert np.bincount(family).tolist() == [40, 10, 40]
    assert len(np.unique(family[:30])) == 3


def test_families_kept_for_the_comparison_are_not_trained_on():
    assert not set(outliers.HELD_OUT) & set(outliers.TRAINED)
    assert set(outliers.HELD_OUT) | set(outliers.TRAINED) == set(outliers.FAMILIES)


def test_an_unknown_family_is_refused_with_those_there_are(digits):
    with pytest.raises(TrainingError, match="letters"):
        outliers.draw(1, *digits, np.random.default_rng(0), ["cats"])


def test_letters_lie_in_the_box_as_the_service_places_them(digits):
    images, _ = outliers.draw(40, *digits, np.random.default_rng(2), ["letters"])
    inside = [np.ptp(np.nonzero(image > 100)[0]) < 20 and np.ptp(np.nonzero(image > 100)[1]) < 20 for image in images]
    assert np.mean(inside) > 0.7
