"""Convert a TensorFlow graph into ONNX nodes."""
