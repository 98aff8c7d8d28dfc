"""What the ONNX specification says of each version: types, choices, where it is computed."""
