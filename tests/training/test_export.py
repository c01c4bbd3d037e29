import os
import subprocess
import sys
from dataclasses import replace

import keras
import numpy as np
import onnx
import pytest
from digit_files import REPOSITORY, draw
from onnx import helper

from training import recipes
from training.calibration import probabilities as calibrated
from training.errors import CheckFailed
from training.evaluation import check_export, keras_outputs, open_model, told
from training.export import OPSET, Scales, check, export
from training.networks import build

SCALES = Scales(temperature=1.7, threshold=-0.5)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """The cnn, untrained but for its BatchNorm statistics, as Keras network and as file."""
    folder = tmp_path_factory.mktemp("export")
    keras.utils.set_random_seed(3)
    network = build(recipes.find("cnn"))
    network(draw(50).images.astype(np.float32), training=True)
    network.save(folder / "model.keras")
    export(folder / "model.keras", SCALES, folder / "model.onnx")
    return network, folder / "model.onnx"


def test_the_graph_has_our_names_and_an_open_batch_axis(exported):
    model = onnx.load(exported[1])
    check(model)
    assert {entry.version for entry in model.opset_import if not entry.domain} == {OPSET}
    assert model.ir_version <= 8


def test_batch_norm_is_folded_and_no_shape_is_computed(exported):
    kinds = {node.op_type for node in onnx.load(exported[1]).graph.node}
    digits = {"Cast", "Mul", "Reshape", "Conv", "Relu", "Transpose", "MatMul", "Add", "Softmax"}
    assert kinds <= digits | {"Sub", "Sigmoid", "Identity"}


def test_the_file_answers_as_keras_does_for_every_batch_size(exported):
    network, path = exported
    images = draw(300).images
    session, outputs = open_model(path), keras_outputs(network, images)
    assert check_export(session, images, outputs, SCALES) < 1e-4
    names = ["logits", "probabilities", "out_of_distribution_score"]
    logits, probabilities, scores = session.run({"image": images[:5]}, names)
    assert np.allclose(logits, outputs[:5, :10], atol=1e-4)
    assert np.allclose(probabilities, calibrated(logits, SCALES.temperature), atol=1e-6)
    assert np.allclose(scores, told(outputs[:5], SCALES)[1], atol=1e-4)


@pytest.mark.parametrize("other", [Scales(1.9, -0.5), Scales(1.7, -0.4)])
def test_a_file_that_answers_otherwise_is_refused(exported, other):
    network, path = exported
    images = draw(300).images
    with pytest.raises(CheckFailed, match="Keras and ONNX Runtime differ by"):
        check_export(open_model(path), images, keras_outputs(network, images), other)


def test_exporting_twice_gives_the_same_file(exported, tmp_path):
    export(exported[1].with_name("model.keras"), SCALES, tmp_path / "again.onnx")
    assert (tmp_path / "again.onnx").read_bytes() == exported[1].read_bytes()


def test_a_graph_with_a_fixed_batch_axis_is_refused(exported):
    model = onnx.load(exported[1])
    model.graph.output[0].type.tensor_type.shape.dim[0].dim_value = 1
    with pytest.raises(CheckFailed, match="other inputs and outputs"):
        check(model)


def test_a_graph_with_batch_norm_is_refused(exported):
    model = onnx.load(exported[1])
    names = ["logits", "ones", "zeros", "zeros", "ones"]
    model.graph.node.append(helper.make_node("BatchNormalization", names, ["normalised"]))
    for name, value in (("ones", 1.0), ("zeros", 0.0)):
        model.graph.initializer.append(helper.make_tensor(name, onnx.TensorProto.FLOAT, [10], [value] * 10))
    with pytest.raises(CheckFailed, match="BatchNormalization was not folded"):
        check(model)


def test_l2_scaling_and_sigmoids_are_exported_too(tmp_path):
    for name in ("mlp-40", "mlp-32x32-sigmoid"):
        network = build(replace(recipes.find(name)))
        network.save(tmp_path / "model.keras")
        export(tmp_path / "model.keras", Scales(1.0), tmp_path / "model.onnx")
        images = draw(40).images
        check_export(open_model(tmp_path / "model.onnx"), images, keras_outputs(network, images), Scales(1.0))


def test_the_export_runs_as_a_program_of_its_own_whatever_the_backend(exported, tmp_path):
    source = exported[1].with_name("model.keras")
    command = [sys.executable, "-m", "training.export", source, "--temperature", str(SCALES.temperature)]
    command.append(f"--threshold={SCALES.threshold}")
    environment = {**os.environ, "KERAS_BACKEND": "tensorflow"}
    subprocess.run([*command, "--output", tmp_path / "m.onnx"], cwd=REPOSITORY, env=environment, check=True)
    assert (tmp_path / "m.onnx").read_bytes() == exported[1].read_bytes()
