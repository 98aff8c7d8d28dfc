"""What libraries that run models import of ``onnxruntime.transformers``, whose tools that write
models aren't here."""
