"""The offline half: fits networks with Keras and publishes them as ONNX."""
