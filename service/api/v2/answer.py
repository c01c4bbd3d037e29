"""What a network answered to the bytes of an inference response: JSON, raw tensors after it, or classes."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence

import numpy as np
from msgspec import UNSET

from service.api.reply import JSON, Reply
from service.api.v2 import compression
from service.api.v2.messages import InferAnswer, InferOutput, encode
from service.api.v2.request import Call, Wanted
from service.inference.runtime import Tensor
from service.inference.version import ModelVersion

BINARY = b"application/octet-stream"


def answer(model: ModelVersion, call: Call, outputs: Sequence[Tensor], accepts: bytes, timings: str) -> Reply:
    """The reply. NaN and infinities are null in JSON, which has no word for them; raw tensors keep them."""
    told: list[InferOutput] = []
    buffers: list[bytes | memoryview] = []
    for wanted in call.wanted:
        name, datatype, array = wanted.spec.name, wanted.spec.datatype, outputs[wanted.place]
        if wanted.classes:
            datatype, array = "BYTES", _classes(array, wanted, model)
        output = InferOutput(name, datatype, list(array.shape))
        if wanted.binary:
            buffer = _raw(array)
            buffers.append(buffer)
            output.parameters = {"binary_data_size": len(buffer)}
        else:
            output.data = array.reshape(-1).tolist()
        told.append(output)
    head = encode(InferAnswer(model.name, model.version, told, UNSET if call.request.id is None else call.request.id))
    headers: list[tuple[bytes, bytes]] = []
    if buffers:
        headers.append((b"inference-header-content-length", b"%d" % len(head)))
        head = b"".join([head, *buffers])
    encoding = compression.accepted(accepts) if accepts and len(head) >= compression.LEAST_BYTES else b""
    if encoding:
        head = compression.deflate(head, encoding)
        headers += [(b"content-encoding", encoding), (b"vary", b"accept-encoding")]
    return Reply(head, 200, BINARY if buffers else JSON, headers, timings)


def _raw(array: Tensor) -> bytes | memoryview:
    """Row-major and little-endian; a BYTES element after its length."""
    if array.dtype.kind == "O":
        parts = [element.encode() if isinstance(element, str) else element for element in array.reshape(-1)]
        return b"".join([struct.pack("<I", len(part)) + part for part in parts])
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def _classes(array: Tensor, wanted: Wanted, model: ModelVersion) -> Tensor:
    """`value:index:label` of the largest values, (n, k) or (k,); without a label, `value:index`."""
    shape = (len(array), math.prod(array.shape[1:])) if model.has_batch_axis else (1, array.size)
    rows = array.reshape(shape)
    best = np.argsort(-rows.astype(np.float64), axis=1, kind="stable")[:, : wanted.classes]
    labels = model.labels
    strings = np.empty(best.shape, object)
    for row, classes in enumerate(best):
        for place, index in enumerate(classes):
            label = f":{labels[index]}" if index < len(labels) else ""
            strings[row, place] = f"{rows[row, index]:f}:{index}{label}"
    return strings if model.has_batch_axis else strings[0]
