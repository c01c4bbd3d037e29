"""Requests of the Open Inference Protocol, built by hand as its text says."""

import json
import struct
from typing import Any

import numpy as np


def tensor(name: str, array: np.ndarray, datatype: str, **more: Any) -> dict[str, Any]:
    """An input whose elements stand in the JSON, flat."""
    return {"name": name, "shape": list(array.shape), "datatype": datatype, "data": array.ravel().tolist(), **more}


def raw_tensor(name: str, shape: list[int], datatype: str, content: bytes) -> tuple[dict[str, Any], bytes]:
    """An input whose elements come after the JSON, and they."""
    told = {"name": name, "shape": shape, "datatype": datatype, "parameters": {"binary_data_size": len(content)}}
    return told, content


def binary_request(*tensors: tuple[dict[str, Any], bytes], **fields: Any) -> tuple[bytes, dict[str, str]]:
    """Body and headers of a request with raw tensors."""
    head = json.dumps({"inputs": [told for told, _ in tensors], **fields}).encode()
    return head + b"".join(content for _, content in tensors), {"inference-header-content-length": str(len(head))}


def strings(*elements: bytes) -> bytes:
    return b"".join(struct.pack("<I", len(element)) + element for element in elements)


def outputs_of(answer: Any) -> dict[str, np.ndarray]:
    """The outputs of an answer in JSON, by name."""
    return {output["name"]: np.array(output["data"]).reshape(output["shape"]) for output in answer.json()["outputs"]}


def raw_outputs(answer: Any) -> dict[str, tuple[dict[str, Any], bytes]]:
    """The outputs of an answer with raw tensors, by name: what the JSON tells, and the bytes."""
    length = int(answer.headers["inference-header-content-length"])
    rest = answer.content[length:]
    found = {}
    for output in json.loads(answer.content[:length])["outputs"]:
        size = output.get("parameters", {}).get("binary_data_size", 0)
        found[output["name"]] = (output, rest[:size])
        rest = rest[size:]
    assert not rest
    return found
