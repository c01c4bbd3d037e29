from dataclasses import replace

import keras
import numpy as np
import onnx
import pytest
from digit_files import draw

from training import quantisation, recipes
from training.batches import Batches
from training.errors import CheckFailed
from training.evaluation import check_export, keras_outputs, open_model
from training.export import Scales, check, export
from training.networks import build
from training.quantisation import answering, quantise

SCALES = Scales(temperature=1.7, threshold=-0.5)


@pytest.fixture(scope="module", params=["cnn", "dense"])
def network(request):
    """Untrained but for its BatchNorm statistics."""
    keras.utils.set_random_seed(3)
    found = build(recipes.find(request.param))
    found(draw(50).images.astype(np.float32), training=True)
    return found


def test_a_quantised_file_answers_nearly_as_keras_does_and_is_smaller(network, tmp_path):
    images, path = draw(300).images, tmp_path / "model.onnx"
    network.save(tmp_path / "model.keras")
    export(tmp_path / "model.keras", SCALES, path)
    floats = path.stat().st_size
    quantise(path, images[:200])
    check(onnx.load(path))
    assert path.stat().st_size < 0.5 * floats
    answer = answering(network, images[:200])
    check_export(open_model(path), images, answer(images), SCALES)
    before, after = keras_outputs(network, images), answer(images)
    assert after.shape == before.shape == (300, 11)
    assert np.abs(before - after).mean() < 0.05 * before.std()


def test_the_inner_layers_compute_in_integers_and_the_last_ones_do_not(network, tmp_path):
    path = tmp_path / "model.onnx"
    network.save(tmp_path / "model.keras")
    export(tmp_path / "model.keras", SCALES, path)
    quantise(path, draw(50).images)
    nodes = onnx.load(path).graph.node
    integers = {output for node in nodes if node.op_type == "DequantizeLinear" for output in node.output}
    layers = [node for node in nodes if node.op_type in ("Conv", "MatMul")]
    quantised = [bool(integers.intersection(node.input)) for node in layers]
    assert quantised == ([False] + [True] * 5 + [False] * 3 if network.name == "cnn" else [True] * 2 + [False] * 3)


def test_quantising_twice_gives_the_same_file(network, tmp_path):
    network.save(tmp_path / "model.keras")
    for name in ("first", "second"):
        export(tmp_path / "model.keras", SCALES, tmp_path / f"{name}.onnx")
        quantise(tmp_path / f"{name}.onnx", draw(50).images)
    assert (tmp_path / "first.onnx").read_bytes() == (tmp_path / "second.onnx").read_bytes()


def test_a_network_that_integers_change_is_refused(network, monkeypatch):
    monkeypatch.setattr(quantisation, "MOST_DIFFERENT", 1e-9)
    with pytest.raises(CheckFailed, match="Quantised, the network answers otherwise"):
        answering(network, draw(50).images)


def test_the_sample_is_what_the_fit_sees():
    recipe = replace(recipes.find("dense"), batch_size=16, distillation=None, outliers=0.0)
    batches = Batches(draw(50), recipe, seed=1)
    sample = batches.sample(20)
    assert sample.shape == (20, 28, 28)
    assert (sample[:16] == np.rint(batches[0][0])).all()
    assert len(batches.sample(1000)) == 50
