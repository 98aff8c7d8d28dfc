"""Compare two models, or two engines on one model, value by value.

sides        the sources of values: a walk, the optimized run, ONNX Runtime, the reference
keras_side   a Keras model, layer by layer
layers       which value of a file is which output of a Keras layer, by the exporter's record
quantized    the grids of quantized tensors, and the names that these had before
opening      opens the sides, and matches their values
lockstep     two streams of values side by side, with bounded memory
metrics      the difference of two values
statistics   mean, percentiles, cosine, SQNR of the errors
weights      the weights of two files
comparison   the comparison over all samples
cause        the first value that differs: its node, its inputs, the weights that differ
inside       the first value that differs inside a Loop, Scan or If
extract      the smallest model that shows the difference
"""

from onnxwalk.interpreter.analysis.compare.cause import Cause, find_cause
from onnxwalk.interpreter.analysis.compare.comparison import Comparison, Row, Sides, compare
from onnxwalk.interpreter.analysis.compare.extract import extract
from onnxwalk.interpreter.analysis.compare.inside import InnerCause, find_inner_cause
from onnxwalk.interpreter.analysis.compare.metrics import Difference, Rule, Tolerance, difference
from onnxwalk.interpreter.analysis.compare.opening import ENGINES, keras_and_file, open_sides
from onnxwalk.interpreter.analysis.compare.weights import WeightRow, compare_weights

__all__ = [
    "ENGINES",
    "Cause",
    "Comparison",
    "Difference",
    "InnerCause",
    "Row",
    "Rule",
    "Sides",
    "Tolerance",
    "WeightRow",
    "compare",
    "compare_weights",
    "difference",
    "extract",
    "find_cause",
    "find_inner_cause",
    "keras_and_file",
    "open_sides",
]
