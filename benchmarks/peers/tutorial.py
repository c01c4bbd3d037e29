"""What tutorials teach: FastAPI, UploadFile, Pillow, ONNX Runtime, one file. MODEL names the network.

One thread for ONNX Runtime: its default would spin beside the server on the one core that the benchmark gives.
"""

import os
from typing import Annotated, Any

import numpy as np
import onnxruntime as ort
from fastapi import FastAPI, File, UploadFile
from PIL import Image

app = FastAPI()
options = ort.SessionOptions()
options.intra_op_num_threads = 1
session = ort.InferenceSession(os.environ["MODEL"], options)


def read(file: UploadFile) -> Any:
    return np.asarray(Image.open(file.file).convert("L").resize((28, 28)), np.uint8)


def answer(probabilities: Any) -> dict[str, Any]:
    digit = int(probabilities.argmax())
    return {"digit": digit, "confidence": float(probabilities[digit]), "probabilities": probabilities.tolist()}


@app.post("/predict")
def predict(file: Annotated[UploadFile, File()]) -> dict[str, Any]:
    (probabilities,) = session.run(["probabilities"], {"image": read(file)[None]})
    return answer(probabilities[0])


@app.post("/predict/batch")
def predict_batch(files: Annotated[list[UploadFile], File()]) -> list[dict[str, Any]]:
    (probabilities,) = session.run(["probabilities"], {"image": np.stack([read(file) for file in files])})
    return [answer(row) for row in probabilities]
