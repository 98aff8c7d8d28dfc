#!/usr/bin/env bash
# ONNX Runtime removes Dropout in training mode when it optimizes, even if the mode is an input of the model.
#
# Packages: onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6.
# Expected: with training_mode true and ratio 0.5 about half of the values are zeros and the others doubled
#   (Dropout-13 and later); with training_mode an input, the caller decides in each run.
# Seen: at the default level nothing is dropped, whatever the caller passes, where the Dropout lies between
#   other nodes (between an input and an output it stays). Without optimization values are dropped.
# Output (Neg, Dropout with ratio 0.5, Neg: share of zeros of 10,000 ones):
#   training_mode constant: optimized 0.0, not optimized 0.5
#   training_mode an input: optimized 0.0, not optimized 0.5
# Who is hurt: Monte Carlo dropout, which repeats runs for an estimate of uncertainty: it is always zero.
set -euo pipefail

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
venv/bin/python - <<'PY'
import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

info = helper.make_tensor_value_info


def share_of_zeros(constant, level):
    weights = [numpy_helper.from_array(np.array(0.5, np.float32), "ratio")]
    inputs, feeds = [info("x", TensorProto.FLOAT, [10_000])], {"x": np.ones(10_000, np.float32)}
    if constant:
        weights.append(numpy_helper.from_array(np.array(True), "mode"))
    else:
        inputs.append(info("mode", TensorProto.BOOL, []))
        feeds["mode"] = np.array(True)
    nodes = [
        helper.make_node("Neg", ["x"], ["negative"]),
        helper.make_node("Dropout", ["negative", "ratio", "mode"], ["dropped"], seed=1),
        helper.make_node("Neg", ["dropped"], ["y"]),
    ]
    graph = helper.make_graph(nodes, "g", inputs, [info("y", TensorProto.FLOAT, [10_000])], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model, full_check=True)
    options = ort.SessionOptions()
    options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, f"ORT_{level}_ALL")
    session = ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return round(float((session.run(None, feeds)[0] == 0).mean()), 1)


for constant, kind in ((True, "constant"), (False, "an input")):
    found = [share_of_zeros(constant, level) for level in ("ENABLE", "DISABLE")]
    print(f"training_mode {kind}: optimized {found[0]}, not optimized {found[1]}")
    assert found == [0.0, 0.5]
PY
