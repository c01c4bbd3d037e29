"""Small networks that tests make for themselves, in the repository's layout."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def write_linear_model(folder: Path, seed: int = 0, *, outputs: tuple[str, ...] = ("logits", "probabilities")) -> Path:
    """`folder`/model.onnx: pixels / 255 times a random matrix, then softmax. Answers differ from image to image."""
    weights = np.random.default_rng(seed).normal(0, 0.3, (784, 10)).astype(np.float32)
    nodes = [
        helper.make_node("Cast", ["image"], ["levels"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["levels", "scale"], ["scaled"]),
        helper.make_node("Reshape", ["scaled", "flat"], ["vectors"]),
        helper.make_node("MatMul", ["vectors", "weights"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=-1),
    ]
    graph = helper.make_graph(
        nodes,
        "linear",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["n", 28, 28])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 10]) for name in outputs],
        [
            numpy_helper.from_array(np.array(1 / 255, np.float32), "scale"),
            numpy_helper.from_array(np.array([-1, 784], np.int64), "flat"),
            numpy_helper.from_array(weights, "weights"),
        ],
    )
    return _save(folder, graph)


def write_judging_model(folder: Path, seed: int = 0) -> Path:
    """The same with `out_of_distribution_score`: 0 on black, 0.5 where the mean level is a third of white, then 1."""
    path = write_linear_model(folder, seed)
    model = onnx.load(path)
    graph = model.graph
    graph.node.extend(
        [
            helper.make_node("ReduceMean", ["vectors"], ["brightness"], axes=[1], keepdims=0),
            helper.make_node("Sub", ["brightness", "third"], ["above"]),
            helper.make_node("Mul", ["above", "steepness"], ["odds"]),
            helper.make_node("Sigmoid", ["odds"], ["out_of_distribution_score"]),
        ]
    )
    graph.initializer.extend(
        [
            numpy_helper.from_array(np.array(1 / 3, np.float32), "third"),
            numpy_helper.from_array(np.array(60, np.float32), "steepness"),
        ]
    )
    graph.output.append(helper.make_tensor_value_info("out_of_distribution_score", TensorProto.FLOAT, ["n"]))
    onnx.save(model, path)
    return path


def write_graph(
    folder: Path,
    nodes: Sequence[Any],
    inputs: dict[str, tuple[int, list[Any]]],
    outputs: dict[str, tuple[int, list[Any]]],
    constants: dict[str, Any] | None = None,
) -> Path:
    """`folder`/model.onnx of these nodes; inputs and outputs by name, each an element type and a shape."""
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info(name, *told) for name, told in inputs.items()],
        [helper.make_tensor_value_info(name, *told) for name, told in outputs.items()],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in (constants or {}).items()],
    )
    return _save(folder, graph)


def write_odd_networks(root: Path) -> None:
    """Networks that read no digits: `several` inputs and outputs, `strings`, `matrix` without a batch axis, `coupled`
    rows, `ragged` lengths, `lookup` that some values break, `labels` whose output is a map, and those below."""
    node, float_, int_ = helper.make_node, TensorProto.FLOAT, TensorProto.INT64
    write_graph(
        root / "several" / "1",
        [
            node("Cast", ["count"], ["times"], to=float_),
            node("Unsqueeze", ["times", "axis"], ["column"]),
            node("Mul", ["values", "column"], ["scaled"]),
            node("Greater", ["count", "two"], ["many"]),
        ],
        {"values": (float_, ["n", 3]), "count": (int_, ["n"])},
        {"scaled": (float_, ["n", 3]), "many": (TensorProto.BOOL, ["n"])},
        {"axis": np.array([1], np.int64), "two": np.array(2, np.int64)},
    )
    text = TensorProto.STRING
    write_graph(
        root / "strings" / "1", [node("Identity", ["text"], ["echo"])], {"text": (text, ["n"])}, {"echo": (text, ["n"])}
    )
    write_graph(
        root / "matrix" / "1",
        [node("Transpose", ["rows"], ["columns"], perm=[1, 0])],
        {"rows": (TensorProto.DOUBLE, [2, 3])},
        {"columns": (TensorProto.DOUBLE, [3, 2])},
    )
    write_graph(
        root / "coupled" / "1",
        [node("ReduceMean", ["values"], ["mean"], axes=[0]), node("Sub", ["values", "mean"], ["centred"])],
        {"values": (float_, ["n", 2])},
        {"centred": (float_, ["n", 2])},
    )
    write_graph(
        root / "ragged" / "1",
        [node("ReduceSum", ["values", "axis"], ["sums"], keepdims=0)],
        {"values": (float_, ["n", "length"])},
        {"sums": (float_, ["n"])},
        {"axis": np.array([1], np.int64)},
    )
    write_graph(
        root / "lookup" / "1",
        [node("Gather", ["table", "index"], ["found"])],
        {"index": (int_, ["n"])},
        {"found": (float_, ["n"])},
        {"table": np.array([0.5, 1.5, 2.5], np.float32)},
    )
    zipped = helper.make_map_type_proto(int_, helper.make_tensor_type_proto(float_, None))
    graph = helper.make_graph(
        [
            node("Identity", ["scores"], ["copied"]),
            node("ZipMap", ["scores"], ["by_label"], domain="ai.onnx.ml", classlabels_int64s=[7, 9]),
        ],
        "graph",
        [helper.make_tensor_value_info("scores", float_, ["n", 2])],
        [
            helper.make_tensor_value_info("copied", float_, ["n", 2]),
            helper.make_value_info("by_label", helper.make_sequence_type_proto(zipped)),
        ],
    )
    _save(root / "labels" / "1", graph)
    _write_odd_shapes(root)
    _write_hidden_dependences(root)
    _write_other_kinds(root)


def _write_odd_shapes(root: Path) -> None:
    """`scalar`, `constant` without an input, `any_rank`, `found` as many rows as values are not zero, `inks` of digits'
    pictures, `mean` of pictures of any size from 3 x 3 on."""
    node, float_ = helper.make_node, TensorProto.FLOAT
    write_graph(
        root / "inks" / "1",
        [
            node("Cast", ["image"], ["levels"], to=TensorProto.INT64),
            node("ReduceSum", ["levels", "pixels"], ["ink"], keepdims=0),
        ],
        {"image": (TensorProto.UINT8, ["n", 28, 28])},
        {"ink": (TensorProto.INT64, ["n"])},
        {"pixels": np.array([1, 2], np.int64)},
    )
    for name, shape in (("scalar", []), ("any_rank", None)):
        add = [node("Add", ["x", "one"], ["y"])]
        write_graph(root / name / "1", add, {"x": (float_, shape)}, {"y": (float_, shape)}, {"one": np.float32(1)})
    kept = np.array([1, 2], np.float32)
    write_graph(root / "constant" / "1", [node("Identity", ["kept"], ["y"])], {}, {"y": (float_, [2])}, {"kept": kept})
    write_graph(
        root / "found" / "1",
        [node("NonZero", ["values"], ["indices"]), node("Transpose", ["indices"], ["rows"])],
        {"values": (float_, ["n"])},
        {"rows": (TensorProto.INT64, ["found", 1])},
    )
    write_graph(
        root / "mean" / "1",
        [node("Conv", ["picture", "kernel"], ["sums"]), node("GlobalAveragePool", ["sums"], ["mean"])],
        {"picture": (float_, ["n", 1, "height", "width"])},
        {"mean": (float_, ["n", 1, 1, 1])},
        {"kernel": np.full((1, 1, 3, 3), 1 / 9, np.float32)},
    )


def _write_hidden_dependences(root: Path) -> None:
    """Rows that depend on others where that is easily missed: `third` adds the third row before, `greatest` and `any`
    compare values of which there are few, `table` has a row for each of one input and a column for each of another."""
    node, float_, int_ = helper.make_node, TensorProto.FLOAT, TensorProto.INT64
    first = np.array([0], np.int64)
    write_graph(
        root / "third" / "1",
        [
            node("Pad", ["x", "before"], ["padded"]),
            node("Slice", ["padded", "first", "last", "first"], ["shifted"]),
            node("Add", ["x", "shifted"], ["y"]),
        ],
        {"x": (float_, ["n", 2])},
        {"y": (float_, ["n", 2])},
        {"before": np.array([3, 0, 0, 0], np.int64), "first": first, "last": np.array([-3], np.int64)},
    )
    for name, kind in (("greatest", int_), ("any", TensorProto.BOOL)):
        write_graph(
            root / name / "1",
            [
                node("Cast", ["x"], ["numbers"], to=int_),
                node("ReduceMax", ["numbers"], ["most"], keepdims=0),
                node("Sub", ["most", "numbers"], ["y"]),
            ],
            {"x": (kind, ["n", 4])},
            {"y": (int_, ["n", 4])},
        )
    write_graph(
        root / "table" / "1",
        [
            node("Unsqueeze", ["a", "second"], ["column"]),
            node("Unsqueeze", ["b", "first"], ["row"]),
            node("Mul", ["column", "row"], ["products"]),
        ],
        {"a": (float_, ["n"]), "b": (float_, ["m"])},
        {"products": (float_, ["n", "m"])},
        {"first": first, "second": np.array([1], np.int64)},
    )


def _write_other_kinds(root: Path) -> None:
    """Inputs and outputs that the protocol has no word for: `joined` takes a sequence, `given` an optional tensor,
    `brief` answers in bfloat16 alone."""
    node, float_ = helper.make_node, TensorProto.FLOAT
    sequence = helper.make_sequence_type_proto(helper.make_tensor_type_proto(float_, None))
    optional = helper.make_optional_type_proto(helper.make_tensor_type_proto(float_, ["n"]))
    y = helper.make_tensor_value_info("y", float_, ["n"])
    join = [node("ConcatFromSequence", ["x"], ["y"], axis=0)]
    _save(root / "joined" / "1", helper.make_graph(join, "graph", [helper.make_value_info("x", sequence)], [y]))
    get = [node("OptionalGetElement", ["x"], ["y"])]
    _save(root / "given" / "1", helper.make_graph(get, "graph", [helper.make_value_info("x", optional)], [y]))
    write_graph(
        root / "brief" / "1",
        [node("Cast", ["x"], ["y"], to=TensorProto.BFLOAT16)],
        {"x": (float_, ["n", 2])},
        {"y": (TensorProto.BFLOAT16, ["n", 2])},
    )


def write_model_with_weights_apart(folder: Path, value: float, location: str = "model.onnx.data") -> Path:
    """Rows of a table, all of them `value`, which stands in a file of its own; that file."""
    table = np.full((4, 100_000), value, np.float32)  # ONNX Runtime maps what is large
    path = write_graph(
        folder,
        [helper.make_node("Gather", ["table", "row"], ["found"])],
        {"row": (TensorProto.INT64, ["n"])},
        {"found": (TensorProto.FLOAT, ["n", table.shape[1]])},
        {"table": table},
    )
    (folder / location).parent.mkdir(exist_ok=True)
    (folder / location).unlink(missing_ok=True)  # it would be appended to
    onnx.save_model(onnx.load(path), path, save_as_external_data=True, location=location)
    return folder / location


def _save(folder: Path, graph: Any) -> Path:
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "model.onnx"
    onnx.save(model, path)
    return path
