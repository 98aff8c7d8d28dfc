"""ONNX files as scikit-learn estimators: in pipelines, searches, scores and plots.

>>> from onnxwalk.sklearn import OnnxClassifier
>>> OnnxClassifier("iris.onnx").predict(X)              # doctest: +SKIP

Needs scikit-learn: ``pip install "onnxwalk[sklearn]"``.
"""

try:
    from onnxwalk.interpreter.estimators import OnnxClassifier, OnnxRegressor, OnnxTransformer
except ModuleNotFoundError as error:
    raise ImportError(
        'scikit-learn is required for onnxwalk.sklearn: pip install "onnxwalk[sklearn]"'
    ) from error

__all__ = ["OnnxClassifier", "OnnxRegressor", "OnnxTransformer"]
