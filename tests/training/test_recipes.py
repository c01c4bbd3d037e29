import json
from dataclasses import FrozenInstanceError, asdict

import pytest

from training import recipes
from training.errors import TrainingError


def test_the_two_served_networks_have_recipes_with_the_accuracy_they_must_reach():
    assert recipes.find("dense").target_accuracy >= 0.985
    assert recipes.find("cnn").target_accuracy >= 0.995


def test_every_recipe_of_the_source_documents_is_there():
    sources = {"mlp-40", "mlp-32x32-sigmoid", "mlp-32x32-softmax", "mlp-32x32-relu", "mlp-32x32", "dense-512"}
    sources |= {"dense-512x512", "cnn-4conv", "dense-128-64"}
    assert recipes.RECIPES.keys() == sources | {"dense", "cnn", "cnn-teacher"}


def test_an_unknown_recipe_is_answered_with_those_that_there_are():
    with pytest.raises(TrainingError, match=r"There is no recipe 'cmm'. There are: cnn, cnn-4conv, cnn-teacher, dense"):
        recipes.find("cmm")


@pytest.mark.parametrize("recipe", recipes.RECIPES.values(), ids=lambda recipe: recipe.name)
def test_a_recipe_is_frozen_plain_data(recipe):
    assert json.loads(json.dumps(asdict(recipe)))["name"] == recipe.name
    with pytest.raises(FrozenInstanceError):
        recipe.epochs = 1
