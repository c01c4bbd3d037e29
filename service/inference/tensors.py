"""The datatypes of tensors and what a network's inputs and outputs are, in the words of the Open Inference Protocol."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

DATATYPES: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype(np.bool_),
    "UINT8": np.dtype("<u1"),
    "UINT16": np.dtype("<u2"),
    "UINT32": np.dtype("<u4"),
    "UINT64": np.dtype("<u8"),
    "INT8": np.dtype("<i1"),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "FP16": np.dtype("<f2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
    "BYTES": np.dtype(object),
}
UNSUPPORTED = "UNSUPPORTED"  # sequences, maps, bfloat16 and the like: the protocol has no word for them

_OF_ONNX = {
    "tensor(bool)": "BOOL",
    "tensor(float16)": "FP16",
    "tensor(float)": "FP32",
    "tensor(double)": "FP64",
    "tensor(string)": "BYTES",
} | {f"tensor({kind}{bits})": f"{kind.upper()}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)}


class TensorSpec(NamedTuple):
    """One input or output of a network. A dynamic dimension is -1; `onnx_type` is what ONNX Runtime calls it."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    onnx_type: str = ""


def specs(nodes: Iterable[Any]) -> tuple[TensorSpec, ...]:
    """What ONNX Runtime tells of a session's inputs or outputs."""
    return tuple(
        TensorSpec(
            node.name,
            _OF_ONNX.get(node.type, UNSUPPORTED),
            tuple(size if isinstance(size, int) and size >= 0 else -1 for size in node.shape or ()),
            node.type,
        )
        for node in nodes
    )


def example(spec: TensorSpec, rows: int, side: int, rng: np.random.Generator) -> np.ndarray[Any, Any]:
    """A tensor that `spec` allows: `rows` along a dynamic first dimension, `side` along every other dynamic one.

    Whole numbers are 1 or 2: zero may be divided by, and larger ones may index too far. Of few values the first row has
    the least throughout and the second the greatest, or a network that compares rows could seem not to.
    """
    first, *others = spec.shape or (0,)
    shape = (rows if first == -1 else first, *(side if size == -1 else size for size in others)) if spec.shape else ()
    dtype = DATATYPES[spec.datatype]
    if dtype.kind == "f":
        return rng.random(shape).astype(dtype)
    if dtype.kind == "u" and dtype.itemsize == 1:
        return rng.integers(1, 256, shape).astype(dtype)  # levels of a picture; another whole number may be an index
    values = {"O": np.array(["a", "b"], object), "b": np.array([False, True])}.get(dtype.kind, np.array([1, 2], dtype))
    tensor = rng.choice(values, shape)
    if shape and len(tensor) > 1:
        tensor[0], tensor[1] = values
    return tensor
