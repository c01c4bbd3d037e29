"""A batching server at its best: mosec with batches of 64, pyspng and msgspec. MODEL names the network."""

import os
from typing import Any

import msgspec
import numpy as np
import onnxruntime as ort
import pyspng
from mosec import Server, Worker


class Digits(Worker):  # type: ignore[misc, unused-ignore]
    def __init__(self) -> None:
        super().__init__()
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = ort.InferenceSession(os.environ["MODEL"], options)

    def deserialize(self, data: bytes) -> Any:
        return pyspng.load(bytes(data)).reshape(28, 28)

    def forward(self, data: list[Any]) -> list[Any]:
        (probabilities,) = self.session.run(["probabilities"], {"image": np.stack(data)})
        best = probabilities.argmax(axis=1).tolist()
        return [
            {"digit": digit, "confidence": row[digit], "probabilities": row}
            for digit, row in zip(best, probabilities.tolist(), strict=True)
        ]

    def serialize(self, data: Any) -> bytes:
        return msgspec.json.encode(data)


if __name__ == "__main__":
    server = Server()
    # 1 ms is the shortest wait it takes.
    server.append_worker(Digits, max_batch_size=64, max_wait_time=1, route="/predict")
    server.run()
