"""The floor of inference: ONNX Runtime alone, one thread, at several batch sizes in turn.

`python -m benchmarks.peers.session_loop MODEL SECONDS` prints the CPU microseconds an image at each batch size.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
import onnxruntime as ort

BATCH_SIZES = (1, 4, 16, 32, 64, 256)
SLICE_S = 0.1


def open_session(model: Path) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    return ort.InferenceSession(model, options)


def main() -> None:
    session = open_session(Path(sys.argv[1]))
    images = np.random.default_rng(0).integers(0, 256, (max(BATCH_SIZES), 28, 28), np.uint8)
    spent = dict.fromkeys(BATCH_SIZES, 0.0)
    done = dict.fromkeys(BATCH_SIZES, 0)
    for size in BATCH_SIZES:
        session.run(["probabilities"], {"image": images[:size]})
    end = time.perf_counter() + float(sys.argv[2])
    while time.perf_counter() < end:
        for size in BATCH_SIZES:
            started, until = time.process_time(), time.perf_counter() + SLICE_S
            while time.perf_counter() < until:
                session.run(["probabilities"], {"image": images[:size]})
                done[size] += size
            spent[size] += time.process_time() - started
    print(json.dumps({size: 1e6 * spent[size] / done[size] for size in BATCH_SIZES}))


if __name__ == "__main__":
    main()
