"""Where ONNX Runtime 1.32 or the official reference of onnx 1.23 is known to leave the spec.

``test_disagreements.py`` runs the cases of each operator and version named here and expects at
least one answer that differs: an entry that was mended must go. ``SUPPORT.md`` lists them all, and
those of ``special_values.py``.
"""

from __future__ import annotations

from dataclasses import dataclass

from tests.support.special_values import SPECIAL_VALUES

ORT, REFERENCE = "ONNX Runtime", "the official reference"


@dataclass(frozen=True)
class Disagreement:
    """What one of the two does, at an opset for which there is a case that shows it."""

    who: str
    operator: str
    opset: int
    what: str
    domain: str = ""


def _ml(who: str, operator: str, opset: int, what: str) -> Disagreement:
    return Disagreement(who, operator, opset, what, "ai.onnx.ml")


def _microsoft(operator: str, what: str) -> Disagreement:
    return Disagreement(ORT, operator, 1, what, "com.microsoft")


DISAGREEMENTS = [
    Disagreement(ORT, "AveragePool", 11, "gives a window if the kernel is larger than the input by "
                 "less than a stride: floor(−1 / 2) + 1 is 0 (also MaxPool, LpPool)"),
    Disagreement(ORT, "BatchNormalization", 9, "gives 1/√(variance + ε) as the saved variance"),
    Disagreement(ORT, "Cast", 13, "writes 1e+20 and 1e-07: the spec asks for plain notation"),
    Disagreement(ORT, "ConvTranspose", 10, "puts the odd pad of SAME_* where version 11 has it"),
    Disagreement(ORT, "ConvTranspose", 11, "leaves out the last places of SAME_* that no window "
                 "reaches"),
    Disagreement(ORT, "Dropout", 7, "gives a mask of zeros although nothing is dropped (also 10)"),
    Disagreement(ORT, "GroupNormalization", 21, "takes mean(x²) − mean(x)² as the variance: NaN "
                 "for flat inputs"),
    Disagreement(ORT, "Gather", 13, "copies only the first string of each row"),
    Disagreement(ORT, "MaxPool", 10, "rounds up twice for VALID with ceil_mode"),
    Disagreement(ORT, "NonZero", 13, "gives (1, N) for a scalar, the spec (0, N)"),
    Disagreement(ORT, "OneHot", 9, "takes negative indices, as only version 11 does"),
    Disagreement(ORT, "ReduceLogSumExp", 18, "adds up exponentials as integers"),
    Disagreement(ORT, "ReduceMax", 18, "passes over a NaN that isn't the first element"),
    Disagreement(ORT, "ReduceSum", 13, "adds up integers as float64, and saturates"),
    Disagreement(ORT, "Slice", 13, "takes an end of INT_MAX going backwards for the beginning"),
    Disagreement(ORT, "Squeeze", 13, "drops all axes of size 1 for axes that name none"),
    _ml(ORT, "LabelEncoder", 4, "lets the first of equal keys win, the spec the last"),
    _ml(ORT, "LinearClassifier", 1, "forgets SOFTMAX and PROBIT for two classes of one score"),
    _ml(ORT, "LinearRegressor", 1, "transforms more than one target only"),
    _ml(ORT, "SVMClassifier", 1, "answers the second of two labels for any negative coefficient "
        "(linear), and forgets SOFTMAX for two classes"),
    _ml(ORT, "SVMRegressor", 1, "ignores post_transform"),
    _ml(ORT, "TreeEnsembleClassifier", 1, "answers the second of two labels if its score is > 0, "
        "not the top class, and forgets SOFTMAX for two classes of one score"),
    _ml(ORT, "TreeEnsembleClassifier", 3, "passes over classes without a weight in the leaves"),
    _ml(ORT, "TreeEnsembleRegressor", 1, "leaves out base values where no leaf has a weight, "
        "transforms one target with PROBIT only, and takes BRANCH_NEQ as true of a NaN"),
    _ml(ORT, "TreeEnsemble", 5, "has post_transform 1 and 2, SOFTMAX and LOGISTIC, exchanged"),
    _microsoft("BeamSearch", "ends the search for a prompt by scores of the prompts beside it: in "
               "a batch, without early_stopping, a text may end in another way"),
    _microsoft("Sampling", "draws all tokens equally often if top_p and min_tokens_to_keep are 0, "
               "their defaults; presence_mask changes one score only; there are no filtered_logits "
               "(behind the end of all texts there is what was in memory, as of GreedySearch)"),
    *(
        Disagreement(REFERENCE, name, 6, "takes axis and broadcast for nothing: NumPy's rule")
        for name in ("Add", "Sub", "Mul", "Div")
    ),
    Disagreement(REFERENCE, "BatchNormalization", 9, "is always in training, whatever the outputs"),
    Disagreement(REFERENCE, "GRU", 14, "ignores sequence_lens, clip and activations"),
    Disagreement(REFERENCE, "GroupNormalization", 21, "takes mean(x²) − mean(x)² as the variance: "
                 "NaN for flat inputs"),
    Disagreement(REFERENCE, "Hardmax", 11, "has the meaning of 13: one axis, not flattened"),
    Disagreement(REFERENCE, "LogSoftmax", 11, "has the meaning of 13: one axis, not flattened"),
    Disagreement(REFERENCE, "LRN", 13, "sums for the first N channels only, N the batch"),
    Disagreement(REFERENCE, "LSTM", 14, "ignores sequence_lens, clip and activations"),
    Disagreement(REFERENCE, "MeanVarianceNormalization", 13, "takes mean(x²) − mean(x)² as the "
                 "variance, too"),
    Disagreement(REFERENCE, "OneHot", 9, "takes negative indices, as only version 11 does"),
    Disagreement(REFERENCE, "PRelu", 6, "has slopes of the last axis, not of channels"),
    Disagreement(REFERENCE, "RNN", 14, "ignores sequence_lens and clip"),
    Disagreement(REFERENCE, "Softmax", 11, "has the meaning of 13: one axis, not flattened"),
    _ml(REFERENCE, "Normalizer", 1, "has the largest absolute value for MAX"),
    _ml(REFERENCE, "TreeEnsemble", 5, "ignores post_transform"),
]  # fmt: skip


def all_disagreements() -> list[Disagreement]:
    """Those above, and those about special values."""
    rows = ((value.case, value.what) for value in SPECIAL_VALUES)
    return DISAGREEMENTS + [
        Disagreement(ORT, case.operator, case.opset, what, case.domain) for case, what in rows
    ]
