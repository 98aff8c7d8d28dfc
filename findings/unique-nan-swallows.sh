#!/usr/bin/env bash
# ONNX Runtime's Unique counts what follows a NaN as equal to it, or NaN as equal to a number.
#
# Packages: onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6.
# Expected: each NaN is a value of its own or all NaN are one; either way 1 and 2 stay values.
#   onnx.reference and numpy.unique do that.
# Seen: Unique of [nan, 1, 2] is [nan], three times. Elsewhere NaN disappears into a number, whose count
#   goes up. That is so whether sorted or not.
# Output:
#   [1, 2, 3] sorted=1: ONNX Runtime {'1.0': 1, '2.0': 1, '3.0': 1}, reference {'1.0': 1, '2.0': 1, '3.0': 1}
#   [nan, 1, 2] sorted=1: ONNX Runtime {'nan': 3}, reference {'1.0': 1, '2.0': 1, 'nan': 1}
#   [1, nan, 2] sorted=1: ONNX Runtime {'1.0': 2, '2.0': 1}, reference {'1.0': 1, '2.0': 1, 'nan': 1}
#   [2, 1, nan, 1] sorted=1: ONNX Runtime {'1.0': 3, '2.0': 1}, reference {'1.0': 2, '2.0': 1, 'nan': 1}
#   [5, nan, 1] sorted=0: ONNX Runtime {'5.0': 2, '1.0': 1}, reference {'5.0': 1, 'nan': 1, '1.0': 1}
# Who is hurt: counting and deduplicating columns with missing values: the numbers after the first NaN may
#   be gone.
set -euo pipefail

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check \
    onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
venv/bin/python - <<'PY'
import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator


def unique(values, ordered):
    names = ["values", "indices", "inverse", "counts"]
    types = [TensorProto.FLOAT] + [TensorProto.INT64] * 3
    model = helper.make_model(
        helper.make_graph(
            [helper.make_node("Unique", ["x"], names, sorted=ordered)],
            "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n"])],
            [helper.make_tensor_value_info(n, t, ["m"]) for n, t in zip(names, types)],
        ),
        opset_imports=[helper.make_opsetid("", 11)],
        ir_version=8,
    )
    onnx.checker.check_model(model, full_check=True)
    feeds = {"x": np.array(values, np.float32)}
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    text = lambda values, counts: dict(zip(map(str, values.tolist()), counts.tolist()))  # noqa: E731
    there = session.run(["values", "counts"], feeds)
    reference = ReferenceEvaluator(model).run(["values", "counts"], feeds)
    print(f"{values} sorted={ordered}: ONNX Runtime {text(*there)}, reference {text(*reference)}")
    return text(*there), text(*reference)


nan = np.nan
assert unique([1, 2, 3], 1)[0] == {"1.0": 1, "2.0": 1, "3.0": 1}
for values, seen in (([nan, 1, 2], {"nan": 3}), ([1, nan, 2], {"1.0": 2, "2.0": 1}), ([2, 1, nan, 1], {"1.0": 3, "2.0": 1})):
    there, reference = unique(values, 1)
    assert there == seen and reference["nan"] == 1, (there, reference)
assert unique([5, nan, 1], 0)[0] == {"5.0": 2, "1.0": 1}
PY
