"""The domain com.microsoft: what ONNX Runtime's graph optimizer and quantizer write.

Its source is ONNX Runtime 1.32 (schemas and CPU kernels); most of these operators are sequences of
other operators, and are written here as such.
"""

DOMAIN = "com.microsoft"
