"""Rendered pictures: repeatable, readable by the service, and of the digit they were made from."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from service.imaging.decode import decode
from service.imaging.normalise import normalise
from training.ink import Sheet, ink_on_sheet
from training.photos import CONDITIONS, render


def three() -> np.ndarray:
    image = Image.new("L", (280, 280))
    draw = ImageDraw.Draw(image)
    draw.arc((90, 40, 190, 145), 200, 90, fill=255, width=24)
    draw.arc((80, 120, 200, 240), 270, 160, fill=255, width=24)
    return np.asarray(image.resize((28, 28), Image.Resampling.BOX))


@pytest.mark.parametrize("condition", list(CONDITIONS))
def test_every_condition_is_repeatable_and_readable(condition: str) -> None:
    first, again = (render(three(), np.random.default_rng(4), condition) for _ in range(2))
    assert first == again
    done = normalise(decode(first, max_pixels=10_000_000))
    assert "blank" not in done.warnings
    assert done.pixels.max() > 200


def test_another_state_of_the_generator_gives_another_picture() -> None:
    rng = np.random.default_rng(0)
    assert render(three(), rng, "pen_photo") != render(three(), rng, "pen_photo")


def test_without_a_condition_one_is_drawn() -> None:
    assert decode(render(three(), np.random.default_rng(1)), max_pixels=10_000_000).pixels.size


def test_a_thinner_pen_leaves_less_ink() -> None:
    thin, thick = (
        ink_on_sheet(three(), np.random.default_rng(0), Sheet((200, 200), pen=pen)).sum() for pen in (0.03, 0.12)
    )
    assert 0 < thin < 0.6 * thick
