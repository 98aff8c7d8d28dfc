"""The domain onnxwalk.gradient: what the compiler needs beside the gradients of operators
(``ops.contract.derived``). No file may have nodes of this domain."""
