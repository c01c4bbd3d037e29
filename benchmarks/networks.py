"""The two networks of the benchmark as a model repository, with random weights: speed does not depend on them.

Dense 784-512-512-10, and the network of four convolutions that many MNIST tutorials end with.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

# What `training.evaluation.measure_batching` found best for each; a published model has it in its card.
MAX_BATCH_SIZE = {"dense": 256, "cnn": 32}
SEED = 8  # both networks tell some of the drawn digits apart, so that swapped answers are seen
Weights = npt.NDArray[np.float32]


@dataclass
class _Graph:
    """A chain of nodes; each layer takes the newest output."""

    rng: np.random.Generator
    nodes: list[NodeProto] = field(default_factory=list)
    constants: list[TensorProto] = field(default_factory=list)
    newest: str = "image"

    def add(
        self, operator: str, *constants: npt.NDArray[np.generic], output: str | None = None, **options: object
    ) -> None:
        names = [f"constant{len(self.constants) + index}" for index in range(len(constants))]
        self.constants += [numpy_helper.from_array(value, name) for name, value in zip(names, constants, strict=True)]
        output = output or f"layer{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, [self.newest, *names], [output], **options))
        self.newest = output

    def weights(self, *shape: int, inputs: int) -> Weights:
        """He's initialisation keeps the levels of every layer alike, as training would (arXiv:1502.01852)."""
        return self.rng.normal(0, (2 / inputs) ** 0.5, shape).astype(np.float32)

    def scale(self, *shape: int) -> None:
        self.add("Cast", to=TensorProto.FLOAT)
        self.add("Mul", np.array(1 / 255, np.float32))
        self.add("Reshape", np.array([-1, *shape], np.int64))

    def dense(self, inputs: int, outputs: int, output: str | None = None) -> None:
        self.add("MatMul", self.weights(inputs, outputs, inputs=inputs))
        self.add("Add", np.zeros(outputs, np.float32), output=output)

    def convolution(self, inputs: int, outputs: int) -> None:
        weights = self.weights(outputs, inputs, 3, 3, inputs=9 * inputs)
        self.add("Conv", weights, np.zeros(outputs, np.float32), kernel_shape=[3, 3])
        self.add("Relu")

    def pool(self) -> None:
        self.add("MaxPool", kernel_shape=[2, 2], strides=[2, 2])

    def write(self, folder: Path) -> None:
        self.add("Softmax", output="probabilities", axis=-1)
        graph = helper.make_graph(
            self.nodes,
            folder.parent.name,
            [helper.make_tensor_value_info("image", TensorProto.UINT8, ["n", 28, 28])],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 10]) for name in ("logits", "probabilities")],
            self.constants,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.checker.check_model(model)
        folder.mkdir(parents=True)
        onnx.save(model, folder / "model.onnx")
        card = {"batching": {"max_batch_size": MAX_BATCH_SIZE[folder.parent.name]}}
        (folder / "model.json").write_text(json.dumps(card))


def write_repository(root: Path, seed: int = SEED) -> Path:
    """`root`/dense/1 and `root`/cnn/1 in the service's form: uint8 (n, 28, 28) to logits and probabilities."""
    dense = _Graph(np.random.default_rng(seed))
    dense.scale(784)
    for inputs in (784, 512):
        dense.dense(inputs, 512)
        dense.add("Relu")
    dense.dense(512, 10, output="logits")
    dense.write(root / "dense" / "1")

    cnn = _Graph(np.random.default_rng(seed))
    cnn.scale(1, 28, 28)
    for inputs, outputs in ((1, 32), (32, 64)):
        cnn.convolution(inputs, outputs)
        cnn.convolution(outputs, outputs)
        cnn.pool()
    cnn.add("Flatten")
    cnn.dense(64 * 4 * 4, 512)
    cnn.add("Relu")
    cnn.dense(512, 10, output="logits")
    cnn.write(root / "cnn" / "1")
    return root


def newest(repository: Path, name: str) -> Path:
    """The newest version's `model.onnx` of one model of a repository."""
    return max((repository / name).glob("[0-9]*/model.onnx"), key=lambda path: int(path.parent.name))
