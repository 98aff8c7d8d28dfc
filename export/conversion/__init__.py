"""A TensorFlow graph becomes ONNX nodes."""
