"""Input tensors of a request to arrays; what came as bytes is not copied, and no shape has anything allocated."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np

from service.api.submitted import decode_part, from_base64
from service.api.v2.messages import InferInput
from service.errors import InvalidValue
from service.inference.runtime import Tensor
from service.inference.tensors import DATATYPES

LENGTH = struct.Struct("<I")  # before each element of a BYTES tensor
EXACT = 2.0**53  # from here on not every whole number is in float64
_ELEMENTS: dict[str, type] = {"b": bool, "u": int, "i": int, "f": float, "O": str}


def from_bytes(tensor: InferInput, content: memoryview) -> Tensor:
    """The elements of `tensor` (any datatype but BYTES) as they stand in `content`, which the array shares.

    Raises:
        InvalidValue: `content` is not as long as shape and datatype say.
    """
    dtype = DATATYPES[tensor.datatype]
    needed = math.prod(tensor.shape) * dtype.itemsize
    if len(content) != needed:
        raise InvalidValue(
            f"Input {tensor.name!r}: {tensor.datatype} of shape {tensor.shape} is {needed} bytes; "
            f"binary_data_size is {len(content)}."
        )
    if dtype.kind == "b":
        return np.frombuffer(content, np.uint8).astype(np.bool_).reshape(tensor.shape)
    array: Tensor = np.frombuffer(content, dtype).reshape(tensor.shape)
    return array if array.flags.aligned else array.copy()


def elements(tensor: InferInput, content: memoryview) -> list[bytes]:
    """The elements of a BYTES tensor, each after its length.

    Raises:
        InvalidValue: there are more or fewer than the shape says, or one is cut off.
    """
    found = list(_split(content, tensor.name))
    if len(found) != math.prod(tensor.shape):
        raise InvalidValue(
            f"Input {tensor.name!r}: shape {tensor.shape} is {math.prod(tensor.shape)} elements; "
            f"the {len(content)} bytes hold {len(found)}."
        )
    return found


def _split(content: memoryview, name: str) -> Iterator[bytes]:
    first = 0
    while first < len(content):
        start = first + LENGTH.size
        last = start + (LENGTH.unpack_from(content, first)[0] if start <= len(content) else 0)
        if last > len(content):
            raise InvalidValue(
                f"Input {name!r}: an element at byte {first} goes past the end of its {len(content)} bytes. "
                "Expected uint32 lengths, little-endian, each with that many bytes after it."
            )
        yield bytes(content[start:last])
        first = last


def text(tensor: InferInput, parts: list[bytes]) -> Tensor:
    """Strings, as ONNX Runtime takes them. Raises `InvalidValue` where one is not UTF-8."""
    try:
        strings = [part.decode() for part in parts]
    except UnicodeDecodeError as error:
        raise InvalidValue(f"Input {tensor.name!r}: strings must be UTF-8: {error}") from None
    array = np.empty(len(strings), object)
    array[:] = strings
    return array.reshape(tensor.shape)


def from_json(tensor: InferInput, raw: msgspec.Raw) -> Tensor:
    """The elements in `data`, nested as the shape says or flat.

    Raises:
        InvalidValue: they are not as many, not so nested, or not of the datatype or its range.
        MalformedRequest: not JSON; NaN and Infinity are none.
    """
    dtype = DATATYPES[tensor.datatype]
    depth = _depth(raw, len(tensor.shape))
    decoded, dtype_in = _elements(raw, tensor, depth)
    try:
        with np.errstate(over="ignore"):
            array = np.array(decoded, dtype_in)
    except (ValueError, OverflowError) as error:
        raise InvalidValue(f"Input {tensor.name!r}: not a tensor of {tensor.datatype}: {error}") from None
    if dtype_in != dtype:
        array = _whole(array, dtype, tensor)
    if dtype.kind == "f" and not np.isfinite(array).all():
        raise InvalidValue(f"Input {tensor.name!r}: a number is out of the range of {tensor.datatype}.")
    if depth > 1 and list(array.shape) != tensor.shape:
        raise InvalidValue(
            f"Input {tensor.name!r}: shape is {tensor.shape}, and data is nested as {list(array.shape)}."
        )
    if array.size != math.prod(tensor.shape):
        raise InvalidValue(
            f"Input {tensor.name!r}: shape {tensor.shape} is {math.prod(tensor.shape)} elements; data has {array.size}."
        )
    return array.reshape(tensor.shape)


def _elements(raw: msgspec.Raw, tensor: InferInput, depth: int) -> tuple[Any, np.dtype[Any]]:
    """The decoded elements and the type that they have: numbers with a fraction of 0 may stand for whole ones."""
    dtype = DATATYPES[tensor.datatype]
    try:
        return decode_part(raw, _nested(_ELEMENTS[dtype.kind], depth), tensor.name), dtype
    except InvalidValue:
        if dtype.kind not in "uib":
            raise
        try:
            return decode_part(raw, _nested(float, depth), tensor.name), DATATYPES["FP64"]
        except InvalidValue:
            pass
        raise


def _nested(kind: Any, depth: int) -> Any:
    for _ in range(depth):
        kind = list[kind]
    return kind


def _whole(array: Tensor, dtype: np.dtype[Any], tensor: InferInput) -> Tensor:
    """Floats as whole numbers of `dtype`, or as truth. Raises `InvalidValue` where that changes one."""
    with np.errstate(invalid="ignore"):
        converted = array.astype(dtype)
    if not np.array_equal(converted.astype(np.float64), array) or (np.abs(array) >= EXACT).any():
        raise InvalidValue(
            f"Input {tensor.name!r}: some numbers are not whole, or out of the range of {tensor.datatype}."
        )
    return converted


def files_in_json(tensor: InferInput, raw: msgspec.Raw) -> list[bytes]:
    """Encoded files as base64 strings. Raises `InvalidImage`, `InvalidValue`, `MalformedRequest`."""
    parts = decode_part(raw, list[msgspec.Raw], tensor.name)
    if len(parts) != math.prod(tensor.shape):
        raise InvalidValue(
            f"Input {tensor.name!r}: shape is {tensor.shape}, and data has {len(parts)} strings of base64."
        )
    return [from_base64(part, f"{tensor.name}[{index}]") for index, part in enumerate(parts)]


def _depth(raw: msgspec.Raw, rank: int) -> int:
    """How deep lists are nested: as the shape says, once, or not at all around a single element."""
    start = bytes(memoryview(raw)[:64]).translate(None, b" \t\r\n")
    if start[:1] != b"[":
        return 0 if rank == 0 else 1
    return rank if rank > 1 and start[1:2] == b"[" else 1
