"""`digits evaluate` and `digits report` as users run them, on a network trained here and on one without a card."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from digit_files import draw, drawn_dataset, write_idx
from live import digits
from networks import write_linear_model
from PIL import Image

from training import train
from training.report.evaluate import spread
from training.report.report import report

PICTURES = {"samples", "numbers", "confusion_test", "confusion_training", "right", "reliability_test"}
PICTURES |= {"reliability_photos", "severity", "conditions", "scores", "noise"}


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return write_idx(tmp_path_factory.mktemp("digits"), drawn_dataset(300, 60))


@pytest.fixture(scope="module")
def models(data, tmp_path_factory) -> Path:
    """mlp-40, trained for two epochs, and a network that nobody knows anything about."""
    root = tmp_path_factory.mktemp("reported")
    train.run("mlp-40", data, epochs=2, models=root / "models", runs=root / "runs")
    write_linear_model(root / "models" / "stranger" / "3")
    return root / "models"


class Tags(HTMLParser):
    """Counts tags, and complains where they do not match."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        del attrs
        self.seen.append(tag)
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_evaluate_prints_the_figures_that_the_card_holds(data, models):
    done = digits("evaluate", "mlp-40", "--data", str(data), models=models)
    assert done.returncode == 0, done.stderr
    metrics = json.loads((models / "mlp-40" / "1" / "model.json").read_text())["metrics"]
    assert f"accuracy {metrics['test_accuracy']:.4f}\n" in done.stdout
    assert f"negative log-likelihood {metrics['test_loss']:.4f}\n" in done.stdout
    assert len(re.findall(r"^ +\d  ", done.stdout, re.MULTILINE)) == 10


def test_evaluate_prints_json(data, models):
    done = digits(
        "evaluate", "stranger", "--version", "3", "--limit", "20", "--json", "--data", str(data), models=models
    )
    facts = json.loads(done.stdout)
    assert (facts["model_name"], facts["model_version"], facts["images"]) == ("stranger", "3", 20)
    assert sum(digit["images"] for digit in facts["classes"]) == 20


def test_robustness_is_a_table_or_json(data, models):
    options = ("evaluate", "mlp-40", "--robustness", "--limit", "3", "--data", str(data))
    lines = digits(*options, models=models).stdout.splitlines()
    rows = json.loads(digits(*options, "--json", models=models).stdout)["robustness"]
    assert len(lines) == 3 + len(rows)
    assert {"shifted", "rotated", "scaled", "thicker", "thinner", "blurred", "noise"} < {row["change"] for row in rows}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["evaluate", "nobody"], "There is no model 'nobody'"),
        (["evaluate", "stranger", "--version", "4"], "no version 4 of stranger. There are: 3."),
        (["report", "stranger", "--data", "/nowhere"], "/nowhere does not exist"),
    ],
)
def test_a_mistake_is_one_clear_line(arguments, told, models):
    done = digits(*arguments, models=models)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert told in done.stderr


def test_a_report_is_one_page_that_holds_all_its_pictures(data, models, tmp_path):
    page = report(models, "mlp-40", data=data, limit=5, output=tmp_path)
    folder = tmp_path / "mlp-40-1"
    assert page == folder / "index.html"
    text = page.read_text(encoding="utf-8")
    tags = Tags(text)
    assert tags.open == []
    names = {path.stem for path in folder.glob("*.png")}
    assert names >= PICTURES | {"curves", "first_layer"}
    assert text.count("data:image/png;base64,") == len(names) == tags.seen.count("img")
    assert not re.findall(r'(?:src|href)="(?!data:|#)', text)
    for path in folder.glob("*.png"):
        with Image.open(path) as picture:
            assert min(picture.size) > 100, path
    for word in ("early_stop_patience", "recipe.optimiser.learning_rate", "precision", "R2", "unseen scripts", "Dense"):
        assert word in text


def test_a_network_without_card_or_keras_file_gets_a_report_too(data, models, tmp_path):
    page = report(models, "stranger", data=data, limit=5, output=tmp_path)
    text = page.read_text(encoding="utf-8")
    for told in ("There is no model.keras", "The network has no card", "no score to say no by", "no thresholds"):
        assert told in text
    assert {path.stem for path in page.parent.glob("*.png")} >= PICTURES


def test_a_limit_takes_digits_from_the_whole_set():
    taken = spread(draw(100), 10)
    assert taken.labels.tolist() == [0] * 10
    assert (taken.images == draw(100).images[::10]).all()
    assert len(spread(draw(5), 10)) == len(spread(draw(5), None)) == 5
