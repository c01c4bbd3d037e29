"""Before anything is timed: every system must answer what ONNX Runtime alone says of the same pictures."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from benchmarks.loads import LoadFailed, ask
from benchmarks.peers.session_loop import open_session
from benchmarks.pictures import Pixels, Request


def expected_digits(model: Path, pictures: list[Pixels]) -> list[int]:
    (probabilities,) = open_session(model).run(["probabilities"], {"image": np.stack(pictures)})
    digits: list[int] = probabilities.argmax(axis=1).tolist()
    return digits


def check(system: str, port: int, request: Request, expected: list[int]) -> None:
    """Ask each body of the request once; the digits that come back, in order, must be the expected ones.

    Raises:
        LoadFailed: another digit, or no answer.
    """
    contents = [ask(port, request, which) for which in range(len(request.bodies))]
    if request.json_bytes is not None:
        # The probabilities are the answer's last bytes.
        probabilities = np.frombuffer(contents[0][-40 * request.images :], np.float32)
        digits = probabilities.reshape(request.images, 10).argmax(axis=1).tolist()
    else:
        answers = [json.loads(content) for content in contents]
        if request.images > 1:
            (whole,) = answers
            answers = whole["predictions"] if isinstance(whole, dict) else whole
        digits = [answer["digit"] for answer in answers]
    if digits != expected:
        raise LoadFailed(f"{system} answers {digits} on {request.path}, ONNX Runtime alone {expected}")
