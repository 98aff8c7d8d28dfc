"""Data that outgrow a process or a machine, part by part.

>>> from onnxwalk.batches import run_part
>>> run_part("model.onnx", "parts/7.parquet", "out/")    # doctest: +SKIP

``run_part`` is what workers of any kind call, one part at a time; ``onnxwalk run --workers`` does
so on one machine.
"""

from onnxwalk.interpreter.batches import Done, cached_session, rows_per_part, run_part

__all__ = ["Done", "cached_session", "rows_per_part", "run_part"]
