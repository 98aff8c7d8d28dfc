"""Compare two models, or two engines on one model, value by value.

sides        the sources of values: a walk, the optimized run, ONNX Runtime, the reference
keras_side   a Keras model, layer by layer
layers       the Keras layer of each value of a file, by the exporter's record
lockstep     two streams of values side by side, with bounded memory
metrics      the difference of two values
comparison   the comparison over all samples
cause        the first value that differs: its node, its inputs, the weights that differ
inside       the first value that differs inside a Loop, Scan or If
extract      the smallest model that shows the difference
"""

from onnxwalk.interpreter.analysis.compare.cause import Cause, find_cause
from onnxwalk.interpreter.analysis.compare.comparison import (
    ENGINES,
    Comparison,
    Row,
    Sides,
    compare,
    keras_and_file,
    open_sides,
)
from onnxwalk.interpreter.analysis.compare.extract import extract
from onnxwalk.interpreter.analysis.compare.inside import InnerCause, find_inner_cause
from onnxwalk.interpreter.analysis.compare.metrics import Difference, Tolerance, difference

__all__ = [
    "ENGINES",
    "Cause",
    "Comparison",
    "Difference",
    "InnerCause",
    "Row",
    "Sides",
    "Tolerance",
    "compare",
    "difference",
    "extract",
    "find_cause",
    "find_inner_cause",
    "keras_and_file",
    "open_sides",
]
