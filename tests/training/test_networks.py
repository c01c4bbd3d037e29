from dataclasses import replace
from itertools import pairwise

import keras
import numpy as np
import pytest
from digit_files import draw

from training import recipes
from training.networks import build


@pytest.mark.parametrize("recipe", recipes.RECIPES.values(), ids=lambda recipe: recipe.name)
def test_every_recipe_makes_a_network_from_pixels_to_ten_logits_and_an_eleventh_where_it_knows_outliers(recipe):
    network = build(recipe)
    outputs = network.predict_on_batch(draw(20).images.astype(np.float32))
    assert outputs.shape == (20, 11 if recipe.outliers else 10)
    assert np.isfinite(outputs).all()


def test_the_network_of_a_quick_fit_has_the_same_weights_and_answers():
    recipe = replace(recipes.find("cnn"), precision="float32")
    images = draw(64).images.astype(np.float32)
    plain, quick = build(recipe, 0.5), build(recipe, 0.5, to_fit=True)
    quick.set_weights(plain.get_weights())
    assert np.allclose(plain(images, training=True), quick(images, training=True), atol=1e-3)
    for one, other in zip(plain.get_weights(), quick.get_weights(), strict=True):
        assert np.allclose(one, other, rtol=1e-3, atol=1e-4)  # BatchNorm's statistics among them


def test_the_sources_networks_have_the_sizes_that_the_sources_say():
    sizes = {name: build(recipes.find(name)).count_params() for name in ("mlp-40", "dense-512", "dense-128-64")}
    assert sizes == {
        "mlp-40": 785 * 40 + 41 * 10,
        "dense-512": 785 * 512 + 513 * 10,
        "dense-128-64": 785 * 128 + 129 * 64 + 65 * 10,
    }


def test_vectors_of_length_one_do_not_depend_on_how_black_the_ink_is():
    keras.utils.set_random_seed(0)
    network = build(recipes.find("mlp-40"))
    pixels = draw(10).images.astype(np.float32)
    assert np.allclose(network.predict_on_batch(pixels), network.predict_on_batch(pixels / 2), atol=1e-5)


def test_a_batch_norm_always_follows_a_linear_layer_without_bias():
    for name in ("dense", "cnn", "cnn-4conv"):
        layers = build(recipes.find(name)).layers
        for before, layer in pairwise(layers):
            if isinstance(layer, keras.layers.BatchNormalization):
                assert before.use_bias is False
