"""Where a network looked."""

import asyncio
from pathlib import Path

import numpy as np
from conftest import ROOT, strokes
from PIL import Image

from service.inference.repository import Repository
from service.inference.saliency import Saliency, occlusion


def saliency_of(image: np.ndarray, models: Path, name: str = "cnn") -> Saliency:
    async def ask() -> Saliency:
        repository = Repository(models, device="cpu", threads=1, default_model=name, required=(name,))
        repository.load()
        repository.start(max_queue_size=1024, inline_below_s=1.0)
        try:
            return await occlusion(repository.find(name), image, 60)
        finally:
            await repository.close()

    return asyncio.run(ask())


def test_hiding_the_strokes_of_a_seven_makes_it_less_of_a_seven() -> None:
    seven = np.asarray(Image.open(ROOT / "service/examples/seven.png").convert("L"))
    found = saliency_of(seven, ROOT / "models")
    assert found.digit == 7
    ink = seven > 100
    assert found.values[ink].mean() > 1
    assert found.values[ink].mean() > 3 * abs(found.values[~ink].mean())


def test_black_hides_nothing(models: Path) -> None:
    found = saliency_of(np.zeros((28, 28), np.uint8), models)
    assert found.images == 1
    assert not found.values.any()


def test_what_no_patch_with_ink_covers_has_no_value(models: Path) -> None:
    image = np.zeros((28, 28), np.uint8)
    image[10:12, 10:12] = 255
    found = saliency_of(image, models)
    assert found.images == 10  # nine patches of 6 x 6, two pixels apart, cover those four pixels
    outside = np.ones((28, 28), bool)
    outside[6:16, 6:16] = False
    assert not found.values[outside].any()
    assert np.isfinite(found.values).all()


def test_every_pixel_of_a_full_picture_is_looked_at(models: Path) -> None:
    assert saliency_of(strokes() | 1, models).images == 1 + 16 * 16
