"""The domain onnxwalk.fused: what the compiler's rewrites make of several nodes. No file may have
nodes of this domain."""
