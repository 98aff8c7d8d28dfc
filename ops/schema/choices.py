"""The values that attributes of words may have, where the spec lists them, by version.

What a version added is no value of the version before. RNN's activations are not here: theirs are
names that the operators read themselves.
"""

from __future__ import annotations

from collections.abc import Mapping

_AUTO_PAD = {1: "NOTSET SAME_UPPER SAME_LOWER VALID"}
_DIRECTION = {1: "forward reverse bidirectional"}
_DIRECTION_3 = {3: _DIRECTION[1]}
_LOSS = {12: "none sum mean"}
_POST_TRANSFORM = {1: "NONE SOFTMAX LOGISTIC SOFTMAX_ZERO PROBIT"}
_KERNEL = {1: "LINEAR POLY RBF SIGMOID"}
_ROUND = {24: "up down nearest"}
_SCATTER = {16: "none add mul", 18: "none add mul max min"}
_PIXELS = "half_pixel pytorch_half_pixel align_corners asymmetric tf_crop_and_resize"

#: (domain, operator) -> attribute -> the version since which -> its values
_CHOICES: Mapping[tuple[str, str], Mapping[str, Mapping[int, str]]] = {
    **{
        ("", name): {"auto_pad": _AUTO_PAD}
        for name in ("AveragePool", "Conv", "ConvInteger", "ConvTranspose", "LpPool", "MaxPool",
                     "QLinearConv")
    },
    **{("", name): {"direction": _DIRECTION} for name in ("RNN", "LSTM")},
    # "foward" is the default of GRU-1
    ("", "GRU"): {"direction": {1: "foward forward reverse bidirectional", **_DIRECTION_3}},
    ("", "BitShift"): {"direction": {11: "LEFT RIGHT"}},
    ("", "Cast"): {"round_mode": _ROUND},
    ("", "CastLike"): {"round_mode": _ROUND},
    ("", "CausalConvWithState"): {"activation": {27: "silu swish none"}},
    ("", "DepthToSpace"): {"mode": {11: "DCR CRD"}},
    ("", "SpaceToDepth"): {"mode": {28: "DCR CRD"}},
    ("", "Gelu"): {"approximate": {20: "none tanh"}},
    ("", "GridSample"): {
        "mode": {16: "bilinear nearest bicubic", 20: "linear nearest cubic"},
        "padding_mode": {16: "zeros border reflection"},
    },
    ("", "ImageDecoder"): {"pixel_format": {20: "RGB BGR Grayscale"}},
    ("", "LinearAttention"): {"update_rule": {27: "linear gated delta gated_delta"}},
    ("", "NegativeLogLikelihoodLoss"): {"reduction": _LOSS},
    ("", "SoftmaxCrossEntropyLoss"): {"reduction": _LOSS},
    ("", "Pad"): {"mode": {1: "constant reflect edge", 19: "constant reflect edge wrap"}},
    ("", "Resize"): {
        # 10: "linear (including bilinear, trilinear, etc)", and bilinear is what some files have
        "mode": {10: "nearest linear bilinear", 11: "nearest linear cubic"},
        "nearest_mode": {11: "round_prefer_floor round_prefer_ceil floor ceil"},
        "keep_aspect_ratio_policy": {18: "stretch not_larger not_smaller"},
        "coordinate_transformation_mode": {
            11: f"{_PIXELS} tf_half_pixel_for_nn",
            13: _PIXELS,
            19: f"{_PIXELS} half_pixel_symmetric",
        },
    },
    ("", "Upsample"): {"mode": {1: "nearest bilinear", 7: "nearest linear bilinear"}},
    ("", "RoiAlign"): {
        "mode": {10: "avg max"},
        "coordinate_transformation_mode": {16: "half_pixel output_half_pixel"},
    },
    ("", "ScatterElements"): {"reduction": _SCATTER},
    ("", "ScatterND"): {"reduction": _SCATTER},
    ("", "StringNormalizer"): {"case_change_action": {10: "LOWER UPPER NONE"}},
    ("", "TensorScatter"): {"mode": {24: "linear circular"}},
    ("", "TfIdfVectorizer"): {"mode": {9: "TF IDF TFIDF"}},
    ("ai.onnx.ml", "CastMap"): {
        "cast_to": {1: "TO_FLOAT TO_STRING TO_INT64"},
        "map_form": {1: "DENSE SPARSE"},
    },
    ("ai.onnx.ml", "LinearClassifier"): {"post_transform": _POST_TRANSFORM},
    ("ai.onnx.ml", "LinearRegressor"): {"post_transform": _POST_TRANSFORM},
    ("ai.onnx.ml", "Normalizer"): {"norm": {1: "MAX L1 L2"}},
    ("ai.onnx.ml", "SVMClassifier"): {"post_transform": _POST_TRANSFORM, "kernel_type": _KERNEL},
    ("ai.onnx.ml", "SVMRegressor"): {"post_transform": _POST_TRANSFORM, "kernel_type": _KERNEL},
    ("ai.onnx.ml", "TreeEnsembleClassifier"): {"post_transform": _POST_TRANSFORM},
    ("ai.onnx.ml", "TreeEnsembleRegressor"): {
        "post_transform": _POST_TRANSFORM,
        "aggregate_function": {1: "AVERAGE SUM MIN MAX"},
    },
    ("ai.onnx.preview.training", "Momentum"): {"mode": {1: "nesterov standard"}},
}  # fmt: skip


def choices(domain: str, name: str, attribute: str, opset: int) -> tuple[str, ...] | None:
    """The values that an attribute may have at this opset; ``None`` if the spec lists none."""
    versions = _CHOICES.get((domain, name), {}).get(attribute, {})
    since = max((version for version in versions if version <= opset), default=None)
    return None if since is None else tuple(versions[since].split())
