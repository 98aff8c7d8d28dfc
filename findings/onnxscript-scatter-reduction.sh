#!/usr/bin/env bash
# onnxscript's optimizer drops a ScatterND that adds or multiplies.
#
# Packages: onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6, onnxscript 0.7.2.
# Expected: a ScatterND whose indices are all rows in order replaces everything by the updates, if
#   reduction is none. With add or mul the old values count.
# Seen: the indices and shapes decide, not reduction: x + u becomes u.
# Output (x = 1, 2, 3, u = 10, 20, 30):
#   add  at [2, 0, 1]: [21.0, 32.0, 13.0], optimized [21.0, 32.0, 13.0] with ['ScatterND']
#   none at [0, 1, 2]: [10.0, 20.0, 30.0], optimized [10.0, 20.0, 30.0] with ['Identity']
#   add  at [0, 1, 2]: [11.0, 22.0, 33.0], optimized [10.0, 20.0, 30.0] with ['Identity']
#   mul  at [0, 1, 2]: [10.0, 40.0, 90.0], optimized [10.0, 20.0, 30.0] with ['Identity']
# Who is hurt: accumulation at constant indices (graph networks, caches); all other indices are right, so
#   tests with them pass.
set -euo pipefail

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check \
    onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6 onnxscript==0.7.2
venv/bin/python - <<'PY'
import logging

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper
from onnxscript import optimizer

logging.disable(logging.WARNING)
ort.set_default_logger_severity(3)


def run(model):
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    feeds = {"x": np.array([1, 2, 3], np.float32), "u": np.array([10, 20, 30], np.float32)}
    return session.run(None, feeds)[0].tolist()


def compare(reduction, places):
    model = helper.make_model(
        helper.make_graph(
            [helper.make_node("ScatterND", ["x", "k", "u"], ["y"], reduction=reduction)],
            "g",
            [helper.make_tensor_value_info(n, TensorProto.FLOAT, [3]) for n in "xu"],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, [3])],
            [numpy_helper.from_array(np.array(places, np.int64)[:, None], "k")],
        ),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=8,
    )
    onnx.checker.check_model(model, full_check=True)
    there, smaller = run(model), optimizer.optimize(model)
    here = run(smaller)
    print(f"{reduction:4} at {places}: {there}, optimized {here} with {[n.op_type for n in smaller.graph.node]}")
    return there, here


for reduction in ("none", "add", "mul"):
    there, here = compare(reduction, [2, 0, 1])
    assert there == here
assert compare("none", [0, 1, 2]) == ([10, 20, 30], [10, 20, 30])
assert compare("add", [0, 1, 2]) == ([11, 22, 33], [10, 20, 30])
assert compare("mul", [0, 1, 2]) == ([10, 40, 90], [10, 20, 30])
PY
