"""8-bit integers in place of floats inside an exported graph: half the time on CPUs, the same answers (docs/log.md).

ONNX Runtime's static quantisation. What stays in floats: the first convolution, which sees one channel, and what comes
after the last features, so that logits and probabilities are as fine as before.
"""

from __future__ import annotations

import logging
import tempfile
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from service.inference.runtime import load_session
from training.calibration import log_softmax
from training.data import Pixels
from training.errors import CheckFailed
from training.evaluation import Answer, Outputs, keras_outputs
from training.export import Scales, export

CHUNK = 100  # images at once
SAMPLE = 2048  # images that the ranges of the activations are taken from
MOST_DIFFERENT = 0.01  # mean over images of the largest difference in a probability


def quantise(path: Path, sample: Pixels) -> None:
    """Change the file at `path` in place; `sample` (n, 28, 28) shows how large activations become."""
    import onnx
    from onnxruntime.quantization import QuantType, quantize_static

    model = onnx.load(path)
    logging.disable(logging.WARNING)  # it recommends, on the root logger, what tf2onnx has done
    try:
        quantize_static(
            model,
            path,
            _Reader(sample),
            nodes_to_quantize=_inner(model.graph),
            per_channel=True,
            # Weights of 7 bits: where a CPU has no VNNI instructions, sums of 8-bit products overflow 16 bits.
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            # Biases and ReLUs of fully connected layers cost next to nothing in floats.
            extra_options={"OpTypesToExcludeOutputQuantization": ["MatMul"]},
        )
    finally:
        logging.disable(logging.NOTSET)
    quantised = onnx.load(path)
    del quantised.metadata_props[:]
    onnx.save(quantised, path)


class _Reader:
    """`sample` as ONNX Runtime asks for it: its CalibrationDataReader."""

    def __init__(self, sample: Pixels) -> None:
        self._chunks = iter([sample[first : first + CHUNK] for first in range(0, len(sample), CHUNK)])

    def get_next(self) -> dict[str, Pixels] | None:
        chunk = next(self._chunks, None)
        return None if chunk is None else {"image": chunk}


def _inner(graph: Any) -> list[str]:
    """Names of the nodes to compute in integers: what comes before the last features, but for the first convolution."""
    makers = {output: node for node in graph.node for output in node.output}
    last = makers["logits"]
    while last.op_type != "MatMul":
        last = makers[last.input[0]]
    nodes = list(graph.node)
    before = nodes[: nodes.index(last)]
    convolutions = [node for node in before if node.op_type == "Conv"][1:]
    activations = [node for layer, node in pairwise(before) if layer in convolutions and node.op_type == "Relu"]
    dense = [node for node in before if node.op_type == "MatMul" and node.input[0] != last.input[0]]
    return [node.name for node in (*convolutions, *activations, *dense)]


def answering(network: Any, sample: Pixels) -> Answer:
    """How a Keras `network` answers once it is exported and quantised by `sample`: what it ends in, before `Scales`.

    Raises:
        CheckFailed: that is too far from what it answers in floats.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.onnx")
        network.save(path.with_suffix(".keras"))
        export(path.with_suffix(".keras"), Scales(1.0), path)
        quantise(path, sample)
        answer = _answer(path)
    before, after = (np.exp(log_softmax(found[:, :10])) for found in (keras_outputs(network, sample), answer(sample)))
    difference = float(np.abs(before - after).max(axis=1).mean())
    if difference > MOST_DIFFERENT:
        raise CheckFailed(f"Quantised, the network answers otherwise: its probabilities move by {difference:.3f}.")
    return answer


def _answer(path: Path) -> Answer:
    """Logits and, from a network that has it, the log odds of no digit: the end of a file whose scales are 1 and 0."""
    import onnx

    model = onnx.load(path)
    ends = ["logits"]
    for node in model.graph.node:
        if node.output[0] == "out_of_distribution_score":
            ends.append(node.input[0])
            model.graph.output.append(onnx.helper.make_tensor_value_info(ends[1], onnx.TensorProto.FLOAT, ["n"]))
    onnx.save(model, path)
    session = load_session(path, "cpu", 1)

    def answer(images: Pixels) -> Outputs:
        starts = range(0, len(images), CHUNK)
        runs = [session.run({"image": images[first : first + CHUNK]}, ends) for first in starts]
        return np.concatenate([np.column_stack(run) for run in runs])

    return answer
