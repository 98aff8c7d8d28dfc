"""What ONNX removed and ONNX Runtime still has in the domain ai.onnx, held against it."""

import numpy as np
import pytest

import onnxwalk
from tests.support.harness import Case, check, one_node_model, run_directly
from tests.support.microsoft import f, normal

SPECIAL = f([np.nan, -np.inf, np.inf, -1000, 1000, -0.0, 0.5])
IMAGE = normal(2, 3, 4, 5)
LABELS = np.array([["a", "b", "c"], ["d", "e", "f"]], object)


def ints(*values, dtype=np.int64):
    return np.array(values, dtype)


def case(operator, inputs, attributes=None, expected=None, opset=9, **more):
    return Case(operator, opset, inputs, attributes or {}, expected, **more)


TWO = {"alpha": 2.0, "beta": 0.5}
# fmt: off
CASES = [
    *(case(name, [x], TWO) for name in ("Affine", "ScaledTanh", "ParametricSoftplus")
      for x in (SPECIAL, IMAGE, IMAGE[:0])),
    case("ParametricSoftplus", [SPECIAL], {"alpha": 1.0, "beta": -2.0}),
    case("Affine", [IMAGE], opset=1),
    case("Affine", [f([1, 2], np.float64)], TWO, [f([2.5, 4.5], np.float64)]),
    case("Affine", [f([1, 2], np.float16)], TWO, [f([2.5, 4.5], np.float16)]),
    case("Scale", [SPECIAL], {"scale": -3.0}),
    case("Scale", [IMAGE]),
    case("ImageScaler", [IMAGE], {"bias": [1.0, 2.0, -0.5], "scale": 0.5}),
    case("Crop", [IMAGE], {"border": [1, 0, 2, 1]}),
    case("Crop", [IMAGE], {"border": [1, 1, 9, 9], "scale": [2, 3]}),
    case("Crop", [IMAGE], {"border": [5, 0, 0, 0]}),
    case("DynamicSlice", [IMAGE, ints(1, -9), ints(2**62, -1)]),
    case("DynamicSlice", [IMAGE, ints(1, 0, dtype=np.int32), ints(0, 2, dtype=np.int32),
                          ints(-1, 1, dtype=np.int32)]),
    case("DynamicSlice", [LABELS, ints(1), ints(3), ints(1)],
         expected=[np.array([["b", "c"], ["e", "f"]], object)]),
    case("ThresholdedRelu", [SPECIAL], {"alpha": 0.25}),
    case("LayerNormalization", [normal(2, 4), normal(4, seed=1), normal(4, seed=2)], opset=16,
         outputs=3),
    *(case("LayerNormalization", [normal(2, 4).astype(x), normal(4, seed=1).astype(w)], opset=16,
           outputs=3, rtol=2e-3, atol=2e-3)
      for x, w in ((np.float16, np.float32), (np.float32, np.float16), (np.float16, np.float16))),
    case("LayerNormalization", [normal(2, 3, 4), normal(3, 4)], {"axis": 1, "epsilon": 0.5},
         opset=11, outputs=3),
    *(case("MeanVarianceNormalization", [x],
           {"across_channels": across, "normalize_variance": divided}, opset=8)
      for x in (IMAGE, normal(2, 3, 4)) for across in (0, 1) for divided in (0, 1)),
    case("MeanVarianceNormalization", [np.ones((1, 1, 2, 2), np.float32)], opset=8),
]

REFUSED = [
    (case("ScaledTanh", [IMAGE]), "alpha is required"),
    (case("ParametricSoftplus", [IMAGE], {"alpha": 1.0}), "beta is required"),
    (case("ImageScaler", [IMAGE]), "bias is required"),
    (case("ImageScaler", [IMAGE], {"bias": [1.0]}), "1 biases"),
    (case("Crop", [IMAGE]), "border is required"),
    (case("Crop", [IMAGE], {"border": [0, 0, 0]}), "four numbers"),
    (case("Crop", [IMAGE], {"border": [3, 0, 3, 0]}), "reach beyond"),
    (case("Crop", [IMAGE], {"border": [-1, 0, 0, 0]}), "reach beyond"),
    (case("Crop", [IMAGE], {"border": [1, 1, 0, 0], "scale": [4, 3]}), "reach beyond"),
]
# fmt: on


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case):
    check(case)


@pytest.mark.parametrize("case, message", REFUSED, ids=str)
def test_refused(case, message):
    with pytest.raises(ValueError, match=message):
        run_directly(case)


def test_they_end_where_onnx_runtime_ends_them():
    model = one_node_model(case("Affine", [IMAGE]))
    model.opset_import[0].version = 10
    with pytest.raises(onnxwalk.UnsupportedModelError, match="Affine"):
        onnxwalk.load(model)
