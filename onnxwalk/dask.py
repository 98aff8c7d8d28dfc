"""Models over Dask arrays, bags and data frames.

>>> import onnxwalk.dask
>>> y = onnxwalk.dask.run("model.onnx", x)              # doctest: +SKIP

Needs Dask: ``pip install "onnxwalk[dask]"``.
"""

from onnxwalk.interpreter.dask.collections import run

__all__ = ["run"]
