"""`make recipes`, with recipes cut short to a second each."""

import json
from dataclasses import replace

import numpy as np
import pytest
from digit_files import draw, drawn_dataset, write_idx
from starlette.testclient import TestClient

from service.app import create_app
from service.settings import Settings
from training import recipe_table, recipes
from training.data import load
from training.errors import TrainingError
from training.recipe_table import ROWS, main, write_strip

DOCUMENT = f"# Recipes\n\nBefore.\n\n{recipe_table.START}\nold\n{recipe_table.END}\n\nAfter.\n"


@pytest.fixture
def quick(monkeypatch):
    """Four of the rows, each recipe for one epoch in large batches."""
    few = [row for row in ROWS if row.recipe in ("mlp-40", "mlp-32x32-sigmoid", "cnn-4conv") or row.batch_size == 32]
    monkeypatch.setattr(recipe_table, "ROWS", few)
    for name, recipe in recipes.RECIPES.items():
        monkeypatch.setitem(recipes.RECIPES, name, replace(recipe, epochs=1, batch_size=max(50, recipe.batch_size)))


def test_every_recipe_of_the_sources_has_a_row():
    ours = {"cnn", "cnn-teacher", "dense"}
    assert {row.recipe for row in ROWS} == recipes.RECIPES.keys() - ours


@pytest.mark.usefixtures("quick")
def test_one_command_trains_what_is_missing_and_writes_the_table(tmp_path, capsys):
    data = write_idx(tmp_path / "data", drawn_dataset(120, 30))
    document = tmp_path / "recipes.md"
    document.write_text(DOCUMENT)
    command = ["--data", str(data), "--runs", str(tmp_path / "runs"), "--output", str(document)]
    assert main(command) == 0
    text = document.read_text()
    assert text.startswith("# Recipes\n\nBefore.\n")
    assert text.endswith("\nAfter.\n")
    assert len([line for line in text.splitlines() if line.startswith("| 00")]) == 4
    assert "| 003 | 784-512-512-10, relu, softmax, dropout 0.2 | cross-entropy, adam 0.001, 32, 1 |" in text
    assert "`digits train --recipe mlp-40 --data strip.png`" in text
    assert capsys.readouterr().out.count("Published ") == 4
    assert main(command) == 0
    assert "Published" not in capsys.readouterr().out
    assert document.read_text() == text


@pytest.mark.usefixtures("quick")
def test_a_recipe_alone_leaves_the_document_as_it_is(tmp_path):
    data = write_idx(tmp_path / "data", drawn_dataset(120, 30))
    document = tmp_path / "recipes.md"
    document.write_text(DOCUMENT)
    places = ["--data", str(data), "--runs", str(tmp_path / "runs"), "--output", str(document)]
    assert main([*places, "--only", "dense-512x512"]) == 0
    assert document.read_text() == DOCUMENT
    (card,) = (tmp_path / "runs" / "models").glob("*/*/model.json")
    assert json.loads(card.read_text())["recipe"]["batch_size"] == 32


@pytest.mark.usefixtures("quick")
def test_what_a_tutorial_trained_is_served_like_any_other(tmp_path):
    data, name = write_idx(tmp_path / "data", drawn_dataset(120, 30)), "mlp-32x32-sigmoid"
    assert main(["--data", str(data), "--runs", str(tmp_path / "runs"), "--only", name]) == 0
    settings = Settings(model_repository=tmp_path / "runs" / "models", default_model=name, required_models=(name,))
    with TestClient(create_app(settings)) as client:
        answer = client.post("/predict", json={"pixels": draw(1).images[0].tolist()}).json()
    assert answer["model_name"] == name
    assert sum(answer["probabilities"]) == pytest.approx(1, abs=1e-5)


def test_the_strip_holds_the_first_training_images_as_document_000_has_them(tmp_path):
    digits = drawn_dataset(60, 10).training
    strip = load(write_strip(digits, tmp_path / "strip"))
    assert (strip.training.images == digits.images[: len(strip.training)]).all()
    assert np.concatenate([strip.training.labels, strip.test.labels]).tolist() == digits.labels.tolist()


def test_a_document_without_a_place_for_the_table_is_refused(tmp_path):
    (tmp_path / "notes.md").write_text("nothing here")
    with pytest.raises(TrainingError, match="has no place for the table"):
        recipe_table.replace_table(tmp_path / "notes.md", "| |")
