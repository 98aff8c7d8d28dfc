"""The operators of the domain ai.onnx, one file for each family."""
