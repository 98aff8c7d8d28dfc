"""Where two models, or two engines on one model, part: value by value, in lock-step.

sides        what gives the values: a walk, the optimized run, ONNX Runtime, the reference
keras_side   a Keras model, layer by layer
layers       which value of a file is which layer's, by the exporter's record
lockstep     two streams of values, with bounded memory
metrics      how far two values lie apart
comparison   all of it over samples
cause        the first value that differs: its node, its operands, the weights that differ
inside       the first value that differs within a Loop, Scan or If
extract      the smallest model that shows it
"""

from onnxwalk.interpreter.analysis.compare.cause import Cause, find_cause
from onnxwalk.interpreter.analysis.compare.comparison import (
    ENGINES,
    Comparison,
    Row,
    Sides,
    compare,
    open_sides,
)
from onnxwalk.interpreter.analysis.compare.extract import extract
from onnxwalk.interpreter.analysis.compare.inside import Inside, find_inside
from onnxwalk.interpreter.analysis.compare.metrics import Difference, Spot, Tolerance, difference

__all__ = [
    "ENGINES",
    "Cause",
    "Comparison",
    "Difference",
    "Inside",
    "Row",
    "Sides",
    "Spot",
    "Tolerance",
    "compare",
    "difference",
    "extract",
    "find_cause",
    "find_inside",
    "open_sides",
]
