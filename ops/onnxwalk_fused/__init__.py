"""The domain onnxwalk.fused: operators into which the compiler's rewrites fuse several nodes. No
file may have nodes of this domain. Each operator accepts what its base in ai.onnx accepts, and
more."""
