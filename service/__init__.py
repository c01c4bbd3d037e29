"""The online half: reads handwritten digits, and serves ONNX networks. Knows nothing of Keras."""

__version__ = "0.1.0"
