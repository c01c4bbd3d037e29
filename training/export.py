"""Turns a Keras network into the ONNX graph that is served: uint8 pixels in; logits, calibrated probabilities and,
from a network with an eleventh output, how little the picture looks like a digit.

    python -m training.export network.keras --temperature 1.2 --threshold -3.5 --output model.onnx

Runs on TensorFlow. A fit on another Keras backend starts this module as a program of its own.
"""

from __future__ import annotations

import argparse
import logging
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.backend import start_keras
from training.calibration import FLOOR
from training.errors import CheckFailed

OUTPUTS = ("logits", "probabilities", "out_of_distribution_score")  # the last where the network has it
OPSET = 17
IR_VERSION = 8  # what opset 17 came with: every runtime that knows the opset reads it


@dataclass(frozen=True)
class Scales:
    """How outputs become what is told: `calibration.probabilities` of the logits, sigmoid(outlier - threshold)."""

    temperature: float
    threshold: float = 0.0


def export(network: Path, scales: Scales, output: Path) -> None:
    """Write the network saved at `network` (.keras) to `output` (.onnx).

    Raises:
        CheckFailed: the graph could not be made as it should be.
    """
    import keras

    if keras.backend.backend() == "tensorflow":
        convert(keras.models.load_model(network, compile=False), scales, output)
        return
    command = [sys.executable, "-m", "training.export", str(network)]
    command += ["--output", str(output)]
    command += ["--temperature", repr(scales.temperature), "--threshold", repr(scales.threshold)]
    root = str(Path(__file__).parents[1])
    environment = {**os.environ, "KERAS_BACKEND": "tensorflow"}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise CheckFailed(f"The export on TensorFlow failed: {done.stderr.strip()[-2000:]}")


def convert(network: Any, scales: Scales, output: Path) -> None:
    """Trace `network` on TensorFlow and convert what was traced; the names are ours."""
    import keras
    import onnx
    import tensorflow as tf
    import tf2onnx

    # The layers, not what they are joined to in the end: that would be taken apart again for every batch.
    ends = {layer.name: layer.output for layer in network.layers if layer.name in ("logits", "outlier")}
    parts = keras.Model(network.inputs, ends)
    signature = [tf.TensorSpec((None, 28, 28), tf.uint8, name="image")]

    @tf.function(input_signature=signature)  # type: ignore[untyped-decorator]
    def graph(image: Any) -> dict[str, Any]:
        outputs = parts(tf.cast(image, tf.float32), training=False)
        logits = tf.identity(outputs["logits"])
        likely = tf.nn.softmax(logits * (1 / scales.temperature))
        answers = {"logits": logits, "probabilities": likely * (1 - 10 * FLOOR) + FLOOR}
        if "outlier" in outputs:
            log_odds = tf.reshape(outputs["outlier"], [-1])
            answers["out_of_distribution_score"] = tf.sigmoid(log_odds - scales.threshold)
        return answers

    logging.getLogger("tf2onnx").setLevel(logging.ERROR)
    model, _ = tf2onnx.convert.from_function(graph, input_signature=signature, opset=OPSET)
    _name_ports(model)
    _name_insides(model.graph)
    model.doc_string = ""
    model.ir_version = IR_VERSION
    check(model)
    onnx.save(model, output)


def check(model: Any) -> None:
    """The graph is valid ONNX, has our inputs and outputs and no BatchNormalization left.

    Raises:
        CheckFailed: it does not.
    """
    import onnx

    onnx.checker.check_model(model, full_check=True)
    ports = [_signature(port) for port in (*model.graph.input, *model.graph.output)]
    expected = [("image", ["n", 28, 28]), ("logits", ["n", 10]), ("probabilities", ["n", 10]), (OUTPUTS[2], ["n"])]
    if ports not in (expected, expected[:-1]):
        raise CheckFailed(f"The exported graph has other inputs and outputs than it should: {ports}")
    if any(node.op_type == "BatchNormalization" for node in model.graph.node):
        raise CheckFailed("A BatchNormalization was not folded into the layer before it.")


def _signature(port: Any) -> tuple[str, list[str | int]]:
    return port.name, [axis.dim_param or axis.dim_value for axis in port.type.tensor_type.shape.dim]


def _name_ports(model: Any) -> None:
    """Outputs in our order, with the batch axis called n; tf2onnx calls it unk__5 and sorts as it likes."""
    model.graph.output.sort(key=lambda output: OUTPUTS.index(output.name))
    for port in (*model.graph.input, *model.graph.output):
        port.type.tensor_type.shape.dim[0].dim_param = "n"


def _name_insides(graph: Any) -> None:
    """Names nodes and tensors by their place, not by how often this process traced before: one network, one file."""
    names = {port.name: port.name for port in (*graph.input, *graph.output)}
    for index, node in enumerate(graph.node):
        node.name = f"{node.op_type}_{index}"
        node.doc_string = ""
        for place, tensor in enumerate(node.input):
            node.input[place] = names.setdefault(tensor, f"{node.name}.{place}")
        for place, tensor in enumerate(node.output):
            node.output[place] = names.setdefault(tensor, f"{node.name}.out")
    for tensor in graph.initializer:
        tensor.name = names[tensor.name]
    graph.initializer.sort(key=lambda tensor: str(tensor.name))
    del graph.value_info[:]
    graph.name, graph.doc_string = "digits", ""


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m training.export", description=__doc__)
    parser.add_argument("network", type=Path)
    parser.add_argument("--temperature", type=float, required=True)
    parser.add_argument("--threshold", type=float, default=0.0, help="of the eleventh output, where there is one")
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args(argv)
    start_keras()
    import keras

    scales = Scales(options.temperature, options.threshold)
    convert(keras.models.load_model(options.network, compile=False), scales, options.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
