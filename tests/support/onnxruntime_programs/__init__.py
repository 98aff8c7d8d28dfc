"""Small programs over ONNX Runtime's API, each a function of the module ``ort``: they are run with
the real package and with ours, and must give the same results and the same errors."""

from tests.support.onnxruntime_programs import ended, feeds, options, results, sessions, values
from tests.support.onnxruntime_programs.models import PROGRAMS

__all__ = ["PROGRAMS", "ended", "feeds", "options", "results", "sessions", "values"]
