"""The domain onnxwalk.fused: what the compiler's rewrites make of several nodes. No file may have
nodes of this domain. Each operator accepts what its base in ai.onnx accepts, and more."""
