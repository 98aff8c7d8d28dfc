"""ai.onnx.ml: what classical machine learning exports. One file per idea.

Where the spec is silent (binary classifiers, one-row inputs) ONNX Runtime's answer is followed.
"""

ML = "ai.onnx.ml"
